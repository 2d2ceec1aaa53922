"""Weibull, also against Gamma and Exponential, with which it shares the Exponential itself.

Around that common member the divergence is written as parts that are zero there, each ≥ 0 but
for a product of the two deviations; elsewhere the formula of `log_law` answers.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Exponential, Gamma, Weibull

from kullback.distributions.closed_forms.generalized_gamma import as_generalized_gamma, log_law
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.closed_forms.shared.log_law import (
    GeneralizedGamma,
    kl_to_generalized_gamma,
)
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics import exp_remainder, expm1, itakura_saito, log_ratio, safe_root
from kullback.numerics.cases import by_case
from kullback.numerics.remainders import lgamma_difference, lgamma_remainder, shape_divergence

__all__: list[str] = []

_SOURCE = "Bauckhage (2013), arXiv:1310.3713; Bauckhage (2014), arXiv:1401.6853"


def _kl(p: Any, q: Any) -> Tensor:
    """Two powers of Gamma variables, near the Exponential and far from it."""
    (a, k, log_s), (b, m, log_t) = as_generalized_gamma(p), as_generalized_gamma(q)
    near = ((m - k).abs() < 0.5 * k) & ((b - a).abs() < 0.5 * a)
    both_weibull = isinstance(p, Weibull) and isinstance(q, Weibull)
    log_gap = log_ratio(*wide(q.scale, p.scale)) if both_weibull else log_s - log_t
    harmless = (1.0, 1.0, 1.0, 1.0, 0.0)
    return by_case(
        near, _near_exponential, _far_from_it, (a, k, b, m, log_gap), (harmless, harmless)
    )


def _near_exponential(a: Tensor, k: Tensor, b: Tensor, m: Tensor, log_gap: Tensor) -> Tensor:
    """With r = m/k, log_gap = log(s/t) and B_f(y, x) = f(y) − f(x) − f′(x)(y − x), the sum of

    | part | zero where |
    | --- | --- |
    | `shape_divergence(b, a)` | b = a |
    | b·B_lgamma(a + r, a + 1) | r = 1 |
    | (b/a)·(r − 1 − log r) | r = 1 |
    | ((b − a)/a)·log r, which may be negative | either |
    | b log(b/M) − b + M, M = E(X/t)ᵐ | M = b |

    In the quadratic approximation the fourth is outweighed by the others at a = b = r = 1.
    """
    deviation = (m - k) / k
    mean_shape = a + 1
    bend = lgamma_remainder(mean_shape + deviation, mean_shape, deviation)
    d = m * log_gap + log_ratio(b, a) + bend + torch.digamma(mean_shape) * deviation
    within = shape_divergence(b, a, b - a) + b * bend + b / a * itakura_saito(m, k)
    return within + (b - a) / a * log_ratio(k, m) + exp_remainder(b, b * d.exp(), d)


def _far_from_it(a: Tensor, k: Tensor, b: Tensor, m: Tensor, log_gap: Tensor) -> Tensor:
    """Only the gap of the scales matters, so Q's is set to 1."""
    law = log_law(GeneralizedGamma(a, k, log_gap))
    return kl_to_generalized_gamma(law, GeneralizedGamma(b, m, torch.zeros_like(m)))


for _p, _q in product((Gamma, Exponential, Weibull), (Gamma, Exponential, Weibull)):
    if Weibull in (_p, _q):
        closed_form("kl", _p, _q, source=_SOURCE)(_kl)


@closed_form(
    "renyi", Weibull, Weibull, source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures"
)
def _renyi(p: Weibull, q: Weibull, alpha: float) -> Tensor:
    """X^k is Exponential of rate s⁻ᵏ: for one concentration k."""
    s, k, t, m = wide(p.scale, p.concentration, q.scale, q.concentration)
    value = renyi_of_rates(k * log_ratio(s, t), alpha)
    return only_where(k == m, value, "R_α of two Weibulls is known for equal concentrations")


@closed_form("wasserstein", Weibull, Weibull, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: Weibull, q: Weibull) -> Tensor:
    """√(A + B − 2C) for A = s² Γ(1 + 2/k), B = t² Γ(1 + 2/m) and C = st Γ(1 + 1/k + 1/m).

    Both quantile functions are powers of one Exponential variable. It is taken as
    (√A − √B)² + 2(√(AB) − C), whose parts are ≥ 0 and vanish for equal scales or shapes.
    """
    s, k, t, m = wide(p.scale, p.concentration, q.scale, q.concentration)
    step = (m - k) / k / m
    at_p, middle, at_q = 1 + 2 / k, 1 + 1 / k + 1 / m, 1 + 2 / m
    root_a, root_b = s * (0.5 * torch.lgamma(at_p)).exp(), t * (0.5 * torch.lgamma(at_q)).exp()
    log_gap = log_ratio(t, s) + 0.5 * lgamma_difference(at_p, at_q, 2 * step)
    spread = 0.5 * (lgamma_remainder(at_p, middle, step) + lgamma_remainder(at_q, middle, -step))
    near = log_gap.abs() < 1
    gap = torch.where(near, root_b * expm1(torch.where(near, log_gap, 0.0)), root_a - root_b)
    return safe_root(gap * gap - 2 * root_a * root_b * expm1(-spread))
