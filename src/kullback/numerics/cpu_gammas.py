"""The loops of Gammas and Dirichlets, by Stirling's series and the recurrence of log Γ."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kullback.numerics.cpu_elements import (
    INLINE,
    LOOP,
    atanh_rest,
    cached,
    exponential,
    is_moderate,
    two_logs,
)

__all__ = ["gamma", "log_beta_bregman", "shape_divergence"]

_RECURRENCE = 8
_BINET = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
_BINET_SLOPE = tuple(-(2 * n + 1) * c for n, c in enumerate(_BINET))
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@njit(**INLINE)
def _binet_series(x, coefficients):
    square = 1.0 / (x * x)
    total = coefficients[7]
    for n in range(6, -1, -1):
        total = total * square + coefficients[n]
    return total / x


@njit(**LOOP)
def _binet(x):
    """log Γ(x) − (x − ½) log x + x − ½ log 2π: from 8 on by Stirling's series, to 1e-16."""
    if x >= _RECURRENCE:
        return _binet_series(x, _BINET)
    return math.lgamma(x) - (x - 0.5) * math.log(x) + x - _HALF_LOG_2PI


@njit(**LOOP)
def _binet_remainder(x, step):
    """binet(x + step) less its tangent at x, for x ≥ 8 and |step| < x/4: as in `binet`."""
    inverse, other = 1.0 / x, 1.0 / (x + step)
    relative = step * inverse
    square, two_steps, both = inverse * inverse, other * other, inverse + other
    power, term = inverse, 1.0
    total = _BINET[0]
    for n in range(1, 8):
        term = power * (inverse + 2 * n * both) + term * two_steps
        total += _BINET[n] * term
        power *= square
    return relative * relative * other * total


@njit(**LOOP)
def _shape(y, x, step):
    """KL of two Gammas with mean 1, of shapes x and y: `shape_divergence`, element by element."""
    near = abs(step) < 0.25 * x
    if x >= _RECURRENCE:
        _, rate, _ = two_logs(y, x, step)
        if near:
            return 0.5 * rate + _binet_remainder(x, step)
        return 0.5 * rate + (_binet(y) - _binet(x) - _binet_series(x, _BINET_SLOPE) / x * step)
    far = x + _RECURRENCE
    _, rate, shapes = two_logs(y + _RECURRENCE, far, step)
    shifted = far * shapes + 0.5 * rate
    _, first, own = two_logs(y, x, step)
    if near:
        recurrence = first
        for k in range(1, _RECURRENCE):
            u, s = step / (x + k), step / (2.0 * (x + k) + step)
            square = s * s
            recurrence += u * s - 2.0 * s * square * atanh_rest(square)
        return recurrence + shifted + _binet_remainder(far, step) - x * own
    # The products of y + k and of x + k, and the derivative of the latter.
    above, below, slope = 1.0, 1.0, 0.0
    for k in range(_RECURRENCE):
        above *= y + k
        slope = slope * (x + k) + below
        below *= x + k
    recurrence = step * slope / below - math.log(above / below)
    rest = _binet(y + _RECURRENCE) - _binet(far) - _binet_series(far, _BINET_SLOPE) / far * step
    return recurrence + shifted + rest - x * own


@cached
def shape_divergence(result, y, x, step):
    """KL(Gamma(x, rate x)‖Gamma(y, rate y)) for step = y − x."""
    whole = True
    for i in range(result.size):
        a, b, gap = np.float64(y[i]), np.float64(x[i]), np.float64(step[i])
        moderate = is_moderate(a) and is_moderate(b)
        result[i] = _shape(a, b, gap) if moderate else math.nan
        whole &= moderate
    return whole


@cached
def gamma(result, shape_p, rate_p, shape_q, rate_q):
    """KL(Gamma(a, β)‖Gamma(b, γ)): that of the shapes, and b(eᵈ − 1 − d), d = log(γa/(βb))."""
    whole = True
    for i in range(result.size):
        a, beta = np.float64(shape_p[i]), np.float64(rate_p[i])
        b, other = np.float64(shape_q[i]), np.float64(rate_q[i])
        moderate = is_moderate(a) and is_moderate(b) and is_moderate(beta) and is_moderate(other)
        if moderate:
            of_rates, _, _ = two_logs(other, beta, other - beta)
            of_shapes, _, _ = two_logs(b, a, b - a)
            _, _, rest = exponential(of_rates - of_shapes)
            result[i] = _shape(b, a, b - a) + b * rest
        else:
            result[i] = math.nan
        whole &= moderate
    return whole


@cached
def log_beta_bregman(result, y, x):
    """KL(Dirichlet(x)‖Dirichlet(y)) of rows: as many concentrations for each as there are rows."""
    events = y.size // max(1, result.size)
    whole = True
    for i in range(result.size):
        to, at, total_step = 0.0, 0.0, 0.0
        moderate = True
        for j in range(i * events, (i + 1) * events):
            a, b = np.float64(y[j]), np.float64(x[j])
            moderate = moderate and is_moderate(a) and is_moderate(b)
            to += a
            at += b
            total_step += a - b
        if not moderate:
            result[i] = math.nan
            whole = False
            continue
        growth = total_step / at
        value = -_shape(to, at, total_step)
        for j in range(i * events, (i + 1) * events):
            a, b = np.float64(y[j]), np.float64(x[j])
            gap = a - b
            # The shares' difference vanishes when nothing but the total has changed.
            near = abs(growth) < 0.5
            r = b * (1.0 + growth) if near else b * (to / at)
            _, _, share = two_logs(a, r, gap - b * growth if near else a - r)
            value += r * share + _shape(a, b, gap)
        result[i] = value
    return whole
