"""Gamma (so Chi2 too), Exponential and InverseGamma: divergences within the Gamma family.

At a fixed mean the shapes have a divergence of their own, and the means another: neither can be
negative, and neither is a difference of large numbers, however large the shapes. An Exponential
is a Gamma of shape 1, and inverting both variables changes no divergence.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Exponential, Gamma, InverseGamma

from kullback.distributions.closed_forms.shared.geometric_mean import (
    renyi_of_gammas,
    renyi_of_rates,
)
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics import exp_remainder, itakura_saito, log_ratio
from kullback.numerics.fused import fused
from kullback.numerics.remainders import shape_divergence

__all__: list[str] = []

_GIL = "Gil, Alajaji & Linder (2013), Rényi Divergence Measures"
_LINE = "Peyré & Cuturi (2019), remark 2.30: two scales of one variable"


def _shape_and_rate(p: Any) -> tuple[Tensor, ...]:
    if isinstance(p, Exponential):
        return torch.ones_like(p.rate), p.rate
    return p.concentration, p.rate


def _kl(p: Any, q: Any) -> Tensor:
    """a, β and b, γ: the divergence of the shapes, and b log(b/M) − b + M with M = aγ/β."""
    return fused("gamma", _of_parameters, (*_shape_and_rate(p), *_shape_and_rate(q)))


def _of_parameters(*parameters: Tensor) -> Tensor:
    a, beta, b, gamma = wide(*parameters)
    d = log_ratio(beta, gamma) + log_ratio(b, a)
    return shape_divergence(b, a, b - a) + exp_remainder(b, b * d.exp(), d)


def _renyi(p: Any, q: Any, alpha: float) -> Tensor:
    a, beta, b, gamma = wide(*_shape_and_rate(p), *_shape_and_rate(q))
    return renyi_of_gammas(a, beta, b, gamma, alpha)


for _p, _q in product((Gamma, Exponential), (Gamma, Exponential)):
    if (_p, _q) != (Exponential, Exponential):
        closed_form("kl", _p, _q, source="Penny (2001), KL-divergences of Normal, Gamma, …")(_kl)
        closed_form("renyi", _p, _q, source=_GIL)(_renyi)
closed_form("kl", InverseGamma, InverseGamma, source="the divergence of the inverses' Gammas")(_kl)
closed_form("renyi", InverseGamma, InverseGamma, source="that of the inverses' Gammas")(_renyi)


@closed_form(
    "kl", Exponential, Exponential, source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures"
)
def _kl_exponential(p: Exponential, q: Exponential) -> Tensor:
    """γ/β − log(γ/β) − 1."""
    return fused("itakura_saito", _of_rates, (q.rate, p.rate))


def _of_rates(gamma: Tensor, beta: Tensor) -> Tensor:
    return itakura_saito(*wide(gamma, beta))


@closed_form("renyi", Exponential, Exponential, source=_GIL)
def _renyi_exponential(p: Exponential, q: Exponential, alpha: float) -> Tensor:
    beta, gamma = wide(p.rate, q.rate)
    return renyi_of_rates(log_ratio(gamma, beta), alpha)


@closed_form("wasserstein", Exponential, Exponential, source=_LINE)
def _wasserstein_exponential(p: Exponential, q: Exponential) -> Tensor:
    """√2 |1/β − 1/γ|."""
    beta, gamma = wide(p.rate, q.rate)
    return math.sqrt(2) * ((gamma - beta) / beta / gamma).abs()


@closed_form("wasserstein", Gamma, Gamma, source=_LINE)
def _wasserstein_gamma(p: Gamma, q: Gamma) -> Tensor:
    """√(a(a + 1)) |1/β − 1/γ|, for one shape."""
    a, beta, b, gamma = wide(p.concentration, p.rate, q.concentration, q.rate)
    value = (a * (a + 1)).sqrt() * ((gamma - beta) / beta / gamma).abs()
    return only_where(a == b, value, "W₂ of two Gammas is known for equal concentrations")


@closed_form("wasserstein", InverseGamma, InverseGamma, source=_LINE)
def _wasserstein_inverse_gamma(p: InverseGamma, q: InverseGamma) -> Tensor:
    """|β − γ|/√((a − 1)(a − 2)), for one shape: +inf for a ≤ 2 and β ≠ γ."""
    a, beta, b, gamma = wide(p.concentration, p.rate, q.concentration, q.rate)
    finite = a > 2
    safe = torch.where(finite, a, 3.0)
    value = (beta - gamma).abs() / ((safe - 1) * (safe - 2)).sqrt()
    value = torch.where(finite | (beta == gamma), value, math.inf)
    return only_where(a == b, value, "W₂ of two InverseGammas is known for equal concentrations")
