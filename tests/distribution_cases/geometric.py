"""Geometric and NegativeBinomial with equal counts of failures."""

from __future__ import annotations

from typing import Any

from torch.distributions import Geometric, NegativeBinomial

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import entropy_of, enumerated, geometric_row, negative_binomial_row

# So far out the terms of these probabilities are below 1e-60.
ROWS = 600
ONE, OTHER = (0.25,), (0.375,)


def of_logits(logits: Any) -> Geometric:
    return Geometric(logits=logits)


def some(p: Any) -> NegativeBinomial:
    """Counts of failures need not be integers."""
    return NegativeBinomial(2.5, p)


def single(p: Any) -> NegativeBinomial:
    return NegativeBinomial(1, p)


def some_row(p: Any) -> list[Any]:
    return negative_binomial_row(2.5, p, ROWS)


def single_row(p: Any) -> list[Any]:
    return negative_binomial_row(1, p, ROWS)


def waiting_row(p: Any) -> list[Any]:
    return geometric_row(p, ROWS)


def logit_row(x: Any) -> list[Any]:
    return geometric_row(oracle.softmax([0, x])[1], ROWS)


def case(
    divergence: str, make_p: Any, row_p: Any, make_q: Any, row_q: Any, order: Any = None
) -> Any:
    measure = oracle.kl if order is None else oracle.renyi
    truth = enumerated(measure, row_p, row_q, *([] if order is None else [order]))
    return DistributionCase(divergence, make_p, ONE, make_q, OTHER, truth, alpha=order)


CASES = [
    case("kl", Geometric, waiting_row, Geometric, waiting_row),
    case("kl", of_logits, logit_row, of_logits, logit_row),
    case("kl", some, some_row, some, some_row),
    case("kl", Geometric, waiting_row, single, single_row),
    case("kl", single, single_row, Geometric, waiting_row),
    case("renyi", Geometric, waiting_row, Geometric, waiting_row, 0.5),
    case("renyi", Geometric, waiting_row, Geometric, waiting_row, 1.5),
    case("renyi", some, some_row, some, some_row, 2.0),
    case("renyi", Geometric, waiting_row, single, single_row, 0.5),
    case("renyi", single, single_row, Geometric, waiting_row, 2.0),
    DistributionCase("entropy", Geometric, ONE, Geometric, ONE, entropy_of(waiting_row)),
    DistributionCase("entropy", of_logits, ONE, of_logits, ONE, entropy_of(logit_row)),
]
