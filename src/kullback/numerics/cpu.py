"""Loops for the functions that closed forms are made of: each element once, nothing in between.

As torch operations the care for nearly equal arguments takes dozens of passes over the memory.
Here y is scaled by a power of two until it is within a factor √2 of x, y = 2ᵏ·z, where z − x is
exact, or is the step that the caller knows better. With v = (z − x)/x, s = (z − x)/(z + x) and
T = 1/3 + s²/5 + s⁴/7 + … nothing cancels near equality, where k = 0:

| value | for k = 0 | elsewhere |
| --- | --- | --- |
| log(y/x) | v − (v·s − 2s³T) | k log 2 + that |
| y/x − log(y/x) − 1 | v·s − 2s³T | as written |
| (y log(y/x) − y + x)/x | v·s + 2(1 + v)s³T | as written |

An element beyond the moderate numbers is NaN in the result, for the caller to see to; every loop
says whether there was none. What has no branch is turned into vector instructions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

__all__ = [
    "bernoulli_logits",
    "bernoulli_probs",
    "gamma",
    "gaussian",
    "geometric_probs",
    "itakura_saito",
    "laplace",
    "log_beta_bregman",
    "poisson",
    "shape_divergence",
    "standard_normal",
]

# No sums may be reordered: the splits into a high and a low part would be lost.
_LOOP: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
_INLINE: dict[str, Any] = {**_LOOP, "forceinline": True}

_SMALLEST, _LARGEST = 1e-30, 1e30
_LN_2, _LOG2_E = math.log(2.0), math.log2(math.e)
# log 2 in two parts, of which a multiple of the first is exact.
_LN_2_HIGH, _LN_2_LOW = float.fromhex("0x1.62e42fee00000p-1"), 1.9082149292705877e-10
# The exponent of 1 in place; what, added to a float's bits, makes a carry at √2; the mantissa.
_ONE = np.uint64(0x3FF0000000000000)
_CARRY = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_WIDTH, _BIAS, _TWICE_BIAS = np.uint64(52), np.uint64(1023), np.uint64(2046)
_WHOLE, _WHOLE_BITS = 4503599627370496.0, np.uint64(0x4330000000000000)
_ROUNDING = 6755399441055744.0
_RECURRENCE = 8
_BINET = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
_BINET_SLOPE = tuple(-(2 * n + 1) * c for n, c in enumerate(_BINET))
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def cached(loop: Callable[..., Any]) -> Any:
    """The compiled loop, kept on disk under a name that changes with this file."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    loop.__qualname__ += f"-{digest[:16]}"
    return njit(cache=True, **_LOOP)(loop)


@njit(**_INLINE)
def _atanh_rest(square):
    """T = 1/3 + s²/5 + s⁴/7 + … for |s| ≤ 0.172, of which `square` is s²."""
    series = 1 / 21
    series = series * square + 1 / 19
    series = series * square + 1 / 17
    series = series * square + 1 / 15
    series = series * square + 1 / 13
    series = series * square + 1 / 11
    series = series * square + 1 / 9
    series = series * square + 1 / 7
    series = series * square + 1 / 5
    return series * square + 1 / 3


@njit(**_INLINE)
def _two_logs(y, x, step):
    """log(y/x) and the remainders y/x − log(y/x) − 1 and (y log(y/x) − y + x)/x."""
    ratio = y / x
    exponent = (np.float64(ratio).view(np.uint64) + _CARRY) >> _WIDTH
    k = np.uint64(exponent | _WHOLE_BITS).view(np.float64) - (_WHOLE + 1023.0)
    z = y * np.uint64((_TWICE_BIAS - exponent) << _WIDTH).view(np.float64)
    gap = step if k == 0.0 else z - x
    v, s = gap / x, gap / (z + x)
    square = s * s
    rest = 2.0 * s * square * _atanh_rest(square)
    near = v * s - rest
    log = k * _LN_2 + (v - near)
    first = near if k == 0.0 else ratio - 1.0 - log
    second = v * s + (1.0 + v) * rest if k == 0.0 else ratio * log - ratio + 1.0
    return log, first, second


