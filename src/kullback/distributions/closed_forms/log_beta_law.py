"""log X for X on the unit interval: what Beta, Kumaraswamy and Uniform need on the half-line.

With its mean, variance and moments, `log_law` answers for Gamma, Exponential, InverseGamma,
Weibull, HalfNormal and LogNormal as Q.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta, Kumaraswamy, LogNormal, Uniform

from kullback.distributions.closed_forms.beta import entropy_loss
from kullback.distributions.closed_forms.generalized_gamma import (
    FAMILY,
    as_generalized_gamma,
    register_against_family,
)
from kullback.distributions.closed_forms.shared.log_law import (
    LogLaw,
    Moment,
    kl_to_generalized_gamma,
    kl_to_log_normal,
)
from kullback.distributions.closed_forms.uniform import ends_within
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.interval_averages import (
    average_log,
    average_squared_log,
    log_average_power,
)
from kullback.numerics.remainders import lgamma_difference, lgamma_remainder

__all__ = ["beta_law", "kumaraswamy_law", "uniform_law"]


def _negentropy(mean: Tensor, variance: Tensor, entropy: Tensor) -> Tensor:
    """½ log(2πe Var log X) − H(log X), where H(log X) = H(X) − E log X."""
    return 0.5 * (math.log(2 * math.pi * math.e) + variance.log()) - entropy + mean


def beta_law(p: Beta) -> LogLaw:
    return _of_concentrations(*wide(p.concentration1, p.concentration0))


def _of_concentrations(one: Tensor, zero: Tensor) -> LogLaw:
    """E Xᵐ = B(a + m, b)/B(a, b) for a + m > 0."""
    total = one + zero
    mean = -_digamma_step(one, zero)
    variance = torch.special.zeta(2.0, one) - torch.special.zeta(2.0, total)

    def moment(m: Tensor) -> Moment:
        finite = one + m > 0
        m = torch.where(finite, m, 1.0)
        up, top = one + m, total + m
        log = lgamma_difference(up, one, m) - lgamma_difference(top, total, m)
        excess = lgamma_remainder(up, one, m) - lgamma_remainder(top, total, m)
        return Moment(finite, log, excess, excess - 0.5 * m * m * variance)

    return LogLaw(mean, variance, _negentropy(mean, variance, -entropy_loss(one, zero)), moment)


def _digamma_step(x: Tensor, step: Tensor) -> Tensor:
    return torch.digamma(x + step) - torch.digamma(x)


def kumaraswamy_law(p: Kumaraswamy) -> LogLaw:
    """Xᵃ is Beta(1, b)."""
    a, b = wide(p.concentration1, p.concentration0)
    law = _of_concentrations(torch.ones_like(b), b)
    return LogLaw(law.mean / a, law.variance / (a * a), law.negentropy, lambda m: law.moment(m / a))


def uniform_law(low: Tensor, high: Tensor) -> LogLaw:
    """Of Uniform(low, high), 0 ≤ low."""
    mean, middle = average_log(low, high), 0.5 * (low + high)
    variance = average_squared_log(low, high) - (mean - middle.log()) ** 2

    def moment(m: Tensor) -> Moment:
        finite = (low > 0) | (m > -1)
        m = torch.where(finite, m, 1.0)
        log = log_average_power(low, high, m)
        excess = log - m * mean
        return Moment(finite, log, excess, excess - 0.5 * m * m * variance)

    return LogLaw(mean, variance, _negentropy(mean, variance, (high - low).log()), moment)


def _kl_to_generalized_gamma(p: Uniform, q) -> Tensor:
    covered, low, high = ends_within(p, 0.0, math.inf)
    value = kl_to_generalized_gamma(uniform_law(low, high), as_generalized_gamma(q))
    return torch.where(covered, value, torch.inf)


def _kl_to_log_normal(p: Uniform, q: LogNormal) -> Tensor:
    covered, low, high = ends_within(p, 0.0, math.inf)
    value = kl_to_log_normal(uniform_law(low, high), *wide(q.loc, q.scale))
    return torch.where(covered, value, torch.inf)


for _q in FAMILY:
    closed_form(
        "kl", Uniform, _q, source="Bauckhage (2014), arXiv:1401.6853, by direct integration"
    )(_kl_to_generalized_gamma)
closed_form("kl", Uniform, LogNormal, source="direct integration")(_kl_to_log_normal)
register_against_family(Beta, beta_law, source="Johnson, Kotz & Balakrishnan (1995), ch. 25")
register_against_family(Kumaraswamy, kumaraswamy_law, source="Jones (2009), section 3")
