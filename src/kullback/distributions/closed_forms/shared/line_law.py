"""Mean and variance of P, and how far P is from a normal distribution with these.

What every divergence from a Normal is made of: KL(P‖Normal) is the negentropy of P and the
divergence of two Normals, so that nothing is lost where P is itself nearly normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    ContinuousBernoulli,
    Distribution,
    Gumbel,
    HalfCauchy,
    Kumaraswamy,
    Laplace,
    LogNormal,
    Pareto,
    StudentT,
    Uniform,
)

from kullback.distributions.closed_forms import generalized_gamma, half, log_normal, pareto
from kullback.distributions.closed_forms.beta import beta_negentropy
from kullback.distributions.closed_forms.cauchy import student_entropy_excess
from kullback.distributions.closed_forms.continuous_bernoulli import logit_of
from kullback.distributions.closed_forms.gumbel import EULER_GAMMA
from kullback.distributions.closed_forms.log_beta_law import kumaraswamy_law
from kullback.distributions.closed_forms.shared.log_law import LogLaw
from kullback.distributions.dispatch import Declined, find_closed_form
from kullback.distributions.parameters import parameter_tensors, wide
from kullback.numerics.log_sinhc import log_sinhc_curvature, log_sinhc_intercept, log_sinhc_slope
from kullback.numerics.pairs import accumulation_dtype, expm1

__all__ = ["LINE_LAWS", "LineLaw", "entropy_in_full", "infinite"]

# ½ log 2πe: the entropy of the standard normal distribution.
_NORMAL = 0.5 * math.log(2 * math.pi * math.e)


class LineLaw(NamedTuple):
    """What is known of X on the line.

    Attributes:
        finite: where the variance is; the other fields are finite and mean nothing elsewhere.
        mean: E X.
        variance: Var X.
        negentropy: ½ log(2πe·variance) − H(X) ≥ 0, zero only for a normal X.
    """

    finite: Tensor
    mean: Tensor
    variance: Tensor
    negentropy: Tensor


def _everywhere(mean: Tensor, variance: Tensor, negentropy: Tensor | float) -> LineLaw:
    finite = torch.ones_like(variance, dtype=torch.bool)
    return LineLaw(finite, mean, variance, torch.as_tensor(negentropy, dtype=variance.dtype))


def _of_log_law(law: LogLaw) -> LineLaw:
    """From the moments of orders 1 and 2, whose excesses over those of log X are small."""
    one = torch.ones_like(law.mean)
    first, second = law.moment(one), law.moment(2 * one)
    finite = second.finite
    spread = expm1(torch.where(finite, second.excess - 2 * first.excess, 1.0))
    mean = torch.where(finite, first.log, 0.0).exp()
    negentropy = law.negentropy + 0.5 * (spread / law.variance).log() + first.excess
    return LineLaw(finite, mean, mean * mean * spread, negentropy)


def _laplace(p: Laplace) -> LineLaw:
    loc, scale = wide(p.loc, p.scale)
    return _everywhere(loc, 2 * scale * scale, _NORMAL + 0.5 * math.log(2) - 1 - math.log(2))


def _gumbel(p: Gumbel) -> LineLaw:
    loc, scale = wide(p.loc, p.scale)
    spread = math.pi / math.sqrt(6)
    negentropy = _NORMAL + math.log(spread) - 1 - EULER_GAMMA
    return _everywhere(loc + EULER_GAMMA * scale, (spread * scale) ** 2, negentropy)


def _student(p: StudentT) -> LineLaw:
    df, loc, scale = wide(p.df, p.loc, p.scale)
    finite = df > 2
    df = torch.where(finite, df, 4.0)
    variance = scale * scale * df / (df - 2)
    return LineLaw(finite, loc, variance, 0.5 * (2 / (df - 2)).log1p() - student_entropy_excess(df))


def _uniform(p: Uniform) -> LineLaw:
    low, high = wide(p.low, p.high)
    return _everywhere(0.5 * (low + high), (high - low) ** 2 / 12, _NORMAL - 0.5 * math.log(12))


def _beta(p: Beta) -> LineLaw:
    one, zero = wide(p.concentration1, p.concentration0)
    total = one + zero
    mean = one / total
    return _everywhere(mean, mean * (zero / total) / (total + 1), beta_negentropy(one, zero))


def _continuous_bernoulli(p: ContinuousBernoulli) -> LineLaw:
    logit = logit_of(p)
    variance = log_sinhc_curvature(logit)
    negentropy = _NORMAL + 0.5 * variance.log() - log_sinhc_intercept(logit)
    return _everywhere(0.5 + log_sinhc_slope(logit), variance, negentropy)


def _of_generalized_gamma(p: Any) -> LineLaw:
    return _of_log_law(generalized_gamma.log_law(generalized_gamma.as_generalized_gamma(p)))


LINE_LAWS: dict[type[Distribution], Callable[[Any], LineLaw]] = {
    Beta: _beta,
    ContinuousBernoulli: _continuous_bernoulli,
    Gumbel: _gumbel,
    HalfCauchy: lambda p: _of_log_law(half.log_law(p)),
    Kumaraswamy: lambda p: _of_log_law(kumaraswamy_law(p)),
    Laplace: _laplace,
    LogNormal: lambda p: _of_log_law(log_normal.log_law(p)),
    Pareto: lambda p: _of_log_law(pareto.log_law(p)),
    StudentT: _student,
    Uniform: _uniform,
    **dict.fromkeys(generalized_gamma.FAMILY, _of_generalized_gamma),
}


def entropy_in_full(p: Distribution) -> Tensor:
    """H(P) from its closed form, before rounding."""
    form = find_closed_form("entropy", type(p), None)
    if form is None:
        raise Declined(f"the entropy of {type(p).__name__} has no closed form")
    return form.formula(p)


def infinite(p: Distribution, q: Distribution) -> Tensor:
    """+inf for each pair: a tail of P is heavier than −log q can bear."""
    like = next(parameter_tensors(p))
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    return torch.full(shape, torch.inf, dtype=accumulation_dtype(like), device=like.device)
