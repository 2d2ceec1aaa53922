"""HalfNormal and HalfCauchy."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch.distributions import (
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    LogNormal,
    Weibull,
)

from distribution_cases import DistributionCase, Numbers, integral
from distribution_cases.generalized_gamma import (
    DENSITIES,
    NUMBERS,
    POINTS,
    entropy_row,
    half_cauchy,
    kl_row,
    renyi_row,
)

# E X of a HalfCauchy is infinite, and so is KL to all but these.
CAUCHY = (1.5,)


def kl_cauchy(p: Numbers, q: Numbers) -> Any:
    with mp.workdps(20):
        return integral(half_cauchy(*p), half_cauchy(*q), POINTS)


def wasserstein(p: Numbers, q: Numbers) -> Any:
    """Both are multiples of |Z|."""
    gap = mp.mpf(p[0]) - mp.mpf(q[0])
    return mp.sqrt(2 * mp.quad(lambda z: (gap * z) ** 2 * mp.npdf(z), [0, 4, 16]))


CASES = [
    kl_row(HalfNormal, DENSITIES[HalfNormal], (1.25,), HalfNormal, (2.0,)),
    renyi_row(HalfNormal, (1.25,), (2.0,), 0.5),
    renyi_row(HalfNormal, (1.25,), (1.0,), 1.5),
    DistributionCase("wasserstein", HalfNormal, (1.25,), HalfNormal, (2.0,), wasserstein),
    DistributionCase("kl", HalfCauchy, CAUCHY, HalfCauchy, (0.25,), kl_cauchy),
    entropy_row(HalfCauchy, half_cauchy, CAUCHY),
    kl_row(HalfCauchy, half_cauchy, CAUCHY, LogNormal, NUMBERS[LogNormal]),
    kl_row(HalfCauchy, half_cauchy, CAUCHY, Weibull, (2.0, 0.25)),
    kl_row(HalfCauchy, half_cauchy, CAUCHY, Weibull, (2.0, 0.625)),
]
CASES += [
    DistributionCase(
        "kl", HalfCauchy, CAUCHY, q, NUMBERS[q], lambda a, b: mp.inf, differentiable=False
    )
    for q in (Exponential, Gamma, HalfNormal, InverseGamma)
]
