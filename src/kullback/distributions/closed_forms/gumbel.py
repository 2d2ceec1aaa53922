"""Gumbel: the logarithm of an exponential variable, turned round and scaled."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Gumbel

from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.elementary import length
from kullback.numerics.pairs import exp_remainder
from kullback.numerics.remainders import lgamma_remainder

__all__ = ["EULER_GAMMA"]

EULER_GAMMA = 0.57721566490153286061


@closed_form("kl", Gumbel, Gumbel, source="Gil (2011), section 2.3.5")
def _kl(p: Gumbel, q: Gumbel) -> Tensor:
    """(eᵘ − 1 − u) + (lgamma(r) + γ(r − 1)), r = β/β′, u = (μ′ − μ)/β′ + lgamma(1 + r)."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    ratio, step = scale_p / scale_q, (scale_p - scale_q) / scale_q
    one = torch.ones_like(ratio)
    # Γ(1 + r) at r near 1 from the step: the slope of lgamma at 2 is 1 − γ.
    log_gamma = lgamma_remainder(1 + ratio, 2 * one, step) + (1 - EULER_GAMMA) * step
    u = (loc_q - loc_p) / scale_q + log_gamma
    return exp_remainder(torch.ones_like(u), u.exp(), u) + lgamma_remainder(ratio, one, step)


@closed_form("renyi", Gumbel, Gumbel, source="Gil (2011), section 2.3.5, at one scale")
def _renyi(p: Gumbel, q: Gumbel, alpha: float) -> Tensor:
    """At one scale β, e^(−x/β) is exponential with rate e^(μ/β)."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    value = renyi_of_rates((loc_p - loc_q) / scale_p, alpha)
    return only_where(scale_p == scale_q, value, "it is exact at one scale")


@closed_form("entropy", Gumbel, source="Johnson, Kotz & Balakrishnan (1995), section 22.6")
def _entropy(p: Gumbel) -> Tensor:
    (scale,) = wide(p.scale)
    return 1 + EULER_GAMMA + scale.log()


@closed_form("wasserstein", Gumbel, Gumbel, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: Gumbel, q: Gumbel) -> Tensor:
    """The quantiles are μ + β z, with E z = γ and Var z = π²/6."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    step = scale_p - scale_q
    return length(loc_p - loc_q + EULER_GAMMA * step, math.pi / math.sqrt(6) * step)
