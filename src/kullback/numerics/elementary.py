"""Elementary functions that keep their digits, or their derivative, where torch's own lose them.

| function | value | where torch's own fails |
| --- | --- | --- |
| `magnitude(x)` | |x| | second derivatives of even functions at 0 |
| `length(x, y)` | √(x² + y²) | NaN gradient at 0 |
| `sinhc(x)` | sinh(x)/x | 0/0 at 0 |
| `lost_in_difference(x, y)` | (x − y) less x − y as rounded | it is what x − y leaves out |
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["length", "lost_in_difference", "magnitude", "sinhc"]


def magnitude(x: Tensor) -> Tensor:
    """|x| with slope 1 at 0, so that even functions of it have their second derivative there."""
    return torch.where(x < 0, -x, x)


def length(x: Tensor, y: Tensor) -> Tensor:
    """√(x² + y²) without overflow, with gradient 0 at the origin, where there is none."""
    origin = (x == 0) & (y == 0)
    return torch.where(origin, 0.0, torch.hypot(torch.where(origin, 1.0, x), y))


def lost_in_difference(x: Tensor, y: Tensor) -> Tensor:
    """What rounding took from x − y, a constant; 0 where that is no number.

    Source: Knuth (1997), The Art of Computer Programming 2, section 4.2.2, theorem B: two-sum.
    """
    x, y = x.detach(), y.detach()
    d = x - y
    back = d - x
    # Not isfinite, of which compiled code makes one number at a time.
    return torch.where(d.abs() < torch.inf, (x - (d - back)) - (y + back), 0.0)


def sinhc(x: Tensor) -> Tensor:
    """sinh(x)/x, even and at least 1."""
    near = x.abs() < 0.5
    square = torch.where(near, x * x, 0.0)
    series = torch.ones_like(x)
    for n in range(7, 0, -1):
        series = 1 + square / ((2 * n) * (2 * n + 1)) * series
    far = torch.where(near, 1.0, x)
    return torch.where(near, series, torch.sinh(far) / far)
