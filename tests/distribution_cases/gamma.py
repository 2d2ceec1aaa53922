"""Gamma, Exponential and InverseGamma among themselves."""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath as mp
from torch.distributions import Chi2, Exponential, Gamma, InverseGamma

from distribution_cases import DistributionCase, Numbers
from distribution_cases.generalized_gamma import (
    DENSITIES,
    gamma,
    kl_row,
    of_exponential,
    renyi_row,
)

ONE: dict[type, Numbers] = {Gamma: (2.5, 0.75), Exponential: (1.5,), InverseGamma: (3.5, 2.0)}
OTHER: dict[type, Numbers] = {Gamma: (1.75, 1.25), Exponential: (0.5,), InverseGamma: (2.5, 3.0)}
PAIRS = [*product((Gamma, Exponential), (Gamma, Exponential)), (InverseGamma, InverseGamma)]


def wasserstein_exponential(p: Numbers, q: Numbers) -> Any:
    return mp.sqrt(of_exponential(lambda e: (e / p[0] - e / q[0]) ** 2))


def wasserstein_gamma(p: Numbers, q: Numbers) -> Any:
    """Both are multiples of T ~ Gamma(a, 1)."""
    density = gamma(p[0], 1)
    gap = 1 / mp.mpf(p[1]) - 1 / mp.mpf(q[1])
    return mp.sqrt(mp.quad(lambda y: (gap * mp.exp(y)) ** 2 * mp.exp(density(y)), [-40, 0, 3, 6]))


def wasserstein_inverse_gamma(p: Numbers, q: Numbers) -> Any:
    """Both are multiples of 1/T."""
    density = gamma(p[0], 1)
    gap = mp.mpf(p[1]) - mp.mpf(q[1])
    return mp.sqrt(mp.quad(lambda y: (gap * mp.exp(-y)) ** 2 * mp.exp(density(y)), [-60, -9, 0, 6]))


CASES = [kl_row(p, DENSITIES[p], ONE[p], q, OTHER[q]) for p, q in PAIRS]
CASES += [renyi_row(p, ONE[p], OTHER[q], alpha, other=q) for p, q in PAIRS for alpha in (0.5, 1.25)]
CASES += [
    kl_row(lambda df: Chi2(df), lambda df: gamma(df / 2, 0.5), (3.0,), Gamma, OTHER[Gamma]),
    # Beyond α = 1 the mean shape may be far from both.
    renyi_row(Gamma, (2.5, 1.5), (4.0, 1.25), 2.5),
    DistributionCase(
        "wasserstein", Exponential, (1.5,), Exponential, (0.5,), wasserstein_exponential
    ),
    DistributionCase(
        "wasserstein",
        lambda rate: Gamma(2.5, rate),
        (0.75,),
        lambda rate: Gamma(2.5, rate),
        (1.5,),
        lambda p, q: wasserstein_gamma((2.5, *p), (2.5, *q)),
    ),
    DistributionCase(
        "wasserstein",
        lambda rate: InverseGamma(3.5, rate),
        (2.0,),
        lambda rate: InverseGamma(3.5, rate),
        (3.0,),
        lambda p, q: wasserstein_inverse_gamma((3.5, *p), (3.5, *q)),
    ),
]
