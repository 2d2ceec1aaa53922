"""The backward loops of the CPU kernels: gradients of Σ weight·KL(p‖q) from the saved normalisers.

A block is computed into a small buffer and then copied out, so that a gradient may be written
over the very logits it is taken with respect to.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kullback.kernels.cpu_math import (
    bounded_exp,
    cast,
    difference,
    event,
    narrow,
    ratio_terms,
)
from kullback.kernels.cpu_rows import BLOCK, LOOP, cached, split, within

__all__ = ["backward_rows"]


@njit(**LOOP)
def _gradient_q(a, b, shift, high, low, weight, plain, result):
    """w·(q − p) of a block, into `result`."""
    if plain:
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            change, _ = ratio_terms(difference(x, y, high, low))
            result[i] = weight * bounded_exp(x - shift) * change
    else:
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            result[i] = weight * event(x, y, shift, high, low)[1]


@njit(**LOOP)
def _gradient_p(a, b, shift, high, low, weight, offset, plain, result):
    """−w·p·(d + offset) of a block, into `result`; the offset is the row's divergence, or 0."""
    if plain:
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            slope = -difference(x, y, high, low) - offset
            result[i] = weight * bounded_exp(x - shift) * slope
    else:
        zero, infinity = cast(0.0, shift), cast(math.inf, shift)
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            p, _, _, d = event(x, y, shift, high, low)
            slope = infinity if d == -infinity else -d - offset
            result[i] = zero if p == zero else weight * p * slope


@njit(**LOOP)
def _store(result, out):
    for i in range(out.size):
        out[i] = narrow(result[i], out)


@cached
def backward_rows(
    p, p_stride, q, q_stride, events, first, last, normalized, kl, log_z_p, log_z_q, weight,
    needs_p, grad_p, needs_q, grad_q, grad_q_stride,
):  # fmt: skip
    result = np.empty(BLOCK, dtype=kl.dtype)
    for row in range(first, last):
        shift, high, low = split(log_z_p[row], log_z_q[row] - log_z_p[row], kl[0])
        # What rounding the shift took away goes into the weight.
        scale = np.float64(weight[row]) * math.exp(np.float64(shift) - log_z_p[row])
        w = cast(scale if weight[row] != 0.0 else 0.0, shift)
        offset = cast(0.0, shift) if normalized else kl[row]
        for start in range(0, events, BLOCK):
            size = min(BLOCK, events - start)
            a = p[row * p_stride + start : row * p_stride + start + size]
            b = q[row * q_stride + start : row * q_stride + start + size]
            target_p = grad_p[row * events + start : row * events + start + size]
            at_q = row * grad_q_stride + start
            if w == 0.0:
                result[:] = 0.0
            plain = w != 0.0 and offset < math.inf and within(a, b, shift, high, low)
            if needs_p:
                if w != 0.0:
                    _gradient_p(a, b, shift, high, low, w, offset, plain, result)
                _store(result, target_p)
            if needs_q:
                if w != 0.0:
                    _gradient_q(a, b, shift, high, low, w, plain, result)
                _store(result, grad_q[at_q : at_q + size])
