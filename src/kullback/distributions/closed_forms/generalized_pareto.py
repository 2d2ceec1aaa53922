"""GeneralizedPareto: where log(1 + ξz)/ξ, an Exponential variable under P, settles the matter.

It does where Q is a shifted Exponential (ξ = 0), whose log-density is linear, and where P and Q
have the same location and the same ξ/σ, so that the same variable is Exponential under both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Exponential, GeneralizedPareto

from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.distributions.supports import escape
from kullback.numerics import itakura_saito, log_ratio
from kullback.numerics.remainders import rate_divergence

__all__: list[str] = []

_SOURCE = "Pickands (1975); Johnson, Kotz & Balakrishnan (1994), chapter 20"
_REASON = "it is known for concentration 0 of Q, and for equal loc and concentration/scale"


def _parameters(p: Any) -> tuple[Tensor, ...]:
    """Location, scale and concentration."""
    if isinstance(p, Exponential):
        (rate,) = wide(p.rate)
        return torch.zeros_like(rate), 1 / rate, torch.zeros_like(rate)
    return wide(p.loc, p.scale, p.concentration)


def _kl(p: Any, q: Any) -> Tensor:
    """+inf where P has mass outside Q; elsewhere, of those with an answer,

    | where | value |
    | --- | --- |
    | ξ_q = 0 | `_kl_to_exponential` |
    | the same location and ξ/σ | σ_p/σ_q − log(σ_p/σ_q) − 1 |
    """
    loc_p, scale_p, xi_p = _parameters(p)
    loc_q, scale_q, xi_q = _parameters(q)
    linear = xi_q == 0
    same = (loc_p == loc_q) & (xi_p * scale_q == xi_q * scale_p)
    proof = escape(p, q)
    outside = torch.zeros_like(same) if proof is None else proof.where
    to_linear = _kl_to_exponential(loc_p - loc_q, scale_p, xi_p, scale_q)
    value = torch.where(linear, to_linear, itakura_saito(scale_p, scale_q))
    value = torch.where(outside, math.inf, value)
    return only_where(linear | same | outside, value, _REASON)


def _kl_to_exponential(shift: Tensor, scale_p: Tensor, xi: Tensor, scale_q: Tensor) -> Tensor:
    """shift/τ + c/(1 − ξ) − log(c/(1 − ξ)) − 1 − ξ − log(1 − ξ) for c = σ/τ; +inf for ξ ≥ 1."""
    finite = xi < 1
    xi = torch.where(finite, xi, 0.0)
    value = itakura_saito(scale_p, scale_q * (1 - xi))
    value = shift / scale_q + value + rate_divergence(1 - xi, torch.ones_like(xi), -xi)
    return torch.where(finite, value, math.inf)


closed_form("kl", GeneralizedPareto, GeneralizedPareto, source=_SOURCE)(_kl)
closed_form("kl", GeneralizedPareto, Exponential, source=_SOURCE)(_kl)
closed_form("kl", Exponential, GeneralizedPareto, source=_SOURCE)(_kl)


@closed_form("renyi", GeneralizedPareto, GeneralizedPareto, source="that of the Exponentials")
def _renyi(p: GeneralizedPareto, q: GeneralizedPareto, alpha: float) -> Tensor:
    loc_p, scale_p, xi_p = _parameters(p)
    loc_q, scale_q, xi_q = _parameters(q)
    same = (loc_p == loc_q) & (xi_p * scale_q == xi_q * scale_p)
    value = renyi_of_rates(log_ratio(scale_p, scale_q), alpha)
    return only_where(same, value, "R_α is known for equal loc and concentration/scale")


@closed_form("entropy", GeneralizedPareto, source="Pickands (1975); H = log σ + ξ + 1")
def _entropy(p: GeneralizedPareto) -> Tensor:
    _, scale, xi = _parameters(p)
    return scale.log() + xi + 1
