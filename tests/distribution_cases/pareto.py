"""Pareto, within the support of Q."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch.distributions import Pareto

from distribution_cases import DistributionCase, Numbers, integral
from distribution_cases.generalized_gamma import (
    DENSITIES,
    NUMBERS,
    entropy_row,
    kl_row,
    pareto,
)

ONE, OTHER = (1.5, 2.5), (0.75, 3.5)


def points(p: Numbers, q: Numbers) -> list[Any]:
    """From where both densities are on, until 1e-25 of the mass is left."""
    start = mp.log(max(p[0], q[0]))
    return [start, start + 5, start + 20, start + 60]


def kl(p: Numbers, q: Numbers) -> Any:
    return integral(pareto(*p), pareto(*q), points(p, q))


def renyi(alpha: float) -> Any:
    return lambda p, q: integral(pareto(*p), pareto(*q), points(p, q), alpha=alpha)


def wasserstein(p: Numbers, q: Numbers) -> Any:
    """X = s·exp(E/a) for E ~ Exponential(1)."""
    (s, a), (t, b) = ([mp.mpf(x) for x in numbers] for numbers in (p, q))
    return mp.sqrt(
        mp.quad(
            lambda e: (s * mp.exp(e / a) - t * mp.exp(e / b)) ** 2 * mp.exp(-e), [0, 5, 50, 400]
        )
    )


# A fifth moment, so that E X² of HalfNormal and E X^1.75 of Weibull are finite and easy.
STEEP = (1.5, 5.0)
STEEP_POINTS = points(STEEP, STEEP)

CASES = [kl_row(Pareto, pareto, STEEP, q, NUMBERS[q], STEEP_POINTS) for q in DENSITIES]
CASES += [
    DistributionCase("kl", Pareto, ONE, Pareto, OTHER, kl),
    DistributionCase("wasserstein", Pareto, (1.5, 4.5), Pareto, (0.75, 6.0), wasserstein),
    entropy_row(Pareto, pareto, ONE, points(ONE, ONE)),
    DistributionCase("renyi", Pareto, ONE, Pareto, OTHER, renyi(0.5), alpha=0.5),
    DistributionCase("renyi", Pareto, OTHER, Pareto, ONE, renyi(0.25), alpha=0.25),
    DistributionCase("renyi", Pareto, ONE, Pareto, OTHER, renyi(1.5), alpha=1.5),
]
