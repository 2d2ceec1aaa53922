"""Multinomial, and one-hot vectors as its single draw."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
from torch.distributions import Multinomial, OneHotCategorical

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import entropy_of, enumerated, row

ONE, OTHER = ([0.5, 0.125, 0.375],), ([0.25, 0.25, 0.5],)


def four(probs: Any) -> Multinomial:
    return Multinomial(4, probs)


def single(probs: Any) -> Multinomial:
    return Multinomial(1, probs)


def four_row(probs: Any) -> list[Any]:
    """The probability of every vector of three counts that sum to 4."""
    rows = []
    for counts in itertools.product(range(5), repeat=3):
        if sum(counts) == 4:
            ways = mp.factorial(4) / mp.fprod(mp.factorial(k) for k in counts)
            rows.append(ways * mp.fprod(mp.mpf(p) ** k for p, k in zip(probs, counts, strict=True)))
    return rows


def case(make_p: Any, make_q: Any, to_row: Any, order: Any = None) -> DistributionCase:
    measure = oracle.kl if order is None else oracle.renyi
    truth = enumerated(measure, to_row, to_row, *([] if order is None else [order]))
    name = "kl" if order is None else "renyi"
    return DistributionCase(name, make_p, ONE, make_q, OTHER, truth, alpha=order)


CASES = [
    case(four, four, four_row),
    case(single, OneHotCategorical, row),
    case(OneHotCategorical, single, row),
    case(four, four, four_row, 2.0),
    case(single, OneHotCategorical, row, 0.5),
    case(OneHotCategorical, single, row, 0.5),
    DistributionCase("entropy", four, ONE, four, ONE, entropy_of(four_row)),
]