@njit(**_INLINE)
def _exponential(d):
    """eᵈ, eᵈ − 1 and eᵈ − 1 − d for |d| < 700."""
    shifted = d * _LOG2_E + _ROUNDING
    k = shifted - _ROUNDING
    power = np.uint64((np.float64(shifted).view(np.uint64) + _BIAS) << _WIDTH).view(np.float64)
    r = (d - k * _LN_2_HIGH) - k * _LN_2_LOW
    series = 1 / 14
    series = (1.0 + r * series) * (1 / 13)
    series = (1.0 + r * series) * (1 / 12)
    series = (1.0 + r * series) * (1 / 11)
    series = (1.0 + r * series) * (1 / 10)
    series = (1.0 + r * series) * (1 / 9)
    series = (1.0 + r * series) * (1 / 8)
    series = (1.0 + r * series) * (1 / 7)
    series = (1.0 + r * series) * (1 / 6)
    series = (1.0 + r * series) * (1 / 5)
    series = (1.0 + r * series) * (1 / 4)
    series = (1.0 + r * series) * (1 / 3)
    rest = 0.5 * r * r * (1.0 + r * series)
    change = (power - 1.0) + power * (r + rest)
    return power + power * (r + rest), change, rest if k == 0.0 else change - d


@njit(**_INLINE)
def _is_moderate(x):
    return _SMALLEST < x < _LARGEST


@cached
def itakura_saito(result, y, x):
    """y/x − log(y/x) − 1."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(y[i]), np.float64(x[i])
        moderate = _is_moderate(a) & _is_moderate(b)
        _, value, _ = _two_logs(a, b, a - b)
        result[i] = value if moderate else math.nan
        whole &= moderate
    return whole


@cached
def poisson(result, y, x):
    """y log(y/x) − y + x."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(y[i]), np.float64(x[i])
        moderate = _is_moderate(a) & _is_moderate(b)
        _, _, value = _two_logs(a, b, a - b)
        result[i] = b * value if moderate else math.nan
        whole &= moderate
    return whole


@cached
def laplace(result, loc_p, scale_p, loc_q, scale_q):
    """KL(Laplace(μ, b)‖Laplace(ν, c)): b/c − log(b/c) − 1 + (b/c)(e⁻ᵈ − 1 + d), d = |μ − ν|/b."""
    whole = True
    for i in range(result.size):
        b, c = np.float64(scale_p[i]), np.float64(scale_q[i])
        d = abs(np.float64(loc_p[i]) - np.float64(loc_q[i])) / b
        moderate = _is_moderate(b) & _is_moderate(c) & (d < _LARGEST)
        _, scales, _ = _two_logs(b, c, b - c)
        _, _, rest = _exponential(-min(d, 600.0))
        apart = rest if d < 600.0 else d - 1.0
        result[i] = scales + b / c * apart if moderate else math.nan
        whole &= moderate
    return whole


@cached
def standard_normal(result, slope, mean, log_variance):
    """KL(N(μ, eᵛ)‖N(0, 1)) = ½(eᵛ − 1 − v) + ½μ² and, if there is room, its slope ½(eᵛ − 1)."""
    whole = True
    sloped = slope.size > 0
    for i in range(result.size):
        mu, v = np.float64(mean[i]), np.float64(log_variance[i])
        moderate = (abs(mu) < 1e150) & (abs(v) < 700.0)
        _, change, rest = _exponential(v if moderate else 0.0)
        result[i] = 0.5 * (rest + mu * mu) if moderate else math.nan
        if sloped:
            slope[i] = 0.5 * change
        whole &= moderate
    return whole


@cached
def gaussian(result, slopes, mean, log_variance, prior_mean, prior_log_variance):
    """KL(N(μ, eᵛ)‖N(ν, eʷ)) = ½(eᵈ − 1 − d) + ½(μ − ν)²e⁻ʷ, d = v − w; its slopes in μ, v, w."""
    whole = True
    sloped = slopes.size > 0
    for i in range(result.size):
        v, w = np.float64(log_variance[i]), np.float64(prior_log_variance[i])
        gap = np.float64(mean[i]) - np.float64(prior_mean[i])
        moderate = (abs(gap) < 1e80) & (abs(v) < 300.0) & (abs(w) < 300.0)
        v, w = (v, w) if moderate else (0.0, 0.0)
        d = v - w
        # What rounding took from d, Knuth's two-sum: it counts in the exponential of a large d.
        back = d - v
        lost = (v - (d - back)) - (w + back)
        ratio, change, rest = _exponential(d)
        precision, _, _ = _exponential(-w)
        pull = gap * precision
        result[i] = 0.5 * (rest + change * lost + gap * pull) if moderate else math.nan
        if sloped:
            of_variance = 0.5 * (change + ratio * lost)
            slopes[0, i] = pull
            slopes[1, i] = of_variance
            slopes[2, i] = -(of_variance + 0.5 * gap * pull)
        whole &= moderate
    return whole


