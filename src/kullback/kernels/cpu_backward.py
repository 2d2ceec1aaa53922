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
    split,
)
from kullback.kernels.cpu_rows import BLOCK, LOOP, cached, within

__all__ = ["backward_rows"]


@njit(**LOOP)
def _gradient_q(a, b, z, weight, plain, result):
    """w·(q − p) of a block, into `result`."""
    if plain:
        for i in range(a.size):
            x, y = cast(a[i], z.p), cast(b[i], z.p)
            change, _ = ratio_terms(difference(x, y, z))
            result[i] = weight * bounded_exp(x - z.p) * change
    else:
        for i in range(a.size):
            x, y = cast(a[i], z.p), cast(b[i], z.p)
            result[i] = weight * event(x, y, z)[1]


@njit(**LOOP)
def _gradient_p(a, b, z, weight, offset, plain, result):
    """−w·p·(d + offset) of a block, into `result`; the offset is the row's divergence, or 0."""
    if plain:
        for i in range(a.size):
            x, y = cast(a[i], z.p), cast(b[i], z.p)
            slope = -difference(x, y, z) - offset
            result[i] = weight * bounded_exp(x - z.p) * slope
    else:
        zero, infinity = cast(0.0, z.p), cast(math.inf, z.p)
        for i in range(a.size):
            x, y = cast(a[i], z.p), cast(b[i], z.p)
            p, _, _, d = event(x, y, z)
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
        z = split(log_z_p[row], log_z_q[row] - log_z_p[row], kl[0])
        # What rounding took from log Z_p goes into the weight.
        scale = np.float64(weight[row]) * math.exp(np.float64(z.p) - log_z_p[row])
        w = cast(scale if weight[row] != 0.0 else 0.0, z.p)
        offset = cast(0.0, z.p) if normalized else kl[row]
        for start in range(0, events, BLOCK):
            size = min(BLOCK, events - start)
            a = p[row * p_stride + start : row * p_stride + start + size]
            b = q[row * q_stride + start : row * q_stride + start + size]
            target_p = grad_p[row * events + start : row * events + start + size]
            at_q = row * grad_q_stride + start
            if w == 0.0:
                result[:] = 0.0
            plain = w != 0.0 and offset < math.inf and within(a, b, z)
            if needs_p:
                if w != 0.0:
                    _gradient_p(a, b, z, w, offset, plain, result)
                _store(result, target_p)
            if needs_q:
                if w != 0.0:
                    _gradient_q(a, b, z, w, plain, result)
                _store(result, grad_q[at_q : at_q + size])
