"""Wishart: the divergence of two means, and that of two degrees of freedom, both non-negative.

With means nV, KL = ½ m [tr A − log det A − d], A the mean of P seen from that of Q and m the
degrees of freedom of Q, plus a Bregman divergence in the degrees of freedom alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Wishart

from kullback.distributions.closed_forms.shared.factors import scale_factor
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import (
    diagonal,
    factor_divergence,
    generalized_kl,
    geometric_factor,
    lgamma_bregman,
    solve_lower,
)

__all__: list[str] = []


@closed_form("kl", Wishart, Wishart, source="Penny (2001), KL-Divergences of Wishart Densities")
def _kl(p: Wishart, q: Wishart) -> Tensor:
    """½ n (tr V_q⁻¹V_p − d) − ½ m log det V_q⁻¹V_p + log Γ_d(m/2) − log Γ_d(n/2) + ½(n − m)ψ_d."""
    n, m = wide(p.df, q.df)
    left, right = scale_factor(p), scale_factor(q)
    return _of_factors(n, m, solve_lower(right, left - right), diagonal(left), diagonal(right))


def _of_factors(n: Tensor, m: Tensor, lower: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """KL of n and m degrees of freedom, P's factor seen from Q being `lower`, its diagonal y/x."""
    root_n, root_m = n.sqrt()[..., None], m.sqrt()[..., None]
    scaled = lower * (root_n / root_m)[..., None]
    return m * factor_divergence(scaled, y * root_n, x * root_m) + _of_degrees(m, n, lower)


def _of_degrees(m: Tensor, n: Tensor, like: Tensor) -> Tensor:
    """The Bregman divergence of log Γ_d(n/2) − ½ d n log(n/2) + ½ d n, at m from n."""
    size = like.shape[-1]
    half_steps = torch.arange(size, dtype=n.dtype, device=n.device) / 2
    y, x = m[..., None] / 2, n[..., None] / 2
    return (lgamma_bregman(y - half_steps, x - half_steps) - generalized_kl(y, x)).sum(-1)


@closed_form(
    "renyi",
    Wishart,
    Wishart,
    source="Nielsen & Nock (2011), Rényi divergences of exponential families",
)
def _renyi(p: Wishart, q: Wishart, alpha: float) -> Tensor:
    """With R of degrees αn + (1 − α)m and precision αV_p⁻¹ + (1 − α)V_q⁻¹:

    | order | value |
    | --- | --- |
    | α < 1 | α/(1 − α)·KL(R‖P) + KL(R‖Q) |
    | α > 1 | KL(P‖Q) + KL(P‖R)/(α − 1); +inf where R does not exist |
    """
    n, m = wide(p.df, q.df)
    left, right = scale_factor(p), scale_factor(q)
    lower, y, x = solve_lower(right, left - right), diagonal(left), diagonal(right)
    relative = lower.tril(-1) + (y / x).diag_embed()
    inverse, exists = geometric_factor(relative, alpha)
    root, one = diagonal(inverse), torch.ones_like(y)
    degrees = n + (1 - alpha) * (m - n)
    exists = exists & (degrees > relative.shape[-1] - 1)
    degrees = torch.where(exists, degrees, n)
    if alpha < 1:
        identity = torch.eye(relative.shape[-1], dtype=n.dtype, device=n.device)
        mixture = solve_lower(inverse, identity)
        of_p = _of_factors(degrees, n, mixture, one, root)
        of_q = _of_factors(degrees, m, relative @ mixture, y / x, root)
        return alpha / (1 - alpha) * of_p + of_q
    value = _of_factors(n, m, lower, y, x)
    value = value + _of_factors(n, degrees, inverse, root, one) / (alpha - 1)
    return torch.where(exists, value, math.inf)


@closed_form("entropy", Wishart, source="Bishop (2006), Pattern Recognition, eq. B.82")
def _entropy(p: Wishart) -> Tensor:
    """½(d + 1) log det 2V + log Γ_d(n/2) − ½(n − d − 1) ψ_d(n/2) + ½ n d."""
    (n,) = wide(p.df)
    factor = scale_factor(p)
    size = factor.shape[-1]
    arguments = n[..., None] / 2 - torch.arange(size, dtype=n.dtype, device=n.device) / 2
    log_gamma = torch.lgamma(arguments).sum(-1) + size * (size - 1) / 4 * math.log(math.pi)
    half_log_det = diagonal(factor).log().sum(-1) + 0.5 * size * math.log(2)
    mean_log = torch.digamma(arguments).sum(-1)
    return (size + 1) * half_log_det + log_gamma - 0.5 * (n - size - 1) * mean_log + 0.5 * n * size
