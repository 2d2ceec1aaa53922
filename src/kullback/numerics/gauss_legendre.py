"""Short integrals of smooth functions, by ten points of Gauss and Legendre.

Where a closed form is a small difference of large numbers, the same difference is the integral of
a derivative over a short interval: ten positive weights give it to the last bits, with its sign.
The caller sees to it that the nearest pole is at least four half-lengths away; the error is then
below 8⁻²⁰ ≈ 1e-18 of the largest value there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["average", "tangent_remainder"]

_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(10)
# On the unit interval, where the weights add up to one.
_NODES = ((_ROOTS + 1) / 2).tolist()
_SHARES = (_WEIGHTS / 2).tolist()


def average(function: Callable[[Tensor], Tensor], low: Tensor, length: Tensor) -> Tensor:
    """The mean of `function` over [low, low + length]."""
    nodes, shares = low.new_tensor(_NODES), low.new_tensor(_SHARES)
    return (function(low[..., None] + length[..., None] * nodes) * shares).sum(-1)


def tangent_remainder(second: Callable[[Tensor], Tensor], y: Tensor, x: Tensor) -> Tensor:
    """f(y) − f(x) − f′(x)(y − x) = ∫ (y − t) f″(t) dt from f″: never negative for convex f."""
    y, x = torch.broadcast_tensors(y, x)
    step = y - x
    nodes, shares = step.new_tensor(_NODES), step.new_tensor(_SHARES)
    curvature = second(x[..., None] + step[..., None] * nodes)
    return step * step * (curvature * (shares * (1 - nodes))).sum(-1)
