"""Normal and LogNormal: the divergences of two Gaussians on the line, and of their exponentials."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import LogNormal, Normal

from kullback.distributions.dispatch import closed_form
from kullback.distributions.fused import fused_normal_kl
from kullback.distributions.parameters import wide
from kullback.numerics import scale_divergence

__all__: list[str] = []


@closed_form("kl", Normal, Normal, source="Cover & Thomas (2006), example 8.1.2 and eq. 8.46")
def _kl(p: Normal, q: Normal) -> Tensor:
    """½ (μ − ν)²/τ² + (σ²/τ² − 1)/2 − log(σ/τ)."""
    fused = fused_normal_kl(p.loc, p.scale, q.loc, q.scale)
    if fused is not None:
        return fused
    z = (p.loc - q.loc) / q.scale
    return torch.addcmul(scale_divergence(p.scale, q.scale), z, z, value=0.5)


@closed_form("entropy", Normal, source="Cover & Thomas (2006), eq. 8.9")
def _entropy(p: Normal) -> Tensor:
    (scale,) = wide(p.scale)
    return 0.5 * math.log(2 * math.pi * math.e) + scale.log()


@closed_form("wasserstein", Normal, Normal, source="Peyré & Cuturi (2019), eq. 2.41")
def _wasserstein(p: Normal, q: Normal) -> Tensor:
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    return torch.hypot(loc_p - loc_q, scale_p - scale_q)


@closed_form("kl", LogNormal, LogNormal, source="the divergence of the logarithms' Normals")
def _kl_log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return _kl(p.base_dist, q.base_dist)
