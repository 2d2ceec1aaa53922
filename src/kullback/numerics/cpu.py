"""Loops for the functions that closed forms are made of: each element once, nothing in between.

As torch operations the care for nearly equal arguments takes dozens of passes over the memory.
Here it is in the functions of one element that `cpu_elements` has.

An element beyond the moderate numbers is NaN in the result, for the caller to see to; every loop
says whether there was none. What has no branch is turned into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kullback.numerics.cpu_elements import (
    INLINE,
    LARGEST,
    SMALLEST,
    cached,
    exponential,
    is_moderate,
    two_logs,
)
from kullback.numerics.cpu_gammas import gamma, log_beta_bregman, shape_divergence

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


@cached
def itakura_saito(result, y, x):
    """y/x − log(y/x) − 1."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(y[i]), np.float64(x[i])
        moderate = is_moderate(a) & is_moderate(b)
        _, value, _ = two_logs(a, b, a - b)
        result[i] = value if moderate else math.nan
        whole &= moderate
    return whole


@cached
def poisson(result, y, x):
    """y log(y/x) − y + x."""
    whole = True
    for i in range(result.size):
        a, b = np.float64(y[i]), np.float64(x[i])
        moderate = is_moderate(a) & is_moderate(b)
        _, _, value = two_logs(a, b, a - b)
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
        moderate = is_moderate(b) & is_moderate(c) & (d < LARGEST)
        _, scales, _ = two_logs(b, c, b - c)
        _, _, rest = exponential(-min(d, 600.0))
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
        _, change, rest = exponential(v if moderate else 0.0)
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
        ratio, change, rest = exponential(d)
        precision, _, _ = exponential(-w)
        pull = gap * precision
        result[i] = 0.5 * (rest + change * lost + gap * pull) if moderate else math.nan
        if sloped:
            of_variance = 0.5 * (change + ratio * lost)
            slopes[0, i] = pull
            slopes[1, i] = of_variance
            slopes[2, i] = -(of_variance + 0.5 * gap * pull)
        whole &= moderate
    return whole


@njit(**INLINE)
def _trial(p, q):
    """KL of one trial from its two probabilities, each within (0, 1)."""
    step = p - q
    rest_p, rest_q = 1.0 - p, 1.0 - q
    _, _, success = two_logs(p, q, step)
    _, _, failure = two_logs(rest_p, rest_q, -step)
    return q * success + rest_q * failure


@njit(**INLINE)
def _is_inside(p):
    return (p > SMALLEST) & (p < 1.0)


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
        odds, _, _ = exponential(-abs(a))
        p = odds / (1.0 + odds)
        _, change, rest = exponential(d)
        w = p * change
        log, remainder, _ = two_logs(1.0 + w, 1.0, w)
        value = p * rest - remainder if abs(d) < 0.35 else log - p * d
        result[i] = value if moderate else math.nan
        whole &= moderate
    return whole
