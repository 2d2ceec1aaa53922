"""FisherSnedecor: the ratio of two Gamma variables, so that its logarithm is a difference.

Two of them have a closed form where df1/df2 is the same in both: then one map makes Betas of them.
Against Gamma, Exponential, InverseGamma and Weibull there is none here: as df2 grows it becomes a
Gamma, and what is left of the moments' formula then is rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Beta, FisherSnedecor, HalfNormal, LogNormal

from kullback.distributions.closed_forms.generalized_gamma import as_generalized_gamma
from kullback.distributions.closed_forms.shared.log_law import (
    LogLaw,
    Moment,
    entropy_of_law,
    kl_to_generalized_gamma,
    kl_to_log_normal,
)
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.binet import binet, binet_curvature, binet_slope
from kullback.numerics.remainders import lgamma_difference, lgamma_remainder

__all__: list[str] = []

_SOURCE = "Johnson, Kotz & Balakrishnan (1995), chapter 27"


def log_law(p: FisherSnedecor) -> LogLaw:
    """X = (d₂/d₁)·T₁/T₂ with Tᵢ ~ Gamma(dᵢ/2, 1): E Xᵐ is finite for −d₁/2 < m < d₂/2."""
    df1, df2 = wide(p.df1, p.df2)
    a, b = 0.5 * df1, 0.5 * df2
    both = a + b
    log_scale = df2.log() - df1.log()
    variance = torch.special.zeta(2.0, a) + torch.special.zeta(2.0, b)

    def moment(m: Tensor) -> Moment:
        finite = (a + m > 0) & (b - m > 0)
        up, down = torch.where(finite, a + m, a), torch.where(finite, b - m, b)
        m = torch.where(finite, m, 0.0)
        excess = lgamma_remainder(up, a, m) + lgamma_remainder(down, b, -m)
        log = m * log_scale + lgamma_difference(up, a, m) + lgamma_difference(down, b, -m)
        return Moment(finite, log, excess, excess - 0.5 * m * m * variance)

    # x·trigamma(x) − 1 of each, weighted by the other; and binet less its tangent at 0.
    width = (b * (0.5 / a + a * binet_curvature(a)) + a * (0.5 / b + b * binet_curvature(b))) / both
    bend = sum(sign * (binet(x) - x * binet_slope(x)) for sign, x in ((1, a), (1, b), (-1, both)))
    mean = log_scale + torch.digamma(a) - torch.digamma(b)
    return LogLaw(mean, variance, 0.5 * width.log1p() - bend, moment)


@closed_form("entropy", FisherSnedecor, source=_SOURCE)
def _entropy(p: FisherSnedecor) -> Tensor:
    return entropy_of_law(log_law(p))


@closed_form("kl", FisherSnedecor, LogNormal, source=_SOURCE)
def _kl_to_log_normal(p: FisherSnedecor, q: LogNormal) -> Tensor:
    return kl_to_log_normal(log_law(p), *wide(q.loc, q.scale))


@closed_form("kl", FisherSnedecor, HalfNormal, source=_SOURCE)
def _kl_to_half_normal(p: FisherSnedecor, q: HalfNormal) -> Tensor:
    """+inf for df2 ≤ 4, where E X² is infinite."""
    return kl_to_generalized_gamma(log_law(p), as_generalized_gamma(q))


@closed_form("kl", FisherSnedecor, FisherSnedecor, source="that of Beta(df1/2, df2/2)")
def _kl(p: FisherSnedecor, q: FisherSnedecor) -> Tensor:
    """With W = X·df1/df2, W/(1 + W) is Beta(df1/2, df2/2)."""
    from kullback.distributions.answers import kl_in_full

    a, b, c, d = wide(p.df1, p.df2, q.df1, q.df2)
    value = kl_in_full(
        Beta(0.5 * a, 0.5 * b, validate_args=False), Beta(0.5 * c, 0.5 * d, validate_args=False)
    )
    reason = "KL of two FisherSnedecors is known for equal ratios df1/df2"
    return only_where(a * d == c * b, value, reason)
