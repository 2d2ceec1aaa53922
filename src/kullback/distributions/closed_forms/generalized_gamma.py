"""Gamma, Exponential, InverseGamma, Weibull and HalfNormal as one family, against each other.

All five are powers of a Gamma variable: X = s·T^(1/k) with T ~ Gamma(a, 1). So log X is known
from lgamma and its derivatives, and one formula answers for every pair (`log_law`). Pairs that
can be equal are in `gamma` and `weibull`, where nearly equal parameters need more care.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Exponential,
    Gamma,
    HalfNormal,
    InverseGamma,
    LogNormal,
    Weibull,
)

from kullback.distributions.closed_forms.shared.log_law import (
    GeneralizedGamma,
    LogLaw,
    Moment,
    entropy_of_law,
    kl_to_generalized_gamma,
    kl_to_log_normal,
)
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.binet import binet, binet_curvature, binet_slope
from kullback.numerics.remainders import lgamma_difference, lgamma_remainder

__all__ = ["FAMILY", "as_generalized_gamma", "register_against_family"]

FAMILY: tuple[type[Distribution], ...] = (Gamma, Exponential, InverseGamma, Weibull, HalfNormal)
_SOURCE = "Bauckhage (2014), arXiv:1401.6853"


def as_generalized_gamma(p: Any) -> GeneralizedGamma:
    """Shape a, power k and log s of X = s·T^(1/k), T ~ Gamma(a, 1).

    | family | a | k | s |
    | --- | --- | --- | --- |
    | Gamma | concentration | 1 | 1/rate |
    | Exponential | 1 | 1 | 1/rate |
    | InverseGamma | concentration | −1 | rate |
    | Weibull | 1 | concentration | scale |
    | HalfNormal | ½ | 2 | √2·scale |

    Source: Stacy (1962), A Generalization of the Gamma Distribution, section 2.
    """
    if isinstance(p, HalfNormal):
        (scale,) = wide(p.scale)
        half = torch.full_like(scale, 0.5)
        return GeneralizedGamma(half, 4 * half, scale.log() + 0.5 * math.log(2))
    if isinstance(p, Weibull):
        scale, power = wide(p.scale, p.concentration)
        return GeneralizedGamma(torch.ones_like(scale), power, scale.log())
    (rate,) = wide(p.rate)
    one = torch.ones_like(rate)
    if isinstance(p, Exponential):
        return GeneralizedGamma(one, one, -rate.log())
    (shape,) = wide(p.concentration)
    if isinstance(p, InverseGamma):
        return GeneralizedGamma(shape, -one, rate.log())
    return GeneralizedGamma(shape, one, -rate.log())


def log_law(p: GeneralizedGamma) -> LogLaw:
    """log X = log s + (log T)/k: the cumulants of log T are the derivatives of lgamma at a."""
    a, k, log_s = p
    width = 0.5 / a + a * binet_curvature(a)
    trigamma = (1 + width) / a

    def moment(m: Tensor) -> Moment:
        # Not a + m/k, which has lost its digits next to the pole of E 1/X: a Weibull of power 1.
        r, end = m / k, (a * k + m) / k
        finite = end > 0
        r, end = torch.where(finite, r, 1.0), torch.where(finite, end, a + 1)
        excess = lgamma_remainder(end, a, r)
        skew = torch.where((r == -1) & (a > 9), _inverse_skew(a), excess - 0.5 * r * r * trigamma)
        return Moment(finite, m * log_s + lgamma_difference(end, a, r), excess, skew)

    return LogLaw(
        mean=log_s + torch.digamma(a) / k,
        variance=trigamma / (k * k),
        negentropy=0.5 * width.log1p() + a * binet_slope(a) - binet(a),
        moment=moment,
    )


def _inverse_skew(a: Tensor) -> Tensor:
    """The skew of E 1/T = 1/(a − 1) for a > 9, without the parts that cancel: about 1/(6a²)."""
    x = torch.where(a > 9, a - 1, 8.0)
    return binet_slope(x) + 0.25 / (x * x) - 0.5 * binet_curvature(x)


def _kl(p: Any, q: Any) -> Tensor:
    return kl_to_generalized_gamma(log_law(as_generalized_gamma(p)), as_generalized_gamma(q))


def _kl_to_log_normal(p: Any, q: LogNormal) -> Tensor:
    return kl_to_log_normal(log_law(as_generalized_gamma(p)), *wide(q.loc, q.scale))


def _entropy(p: Any) -> Tensor:
    return entropy_of_law(log_law(as_generalized_gamma(p)))


def register_against_family(p: type[Distribution], law: Any, source: str) -> None:
    """KL from `p`, whose `LogLaw` is law(p), to the five families and to LogNormal."""
    for q in FAMILY:
        closed_form("kl", p, q, source=source)(
            lambda a, b: kl_to_generalized_gamma(law(a), as_generalized_gamma(b))
        )
    closed_form("kl", p, LogNormal, source=source)(
        lambda a, b: kl_to_log_normal(law(a), *wide(b.loc, b.scale))
    )


_MAY_BE_EQUAL = (Gamma, Exponential, Weibull)
for _p, _q in product(FAMILY, FAMILY):
    if _p is not _q and not (_p in _MAY_BE_EQUAL and _q in _MAY_BE_EQUAL):
        closed_form("kl", _p, _q, source=_SOURCE)(_kl)
for _p in FAMILY:
    closed_form("kl", _p, LogNormal, source="Johnson, Kotz & Balakrishnan (1994), ch. 14 and 17")(
        _kl_to_log_normal
    )
    closed_form("entropy", _p, source="Cover & Thomas (2006), table 17.1; Stacy (1962)")(_entropy)
