"""KL of two Gaussians for whole batches of float32 parameters, in one pass over the memory.

As torch operations the formula reads and writes the batch a dozen times and takes a float64
logarithm. Here σ is scaled by a power of two until it is within a factor √2 of τ, σ = 2ᵏ·y, where
y − τ is exact; with v = (y − τ)/τ and s = (y − τ)/(y + τ) the logarithm of σ/τ is
k log 2 + v − R, where R = v − log(1 + v) = v·s − 2(artanh s − s) comes from a short series:

| where | (σ²/τ² − 1)/2 − log(σ/τ) |
| --- | --- |
| k = 0 | v²/2 + R: never negative, and float32 to the last digits however small |
| k ≠ 0 | (σ²/τ² − 1)/2 − v + R − k log 2, which is 0.09 or more |
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from kullback.kernels.cpu import over_rows
from kullback.kernels.cpu_math import ELEMENTWISE, LN_2, from_ordered, ordered
from kullback.kernels.cpu_rows import BLOCK, LOOP, cached

__all__ = ["normal_kl", "normal_kl_slopes"]

# The bits of √½ and of 1, and one step of the exponent.
_ROOT_HALF, _ONE, _STEP = 0x3F3504F3, 0x3F800000, 1 << 23
# Scales and ratios beyond these could leave the normal numbers on the way: about 2^±60.
_SMALLEST, _LARGEST = np.float32(1e-18), np.float32(1e18)
_C3, _C5, _C7, _C9, _C11 = (np.float32(1 / n) for n in (3, 5, 7, 9, 11))
_HALF, _TWO, _LN_2 = np.float32(0.5), np.float32(2), np.float32(LN_2)


@njit(**ELEMENTWISE)
def _quick(y, x, inverse, z):
    """One element whose scales y and x are moderate; `inverse` is 1/x."""
    r = y * inverse
    # Numba makes int64 of sums of int32.
    step = np.int32(np.int32(ordered(r) - _ROOT_HALF) >> np.int32(23))
    scaled = y * from_ordered(np.int32(_ONE - step * _STEP))
    gap = scaled - x
    v, s, k = gap * inverse, gap / (scaled + x), np.float32(step)
    square = s * s
    series = (((_C11 * square + _C9) * square + _C7) * square + _C5) * square + _C3
    far = (_HALF * r * r - _HALF) - v - k * _LN_2
    near = _HALF * v * v if k == np.float32(0) else far
    return (near + (v * s - _TWO * s * square * series)) + _HALF * z * z


@njit(**ELEMENTWISE)
def _is_moderate(y, x, inverse):
    return _SMALLEST < y < _LARGEST and _SMALLEST < x < _LARGEST and y * inverse < _LARGEST


@njit(**LOOP)
def _careful(loc_p, y, loc_q, x):
    """One element whatever it holds: a scale of 0 or inf gives +inf, what is no number NaN."""
    ratio = np.float64(y) / np.float64(x)
    z = (np.float64(loc_p) - np.float64(loc_q)) / np.float64(x)
    if not 0.0 < ratio < math.inf:
        return np.float32(ratio + math.inf)
    # In float64 the ratio of two float32 numbers is 1, or 6e-8 away at least.
    log = math.log1p(ratio - 1.0) if abs(ratio - 1.0) < 0.25 else math.log(ratio)
    scale = 0.5 * (ratio * ratio - 1.0) - log
    return np.float32(scale + 0.5 * z * z)


@njit(**LOOP)
def _sweep_one(loc_p, scale_p, loc, x, result):
    """All elements with one Q; whether the quick way holds for them."""
    # Slices from 0 on: any other index might be negative to Numba, which then keeps to scalars.
    inverse = np.float32(1) / x
    moderate = True
    for i in range(result.size):
        moderate &= _is_moderate(scale_p[i], x, inverse)
        z = (loc_p[i] - loc) * inverse
        result[i] = _quick(scale_p[i], x, inverse, z)
    return moderate


@njit(**LOOP)
def _sweep_many(loc_p, scale_p, loc_q, scale_q, result):
    """All elements, each with its own Q; whether the quick way holds for them."""
    moderate = True
    for i in range(result.size):
        inverse = np.float32(1) / scale_q[i]
        moderate &= _is_moderate(scale_p[i], scale_q[i], inverse)
        z = (loc_p[i] - loc_q[i]) * inverse
        result[i] = _quick(scale_p[i], scale_q[i], inverse, z)
    return moderate


@cached
def _normal_rows(loc_p, scale_p, loc_q, scale_q, first, last, result):
    """KL of the elements from `first` to `last`; Q's parameters are as many as P's, or one."""
    one = loc_q.size == 1
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        a, y, out = loc_p[start:stop], scale_p[start:stop], result[start:stop]
        if one:
            moderate = _sweep_one(a, y, loc_q[0], scale_q[0], out)
        else:
            moderate = _sweep_many(a, y, loc_q[start:stop], scale_q[start:stop], out)
        if not moderate:
            for i in range(start, stop):
                j = 0 if one else i
                result[i] = _careful(loc_p[i], scale_p[i], loc_q[j], scale_q[j])


@njit(**ELEMENTWISE)
def _slopes(loc_p, y, loc_q, x, weight):
    """weight times the slopes in loc_p, in y and in x of one element."""
    inverse = np.float32(1) / x
    w, z = weight * inverse, (loc_p - loc_q) * inverse
    # (y/x)² − 1, of which y − x is exact where the two are close.
    spread = ((y - x) * inverse) * ((y + x) * inverse)
    return w * z, w * spread / (y * inverse), -w * (spread + z * z)


@cached
def _normal_slopes(loc_p, scale_p, loc_q, scale_q, first, last, weight, of_loc, of_p, of_q):
    """The slopes of the elements from `first` to `last`; in Q's scale where `of_q` has room."""
    loc_p, scale_p, of_loc, of_p = (
        loc_p[first:last],
        scale_p[first:last],
        of_loc[first:last],
        of_p[first:last],
    )
    if loc_q.size == 1 and weight.size == 1 and of_q.size == 0:
        loc, x, w = loc_q[0], scale_q[0], weight[0]
        for i in range(of_loc.size):
            of_loc[i], of_p[i], _ = _slopes(loc_p[i], scale_p[i], loc, x, w)
    else:
        for i in range(of_loc.size):
            j = 0 if loc_q.size == 1 else first + i
            w = weight[0 if weight.size == 1 else first + i]
            of_loc[i], of_p[i], of_x = _slopes(loc_p[i], scale_p[i], loc_q[j], scale_q[j], w)
            if of_q.size:
                of_q[first + i] = of_x


