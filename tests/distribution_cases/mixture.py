"""Mixtures of Uniforms on intervals that do not overlap, cell by cell."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Uniform

from distribution_cases import DistributionCase, Numbers


def of_intervals(logits: Tensor, low: Tensor, high: Tensor) -> Distribution:
    return MixtureSameFamily(Categorical(logits=logits), Uniform(low, high))


def pieces(p: Numbers) -> list[tuple[Any, Any, Any]]:
    """(low, high, density) of every interval."""
    weights = [mp.exp(mp.mpf(x)) for x in p[0]]
    return [
        (low, high, weight / mp.fsum(weights) / (mp.mpf(high) - low))
        for weight, low, high in zip(weights, *p[1:], strict=True)
    ]


def kl_by_cells(p: Numbers, q: Numbers) -> Any:
    ends = sorted({end for side in (p, q) for ends in side[1:] for end in ends})
    total = mp.mpf(0)
    for left, right in itertools.pairwise(ends):
        middle = (mp.mpf(left) + right) / 2
        of_p, of_q = (
            mp.fsum(height for low, high, height in pieces(side) if low < middle < high)
            for side in (p, q)
        )
        if of_p > 0:
            total += (mp.mpf(right) - left) * of_p * mp.log(of_p / of_q)
    return total


CASES = [
    DistributionCase(
        "kl",
        *(of_intervals, ([0.5, -0.25], [0.25, 2.0], [1.0, 2.75])),
        *(of_intervals, ([-0.5, 0.25], [0.0, 1.5], [1.25, 3.0])),
        kl_by_cells,
    )
]
