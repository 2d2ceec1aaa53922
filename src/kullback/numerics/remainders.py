"""Convex functions less their tangents, where the step is known better than its two ends.

The functions of `special` take two numbers and trust their difference. A mean of two parameters
is rounded, and its distance from either may be nothing but that rounding; here the step from x
to y is an argument of its own, so that such differences keep their digits and their sign.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.binet import binet, binet_remainder, binet_slope
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


def log_quotient(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """log(y/x) for step = y − x: from the step where that is small, else from y and x."""
    relative, near = _relative(x, step, 0.5)
    far = torch.where(near, 1.0, y).log() - torch.where(near, 1.0, x).log()
    return torch.where(near, relative.log1p(), far)


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
    relative, near = _relative(x, step, 0.25)
    x_far, step_far = torch.where(near, 1.0, x), torch.where(near, 0.0, step)
    far = torch.lgamma(torch.where(near, 1.0, y)) - torch.lgamma(x_far)
    return torch.where(
        near, _near_lgamma_remainder(x, relative * x), far - torch.digamma(x_far) * step_far
    )


def lgamma_difference(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """lgamma(y) − lgamma(x) for step = y − x, to full precision also for large x and y.

    Source: Abramowitz & Stegun (1964), eqs. 6.1.15 and 6.1.40.
    """
    relative, near = _relative(x, step, 0.25)
    small = relative * x
    close = torch.digamma(x) * small + _near_lgamma_remainder(x, small)
    far = torch.lgamma(torch.where(near, 1.0, y)) - torch.lgamma(torch.where(near, 1.0, x))
    return torch.where(near, close, far)


def shape_divergence(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """KL(Gamma(x, rate x)‖Gamma(y, rate y)) ≥ 0, two shapes with mean 1, for step = y − x.

    It is lgamma(x) − x log x + x, a convex function, less its tangent:

    | where | value |
    | --- | --- |
    | x < 8 | `lgamma_remainder` less y log(y/x) − y + x, of which it is at least 17/16 |
    | x ≥ 8, |step| < x/4 | half of `rate_divergence`, and `binet_remainder` |
    | x ≥ 8, elsewhere | half of `rate_divergence`, and `binet` less its tangent as written |

    Source: Bar-Lev & Reiser (1982); the log-normaliser of the Gamma family at a fixed mean.
    """
    large = x >= _SHIFT
    near = step.abs() < 0.25 * x
    small_x, small_y = torch.where(large, 1.0, x), torch.where(large, 1.0, y)
    small_step = torch.where(large, 0.0, step)
    ratio = log_quotient(small_y, small_x, small_step)
    small = lgamma_remainder(small_y, small_x, small_step)
    small = small - exp_remainder(small_y, small_x, -ratio)
    big_x, big_y = torch.where(large, x, 8.0), torch.where(large, y, 8.0)
    big_step = torch.where(large, step, 0.0)
    far = binet(big_y) - binet(big_x) - binet_slope(big_x) * big_step
    rest = torch.where(near, binet_remainder(big_x, torch.where(near, big_step, 0.0)), far)
    return torch.where(large, 0.5 * rate_divergence(big_y, big_x, big_step) + rest, small)


def _relative(x: Tensor, step: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """step/x where it is below the radius, else 0; and where that is."""
    relative = step / x
    near = relative.abs() < radius
    return torch.where(near, relative, 0.0), near


def _near_lgamma_remainder(x: Tensor, step: Tensor) -> Tensor:
    """Σ_k<8 [u_k − log(1 + u_k)], u_k = step/(x + k), and the same function at x + 8.

    There Stirling's series leaves y log(y/x) − y + x for y = x + step, half of the same term
    again, and the remainder of `binet`.
    """
    total = torch.zeros_like(step)
    for k in range(_SHIFT):
        total = total + _near_log_remainder(step / (x + k))
    shifted = x + _SHIFT
    y, u = shifted + step, step / shifted
    main = exp_remainder(y, shifted, -u.log1p()) + 0.5 * _near_log_remainder(u)
    return total + main + binet_remainder(shifted, step)


def _near_log_remainder(u: Tensor) -> Tensor:
    """u − log(1 + u) for |u| ≤ ¼: u·s − 2(atanh s − s) with s = u/(2 + u)."""
    s = u / (2 + u)
    square = s * s
    terms = 9 if u.dtype == torch.float64 else 4
    series = torch.full_like(s, 1 / (2 * terms + 1))
    for n in range(terms - 1, 0, -1):
        series = series * square + 1 / (2 * n + 1)
    return u * s - 2 * s * square * series
