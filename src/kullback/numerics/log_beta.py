"""The logarithm of the Beta function, where concentrations are large or nearly equal.

log B(x) = Σ lgamma(xᵢ) − lgamma(Σ xᵢ) is the log-normaliser of the Beta and Dirichlet
distributions. Its parts are large and nearly cancel; what is left of them on paper is written
here with Binet's function, and with the shares of each concentration in their total.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.binet import binet
from kullback.numerics.fused import fused
from kullback.numerics.pairs import accumulation_dtype, exp_remainder
from kullback.numerics.remainders import shape_divergence

__all__ = ["log_beta_bregman", "log_gamma_half_step"]


def log_beta_bregman(y: Tensor, x: Tensor) -> Tensor:
    """log B(y) − log B(x) − ∇log B(x)·(y − x) ≥ 0 over the last dimension.

    It is KL(Dirichlet(x)‖Dirichlet(y)). In the direction of x itself lgamma less its tangents
    nearly cancels between the parts and their total. That of x log x − x leaves Σ yᵢ times the
    divergence of the shares y/Σy and x/Σx; `shape_divergence` is the rest, and small.

    Source: Minka (2000), Estimating a Dirichlet distribution, section 1.
    """
    return fused("log_beta_bregman", _log_beta_bregman, (y, x), rows=True)


def _log_beta_bregman(y: Tensor, x: Tensor) -> Tensor:
    y, x = torch.broadcast_tensors(*(z.to(accumulation_dtype(z)) for z in (y, x)))
    step = y - x
    to, at, total_step = (z.sum(-1, keepdim=True) for z in (y, x, step))
    u, u_total = step / x, total_step / at
    # The shares' log-ratio, from differences that vanish when nothing but the total has changed.
    relative = (u - u_total) / (1 + u_total)
    near = relative.abs() < 0.5
    apart = (torch.where(near, x, y) / x).log() - (to / at).log()
    d = torch.where(near, torch.where(near, relative, 0.0).log1p(), apart)
    shares = (to * exp_remainder(y / to, x / at, -d)).sum(-1)
    parts = shape_divergence(y, x, step).sum(-1)
    return shares + parts - shape_divergence(to, at, total_step).squeeze(-1)


def log_gamma_half_step(x: Tensor) -> Tensor:
    """lgamma(x + ½) − lgamma(x) for x > 0: near ½ log x for large x.

    Source: Abramowitz & Stegun (1964), eq. 6.1.40.
    """
    return x * (0.5 / x).log1p() + 0.5 * x.log() - 0.5 + binet(x + 0.5) - binet(x)
