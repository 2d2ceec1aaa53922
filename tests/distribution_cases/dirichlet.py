"""Dirichlet and LogisticNormal, by the marginals' quadrature and by log-ratios."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch.distributions import Dirichlet, LogisticNormal

from distribution_cases import DistributionCase, Numbers, integral
from distribution_cases.normal import log_normal_density


def mean_log(shape: Any, rest: Any) -> Any:
    """E log X for X ~ Beta(shape, rest), by the trapezoidal rule in the logit of X.

    The integrand decays and is analytic up to ±πi: with steps of ½ the error is e^(−4π²).
    """
    shape, rest = mp.mpf(shape), mp.mpf(rest)
    total = mp.mpf(0)
    for step in range(-180, 181):
        t = mp.mpf(step) / 2
        down, up = log_sigmoid(t), log_sigmoid(-t)
        total += mp.exp(shape * down + rest * up) * down
    return total / 2 / mp.beta(shape, rest)


def log_sigmoid(t: Any) -> Any:
    return -mp.log1p(mp.exp(-t)) if t > 0 else t - mp.log1p(mp.exp(t))


def log_beta(a: Any) -> Any:
    return mp.fsum(mp.loggamma(x) for x in a) - mp.loggamma(mp.fsum(a))


def kl_by_marginals(p: Numbers, q: Numbers) -> Any:
    """Σ (p_i − q_i) E log X_i less the difference of the normalisers."""
    (one,), (other,) = p, q
    total = mp.fsum(one)
    means = [mean_log(a, total - a) for a in one]
    slopes = mp.fsum((a - b) * m for a, b, m in zip(one, other, means, strict=True))
    return slopes + log_beta(other) - log_beta(one)


def entropy_by_marginals(p: Numbers, q: Numbers) -> Any:
    flat = [1] * len(p[0])
    return -kl_by_marginals(p, (flat,)) + log_beta(flat)


def renyi_by_moments(p: Numbers, q: Numbers, alpha: float) -> Any:
    """E_Q of the density ratio to the power α: a moment of Q, a ratio of two beta functions."""
    a = mp.mpf(alpha)
    mixed = [a * x + (1 - a) * y for x, y in zip(p[0], q[0], strict=True)]
    return (log_beta(mixed) - a * log_beta(p[0]) - (1 - a) * log_beta(q[0])) / (a - 1)


def kl_by_log_ratios(p: Numbers, q: Numbers) -> Any:
    """The map to the simplex is one-to-one, so the sum of the log-ratios' divergences."""
    total = mp.mpf(0)
    for (loc, scale), other in zip(zip(*p, strict=True), zip(*q, strict=True), strict=True):
        points = [loc - 20 * scale, loc, loc + 20 * scale]
        total += integral(log_normal_density(loc, scale), log_normal_density(*other), points)
    return total


ONE, OTHER = ([0.5, 2.0, 1.25],), ([1.0, 0.75, 3.0],)

CASES = [
    DistributionCase("kl", Dirichlet, ONE, Dirichlet, OTHER, kl_by_marginals),
    DistributionCase(
        "renyi", Dirichlet, ONE, Dirichlet, OTHER, lambda p, q: renyi_by_moments(p, q, 0.5), 0.5
    ),
    DistributionCase(
        "renyi", Dirichlet, ONE, Dirichlet, OTHER, lambda p, q: renyi_by_moments(p, q, 1.125), 1.125
    ),
    DistributionCase("entropy", Dirichlet, ONE, Dirichlet, ONE, entropy_by_marginals),
    DistributionCase(
        "kl",
        *(LogisticNormal, ([0.5, -1.0], [1.0, 0.75])),
        *(LogisticNormal, ([0.25, 0.5], [1.5, 1.25])),
        kl_by_log_ratios,
    ),
]
