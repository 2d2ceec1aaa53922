"""The Rényi divergence by two routes, each where it is accurate.

With D the alpha-divergence, Σ p^α q^(1−α) = 1 + α(α − 1)·D, and R = log1p(α(α − 1)·D)/(α − 1).

| where | route |
| --- | --- |
| |α(α − 1)·D| < ½ | that log1p: D is exact near equality |
| elsewhere | logsumexp(α log p + (1 − α) log q)/(α − 1): no overflow far away |
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.divergences import KL
from kullback.divergences import alpha as alpha_record
from kullback.numerics import Pair, log_power_mean, make_pair
from kullback.tensors.function import row_divergence
from kullback.tensors.inputs import Opened

__all__ = ["renyi"]


def renyi(opened: Opened, alpha: float, validate: bool) -> Tensor:
    """R_α(p‖q) over the last dimension, 0 ≤ α ≤ ∞."""
    sides = opened.p, opened.q
    spaces = opened.space_p, opened.space_q
    if alpha == 1:
        return row_divergence(*sides, KL, *spaces, validate=validate)
    if alpha in (0, torch.inf):
        # Evaluated for its checks: the two limits are written down directly.
        zero = 0.0 * _finite(row_divergence(*sides, KL, *spaces, validate=validate))
        pair = make_pair(*sides, *spaces)
        return zero + (_order_zero(pair) if alpha == 0 else _order_infinity(pair))
    divergence = row_divergence(*sides, alpha_record(alpha), *spaces, validate=validate)
    growth = alpha * (alpha - 1) * divergence
    near = growth.abs() < 0.5
    close = torch.log1p(torch.where(near, growth, 0.0)) / (alpha - 1)
    return torch.where(near, close, _far(make_pair(*sides, *spaces), alpha, near))


def _far(pair: Pair, alpha: float, skip: Tensor) -> Tensor:
    exponents = log_power_mean(pair, alpha)
    # +inf: p > 0 = q with α > 1. All −inf: supports apart with α < 1. Both make R infinite.
    infinite = (exponents == torch.inf).any(-1) | (exponents == -torch.inf).all(-1)
    masked = torch.where((skip | infinite).unsqueeze(-1), 0.0, exponents)
    return torch.where(infinite, torch.inf, torch.logsumexp(masked, -1) / (alpha - 1))


def _order_zero(pair: Pair) -> Tensor:
    """−log Q(p > 0)."""
    covered = torch.where(pair.p > 0, pair.log_q, -torch.inf)
    apart = (covered == -torch.inf).all(-1)
    safe = torch.where(apart.unsqueeze(-1), 0.0, covered)
    # On full support the sum is 1 up to rounding, and R is 0 exactly.
    full = ((pair.p > 0) | (pair.q == 0)).all(-1)
    value = torch.where(full, 0.0, -torch.logsumexp(safe, -1))
    return torch.where(apart, torch.inf, value)


def _order_infinity(pair: Pair) -> Tensor:
    """The largest log(p/q) over the support of p."""
    return torch.where(pair.p > 0, -pair.d, -torch.inf).amax(-1)


def _finite(value: Tensor) -> Tensor:
    return torch.where(value.isinf(), 0.0, value)