@njit(**_INLINE)
def _trial(p, q):
    """KL of one trial from its two probabilities, each within (0, 1)."""
    step = p - q
    rest_p, rest_q = 1.0 - p, 1.0 - q
    _, _, success = _two_logs(p, q, step)
    _, _, failure = _two_logs(rest_p, rest_q, -step)
    return q * success + rest_q * failure


@njit(**_INLINE)
def _is_inside(p):
    return (p > _SMALLEST) & (p < 1.0)


@cached
def bernoulli_probs(result, p, q):
    """p log(p/q) + (1 − p) log((1 − p)/(1 − q))."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(p[i]), np.float64(q[i])
        moderate = _is_inside(a) & _is_inside(b)
        result[i] = _trial(a, b) if moderate else math.nan
        whole &= moderate
    return whole


@cached
def geometric_probs(result, p, q):
    """[p log(p/q) + (1 − p) log((1 − p)/(1 − q))]/p."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(p[i]), np.float64(q[i])
        moderate = _is_inside(a) & _is_inside(b)
        result[i] = _trial(a, b) / a if moderate else math.nan
        whole &= moderate
    return whole


@cached
def bernoulli_logits(result, logits_p, logits_q):
    """p(eᵈ − 1 − d) − [w − log(1 + w)] for w = p(eᵈ − 1), d = b − a, and the cell with p ≤ ½."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(logits_p[i]), np.float64(logits_q[i])
        moderate = (abs(a) < 300.0) & (abs(b) < 300.0)
        a, b = (a, b) if moderate else (0.0, 0.0)
        d = a - b if a > 0.0 else b - a
        odds, _, _ = _exponential(-abs(a))
        p = odds / (1.0 + odds)
        _, change, rest = _exponential(d)
        w = p * change
        log, remainder, _ = _two_logs(1.0 + w, 1.0, w)
        value = p * rest - remainder if abs(d) < 0.35 else log - p * d
        result[i] = value if moderate else math.nan
        whole &= moderate
    return whole


@njit(**_INLINE)
def _binet_series(x, coefficients):
    square = 1.0 / (x * x)
    total = coefficients[7]
    for n in range(6, -1, -1):
        total = total * square + coefficients[n]
    return total / x


@njit(**_LOOP)
def _binet(x):
    """log Γ(x) − (x − ½) log x + x − ½ log 2π: from 8 on by Stirling's series, to 1e-16."""
    if x >= _RECURRENCE:
        return _binet_series(x, _BINET)
    return math.lgamma(x) - (x - 0.5) * math.log(x) + x - _HALF_LOG_2PI


@njit(**_LOOP)
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


@njit(**_LOOP)
def _shape(y, x, step):
    """KL of two Gammas with mean 1, of shapes x and y: `shape_divergence`, element by element."""
    near = abs(step) < 0.25 * x
    if x >= _RECURRENCE:
        _, rate, _ = _two_logs(y, x, step)
        if near:
            return 0.5 * rate + _binet_remainder(x, step)
        return 0.5 * rate + (_binet(y) - _binet(x) - _binet_series(x, _BINET_SLOPE) / x * step)
    far = x + _RECURRENCE
    _, rate, shapes = _two_logs(y + _RECURRENCE, far, step)
    shifted = far * shapes + 0.5 * rate
    _, first, own = _two_logs(y, x, step)
    if near:
        recurrence = first
        for k in range(1, _RECURRENCE):
            u, s = step / (x + k), step / (2.0 * (x + k) + step)
            square = s * s
            recurrence += u * s - 2.0 * s * square * _atanh_rest(square)
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
        moderate = _is_moderate(a) and _is_moderate(b)
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
        moderate = (
            _is_moderate(a) and _is_moderate(b) and _is_moderate(beta) and _is_moderate(other)
        )
        if moderate:
            of_rates, _, _ = _two_logs(other, beta, other - beta)
            of_shapes, _, _ = _two_logs(b, a, b - a)
            _, _, rest = _exponential(of_rates - of_shapes)
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
            moderate = moderate and _is_moderate(a) and _is_moderate(b)
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
            _, _, share = _two_logs(a, r, gap - b * growth if near else a - r)
            value += r * share + _shape(a, b, gap)
        result[i] = value
    return whole
