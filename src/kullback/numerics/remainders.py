"""Convex functions less their tangents, where the step is known better than its two ends.

The functions of `special` take two numbers and trust their difference. A mean of two parameters
is rounded, and its distance from either may be nothing but that rounding; here the step from x
to y is an argument of its own, so that such differences keep their digits and their sign.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.binet import binet, binet_remainder, binet_slope
from kullback.numerics.cases import by_case
from kullback.numerics.fused import fused
from kullback.numerics.pairs import exp_remainder

__all__ = [
    "lgamma_difference",
    "lgamma_remainder",
    "log_quotient",
    "rate_divergence",
    "shape_divergence",
]

# How far the recurrence shifts x, so that Stirling's series holds: as in `binet_remainder`.
_SHIFT = 8
# Arguments (y, x, step) at which any piece below is smooth: x small and x large.
_SMALL, _LARGE = (2.0, 2.0, 0.0), (8.0, 8.0, 0.0)


def log_quotient(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """log(y/x) for step = y − x: from the step where that is small, else from y and x."""
    relative = step / x
    near = relative.abs() < 0.5
    far = torch.where(near, 1.0, y).log() - torch.where(near, 1.0, x).log()
    return torch.where(near, torch.where(near, relative, 0.0).log1p(), far)


def rate_divergence(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """KL(Exponential(x)‖Exponential(y)) = y/x − 1 − log(y/x) ≥ 0, for step = y − x."""
    relative = step / x
    return exp_remainder(torch.ones_like(relative), 1 + relative, log_quotient(y, x, step))


def lgamma_remainder(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """lgamma(y) − lgamma(x) − digamma(x)·step ≥ 0 for step = y − x and positive x and y.

    | where | value |
    | --- | --- |
    | |step| < x/4 | a sum of terms ≥ 0 in step², from the recurrence and Stirling's series |
    | elsewhere | as written |

    Source: Abramowitz & Stegun (1964), eqs. 6.1.15 and 6.1.40.
    """
    return by_case(_is_near(x, step), _remainder, _far_remainder, (y, x, step), (_SMALL, _SMALL))


def lgamma_difference(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """lgamma(y) − lgamma(x) for step = y − x, to full precision also for large x and y.

    Source: Abramowitz & Stegun (1964), eqs. 6.1.15 and 6.1.40.
    """
    return by_case(_is_near(x, step), _difference, _far_difference, (y, x, step), (_SMALL, _SMALL))


def shape_divergence(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """KL(Gamma(x, rate x)‖Gamma(y, rate y)) ≥ 0, two shapes with mean 1, for step = y − x.

    It is lgamma(x) − x log x + x, a convex function, less its tangent:

    | where | value |
    | --- | --- |
    | x < 8 | `lgamma_remainder` less y log(y/x) − y + x, of which it is at least 17/16 |
    | x ≥ 8, |step| < x/4 | half of `rate_divergence`, and `binet_remainder` |
    | x ≥ 8, elsewhere | half of `rate_divergence`, and `binet` less its tangent as written |

    Source: Abramowitz & Stegun (1964), eqs. 6.1.15 and 6.1.40.
    """
    return fused("shape_divergence", _shape_divergence, (y, x, step))


def _shape_divergence(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return by_case(x >= _SHIFT, _large_shapes, _small_shapes, (y, x, step), (_LARGE, _SMALL))


def _is_near(x: Tensor, step: Tensor) -> Tensor:
    return step.abs() < 0.25 * x


def _remainder(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """Σ_k<8 [u_k − log(1 + u_k)], u_k = step/(x + k), and the same function at x + 8.

    There Stirling's series leaves (x + 8)(u₈² − (1 + u₈)(u₈ − log(1 + u₈))), which is
    y log(y/x) − y + x at y = x + 8 + step, half of u₈ − log(1 + u₈), and that of `binet`.
    """
    offsets = torch.arange(_SHIFT + 1, dtype=x.dtype, device=x.device)
    u = step.unsqueeze(-1) / (x.unsqueeze(-1) + offsets)
    parts = _near_log_remainder(u)
    shifted, last, rest = x + _SHIFT, u[..., -1], parts[..., -1]
    main = shifted * (last * last - (1 + last) * rest)
    return parts[..., :-1].sum(-1) + main + 0.5 * rest + binet_remainder(shifted, step)


def _far_remainder(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return torch.lgamma(y) - torch.lgamma(x) - torch.digamma(x) * step


def _difference(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return torch.digamma(x) * step + _remainder(y, x, step)


def _far_difference(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return torch.lgamma(y) - torch.lgamma(x)


def _small_shapes(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    rates = exp_remainder(y, x, -log_quotient(y, x, step))
    return lgamma_remainder(y, x, step) - rates


def _large_shapes(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    rest = by_case(_is_near(x, step), _binet_remainder, _far_binet, (y, x, step), (_LARGE, _LARGE))
    return 0.5 * rate_divergence(y, x, step) + rest


def _binet_remainder(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return binet_remainder(x, step)


def _far_binet(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    return binet(y) - binet(x) - binet_slope(x) * step


def _near_log_remainder(u: Tensor) -> Tensor:
    """u − log(1 + u) for |u| ≤ ¼: u·s − 2(atanh s − s) with s = u/(2 + u)."""
    s = u / (2 + u)
    square = s * s
    terms = 9 if u.dtype == torch.float64 else 4
    series = torch.full_like(s, 1 / (2 * terms + 1))
    for n in range(terms - 1, 0, -1):
        series = series * square + 1 / (2 * n + 1)
    return u * s - 2 * s * square * series
