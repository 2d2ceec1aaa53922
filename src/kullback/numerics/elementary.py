"""Elementary functions that keep their digits, or their derivative, where torch's own lose them.

| function | value | where torch's own fails |
| --- | --- | --- |
| `magnitude(x)` | |x| | second derivatives of even functions at 0 |
| `length(x, y)` | √(x² + y²) | NaN gradient at 0 |
| `sinhc(x)` | sinh(x)/x | 0/0 at 0 |
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["length", "magnitude", "sinhc"]


def magnitude(x: Tensor) -> Tensor:
    """|x| with slope 1 at 0, so that even functions of it have their second derivative there."""
    return torch.where(x < 0, -x, x)


def length(x: Tensor, y: Tensor) -> Tensor:
    """√(x² + y²) without overflow, with gradient 0 at the origin, where there is none."""
    origin = (x == 0) & (y == 0)
    return torch.where(origin, 0.0, torch.hypot(torch.where(origin, 1.0, x), y))


def sinhc(x: Tensor) -> Tensor:
    """sinh(x)/x, even and at least 1."""
    near = x.abs() < 0.5
    square = torch.where(near, x * x, 0.0)
    series = torch.ones_like(x)
    for n in range(7, 0, -1):
        series = 1 + square / ((2 * n) * (2 * n + 1)) * series
    far = torch.where(near, 1.0, x)
    return torch.where(near, series, torch.sinh(far) / far)
