"""Normal and LogNormal: the divergences of two Gaussians on the line, and of their exponentials."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import LogNormal, Normal

from kullback.distributions.closed_forms.shared.fused import fused_normal_kl
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import log_ratio, scale_divergence
from kullback.numerics.elementary import length

__all__: list[str] = []


@closed_form("kl", Normal, Normal, source="Cover & Thomas (2006), example 8.1.2 and eq. 8.46")
def _kl(p: Normal, q: Normal) -> Tensor:
    """½ (μ − ν)²/τ² + (σ²/τ² − 1)/2 − log(σ/τ)."""
    fused = fused_normal_kl(p.loc, p.scale, q.loc, q.scale)
    if fused is not None:
        return fused
    loc_p, loc_q, scale_q = p.loc, q.loc, q.scale
    if loc_p.dtype.itemsize == loc_q.dtype.itemsize == 2:
        # Half precision would round the difference, and the square could overflow.
        loc_p, loc_q, scale_q = wide(loc_p, loc_q, scale_q)
    z = (loc_p - loc_q) / scale_q
    return torch.addcmul(scale_divergence(p.scale, q.scale), z, z, value=0.5)


@closed_form("renyi", Normal, Normal, source="Gil, Alajaji & Linder (2013), table 2")
def _renyi(p: Normal, q: Normal, alpha: float) -> Tensor:
    """α (μ − ν)²/2v and half of the rates' 1/σ² and 1/τ², v = ατ² + (1 − α)σ²; +inf for v ≤ 0."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    of_scales = 0.5 * renyi_of_rates(2 * log_ratio(scale_p, scale_q), alpha)
    mixed = alpha * scale_q * scale_q + (1 - alpha) * scale_p * scale_p
    finite = of_scales.isfinite() & (mixed > 0)
    apart = (loc_p - loc_q) ** 2 / torch.where(finite, mixed, 1.0)
    return torch.where(finite, of_scales + 0.5 * alpha * apart, math.inf)


@closed_form("entropy", Normal, source="Cover & Thomas (2006), eq. 8.9")
def _entropy(p: Normal) -> Tensor:
    (scale,) = wide(p.scale)
    return 0.5 * math.log(2 * math.pi * math.e) + scale.log()


@closed_form("wasserstein", Normal, Normal, source="Peyré & Cuturi (2019), eq. 2.41")
def _wasserstein(p: Normal, q: Normal) -> Tensor:
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    return length(loc_p - loc_q, scale_p - scale_q)


@closed_form("kl", LogNormal, LogNormal, source="the divergence of the logarithms' Normals")
def _kl_log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return _kl(p.base_dist, q.base_dist)