def normal_kl(loc_p: Tensor, scale_p: Tensor, loc_q: Tensor, scale_q: Tensor) -> Tensor:
    """KL(N(loc_p, scale_p²)‖N(loc_q, scale_q²)) in nats: float32 on the CPU, without gradient.

    Each side's two tensors have one shape, and the shapes of the sides broadcast. Nothing is
    traced here: the caller sees to it that nobody listens.
    """
    sides, shape = _sides(loc_p, scale_p, loc_q, scale_q)
    result = np.empty(math.prod(shape), np.float32)
    over_rows(lambda first, last: _normal_rows(*sides, first, last, result), result.size, 1)
    return torch.from_numpy(result).view(shape)


def normal_kl_slopes(
    loc_p: Tensor, scale_p: Tensor, loc_q: Tensor, scale_q: Tensor, weight: Tensor, of_q: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """weight · ∂KL in loc_p, in scale_p and, if `of_q`, in scale_q, each of `weight`'s shape.

    The slope in loc_q is that in loc_p with the other sign.
    """
    sides, shape = _sides(loc_p, scale_p, loc_q, scale_q)
    size = math.prod(shape)
    # A sum's gradient is one number, expanded.
    steady = size > 0 and not any(weight.stride())
    weights = _numbers(weight.as_strided((1,), (1,)) if steady else weight)
    slopes = [np.empty(size if needed else 0, np.float32) for needed in (True, True, of_q)]
    over_rows(lambda a, b: _normal_slopes(*sides, a, b, weights, *slopes), size, 1)
    loc, scale_p, scale_q = map(torch.from_numpy, slopes)
    return loc.view(shape), scale_p.view(shape), scale_q.view(shape) if of_q else None


def _sides(
    loc_p: Tensor, scale_p: Tensor, loc_q: Tensor, scale_q: Tensor
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The four as flat arrays of equal size (Q's may have size 1), and their common shape."""
    shape, shape_q = loc_p.shape, loc_q.shape
    one = loc_q.numel() == 1 and len(shape_q) <= len(shape)
    if not one and shape != shape_q:
        shape = shape_q = torch.broadcast_shapes(shape, shape_q)
        loc_p, scale_p, loc_q, scale_q = (x.expand(shape) for x in (loc_p, scale_p, loc_q, scale_q))
    return [_numbers(x) for x in (loc_p, scale_p, loc_q, scale_q)], shape


def _numbers(x: Tensor) -> np.ndarray:
    return (x.detach() if x.requires_grad else x).numpy().ravel()
