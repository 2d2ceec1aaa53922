"""Images under transforms, by quadrature in the variable of the base and by enumeration."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Gamma,
    LogNormal,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    SigmoidTransform,
)

from distribution_cases import DistributionCase, Numbers
from distribution_cases.independent import renyi_by_quadrature
from distribution_cases.normal import entropy_by_quadrature, kl_by_quadrature
from distribution_cases.normal import wasserstein_by_quantiles as distance_by_quantiles


def affine_normal(shift: Tensor, factor: Tensor) -> Distribution:
    """shift + factor·X, X ~ N(½, ¼)."""
    return TransformedDistribution(Normal(0.5, 0.5), [AffineTransform(shift, factor)])


def exponential(shift: Tensor, factor: Tensor) -> Distribution:
    """exp of that, in one map."""
    both = ComposeTransform([AffineTransform(shift, factor), ExpTransform()])
    return TransformedDistribution(Normal(0.5, 0.5), [both])


def logistic(loc: Tensor, scale: Tensor) -> Distribution:
    return TransformedDistribution(Normal(loc, scale), [SigmoidTransform()])


def two_valued(probs: Tensor) -> Distribution:
    """1 or 3."""
    return TransformedDistribution(Bernoulli(probs=probs), [AffineTransform(1.0, 2.0)])


def shifted_gamma(concentration: Tensor, rate: Tensor) -> Distribution:
    """1 + 2X."""
    return TransformedDistribution(Gamma(concentration, rate), [AffineTransform(1.0, 2.0)])


def moved(p: Numbers) -> Numbers:
    """Location and scale of shift + factor·X."""
    return p[0] + 0.5 * p[1], 0.5 * abs(p[1])


def total_variation_by_enumeration(p: Numbers, q: Numbers) -> Any:
    pairs = [(p[0], q[0]), (1 - p[0], 1 - q[0])]
    return mp.fsum(abs(mp.mpf(a) - mp.mpf(b)) for a, b in pairs) / 2


def entropy_of_shifted_gamma(p: Numbers, q: Numbers) -> Any:
    """By the trapezoidal rule in the logarithm of what is over 1."""
    shape, rate = mp.mpf(p[0]), mp.mpf(p[1]) / 2
    norm = shape * mp.log(rate) - mp.loggamma(shape)
    total = mp.mpf(0)
    for step in range(-800, 140):
        t = mp.mpf(step) / 20
        log_density = norm + (shape - 1) * t - rate * mp.exp(t)
        total -= mp.exp(log_density + t) * log_density / 20
    return total


ONE, OTHER = (0.5, -1.5), (-1.0, 0.75)
NAMED = (-0.5, 1.25)

CASES = [
    DistributionCase(
        "kl",
        *(affine_normal, ONE, affine_normal, OTHER),
        lambda p, q: kl_by_quadrature(moved(p), moved(q)),
    ),
    DistributionCase(
        "kl", exponential, ONE, LogNormal, NAMED, lambda p, q: kl_by_quadrature(moved(p), q)
    ),
    DistributionCase(
        "kl", LogNormal, NAMED, exponential, ONE, lambda p, q: kl_by_quadrature(p, moved(q))
    ),
    DistributionCase("kl", logistic, NAMED, logistic, (0.5, 1.0), kl_by_quadrature),
    DistributionCase("renyi", logistic, NAMED, logistic, (0.5, 1.0), renyi_by_quadrature, 0.5),
    DistributionCase(
        "wasserstein",
        *(affine_normal, ONE, Normal, NAMED),
        lambda p, q: distance_by_quantiles(moved(p), q),
    ),
    DistributionCase(
        "total_variation",
        *(two_valued, (0.25,), two_valued, (0.625,)),
        total_variation_by_enumeration,
    ),
    DistributionCase(
        "entropy",
        *(affine_normal, ONE, affine_normal, ONE),
        lambda p, q: entropy_by_quadrature(moved(p), p),
    ),
    DistributionCase(
        "entropy", shifted_gamma, (2.5, 1.5), shifted_gamma, (2.5, 1.5), entropy_of_shifted_gamma
    ),
]
