"""The forward loops of the CPU kernels: a row is swept block by block, once where that is enough.

The forward pass guesses log Z_q − log Z_p from the first events, sums p·(expm1(d) − d) with
that guess in one sweep, and repairs the guess afterwards: with S = Σp and E = Σ(q − p)/S, the
divergence is Σp·(expm1(d) − d)/S − (E − log1p(E)), where the correction is quadratic in the
guess's error. Only where it would cost digits the row, by then in cache, is swept once more
with the exact normalisers that the first sweep found.

Each block is tried with vector code that holds while |d| is moderate, and redone with code that
minds zeros, infinities and NaN where it is not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from kullback.kernels.cpu_math import (
    SPAN,
    bounded_exp,
    cast,
    difference,
    event,
    exp,
    exp_to_zero,
    from_ordered,
    js_term,
    ordered,
    ratio_terms,
)

__all__ = ["BLOCK", "LOOP", "cached", "forward_rows", "split", "statistics_rows", "within"]

# Two blocks and a result stay in the first-level cache.
BLOCK = 1024
OVERFLOW = 1e30
# A correction of at most four times the result costs less than a digit of float32.
LARGEST_CORRECTION = 0.8

# Sums may be reordered, NaN and infinities must keep their meaning.
LOOP: dict[str, Any] = {
    "fastmath": {"contract", "nsz", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
}


def cached(loop: Callable[..., None]) -> Any:
    """The compiled loop, kept on disk under a name that changes with the kernels' source.

    Numba itself looks at the time stamp of the one file that holds the loop, so that it would go
    on serving code compiled from an older version of whatever the loop calls.
    """
    digest = hashlib.sha256()
    for name in ("cpu_math.py", "cpu_rows.py", "cpu_backward.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    loop.__qualname__ += f"-{digest.hexdigest()[:16]}"
    return njit(cache=True, **LOOP)(loop)


@njit(**LOOP)
def _plain_sums(a, b, shift, high, low):
    """Σp, Σ(q − p), Σ(q − p − p·d) of a block, and whether its |d| are all within SPAN."""
    zero, one, span = cast(0.0, shift), cast(1.0, shift), cast(SPAN, shift)
    total, change, excess, outside = zero, zero, zero, zero
    for i in range(a.size):
        x, y = cast(a[i], shift), cast(b[i], shift)
        d = difference(x, y, high, low)
        p = bounded_exp(x - shift)
        relative_change, relative_excess = ratio_terms(d)
        total += p
        change += p * relative_change
        excess += p * relative_excess
        outside += zero if abs(d) <= span else one
    return total, change, excess, outside == zero


@njit(**LOOP)
def _careful_sums(a, b, shift, high, low):
    """The sums of `_plain_sums` for a block with zeros, infinities or NaN in it."""
    total, change, excess = cast(0.0, shift), cast(0.0, shift), cast(0.0, shift)
    for i in range(a.size):
        p, difference_, term, _ = event(cast(a[i], shift), cast(b[i], shift), shift, high, low)
        total += p
        change += difference_
        excess += term
    return total, change, excess


@njit(**LOOP)
def split(shift, delta, like):
    """The shift, and delta in two parts, in the precision of `like`."""
    high = cast(delta, like)
    return cast(shift, like), high, cast(delta - np.float64(high), like)


@njit(**LOOP)
def _pair_sums(a, b, shift, delta, like):
    """Σp, Σ(q − p), Σ(q − p − p·d) of a row in float64, for p = exp(a − shift)."""
    near, high, low = split(shift, delta, like)
    total, change, excess = 0.0, 0.0, 0.0
    for start in range(0, a.size, BLOCK):
        x, y = a[start : start + BLOCK], b[start : start + BLOCK]
        t, c, e, inside = _plain_sums(x, y, near, high, low)
        if not inside:
            t, c, e = _careful_sums(x, y, near, high, low)
        total += np.float64(t)
        change += np.float64(c)
        excess += np.float64(e)
    return total, change, excess


@njit(**LOOP)
def _largest(a, like):
    """The largest entry of a block as an ordered integer; a NaN may be missed here."""
    best = ordered(cast(a[0], like))
    for i in range(a.size):
        best = max(best, ordered(cast(a[i], like)))
    return best


@njit(**LOOP)
def _exp_sum(a, shift):
    total = cast(0.0, shift)
    for i in range(a.size):
        total += exp(cast(a[i], shift) - shift)
    return total


@njit(**LOOP)
def _log_normalizer(a, like):
    """(m, log Σexp(a − m)) for the maximum m; NaN where there is no distribution."""
    floor = cast(-3e38, like)
    top, best, total = cast(-math.inf, like), ordered(cast(-math.inf, like)), 0.0
    for start in range(0, a.size, BLOCK):
        x = a[start : start + BLOCK]
        key = _largest(x, like)
        if key > best:
            previous, best, top = top, key, from_ordered(key)
            total *= math.exp(np.float64(previous) - np.float64(top))
        # A floor under the shift, for −inf − −inf would spoil the rows that begin with zeros.
        total += np.float64(_exp_sum(x, top if not top < floor else floor))
    return np.float64(top), math.log(total) if top != -math.inf else math.nan


@njit(**LOOP)
def _top(a, like):
    """The place of the largest entry, the first of equals."""
    best, start_of_best = _largest(a[:BLOCK], like), 0
    for start in range(BLOCK, a.size, BLOCK):
        key = _largest(a[start : start + BLOCK], like)
        if key > best:
            best, start_of_best = key, start
    for i in range(start_of_best, a.size):
        if ordered(cast(a[i], like)) == best:
            return i
    return 0


@njit(**LOOP)
def _kl_of_logits(a, b, like):
    """(kl, log Z_p, log Z_q) of one row, by the guess and repair told at the top."""
    m_p, l_p = _log_normalizer(a[:BLOCK], like)
    m_q, l_q = _log_normalizer(b[:BLOCK], like)
    # In this order rows that differ by a constant give that constant, and d = 0 exactly.
    delta = (m_q - m_p) + (l_q - l_p)
    good = False
    if math.isfinite(m_p + l_p) and math.isfinite(delta):
        shift = np.float64(cast(m_p + l_p, like))
        total, change, excess = _pair_sums(a, b, shift, delta, like)
        good = total < OVERFLOW and change < OVERFLOW and change > -0.9 * total
        if good:
            log_z_p, step = shift + math.log(total), math.log1p(change / total)
            delta += step
            correction = change / total - step
            if correction <= LARGEST_CORRECTION * (excess / total):
                return excess / total - correction, log_z_p, log_z_p + delta
    if not good:
        m_p, l_p = _log_normalizer(a, like)
        m_q, l_q = _log_normalizer(b, like)
        log_z_p, delta = m_p + l_p, (m_q - m_p) + (l_q - l_p)
    shift = np.float64(cast(log_z_p, like))
    total, change, excess = _pair_sums(a, b, shift, delta, like)
    # What is left of the guess's error is below rounding once squared, but not in log Z.
    log_z_p = shift + math.log(total)
    return excess / total, log_z_p, log_z_p + delta + math.log1p(change / total)


@cached
def forward_rows(p, p_stride, q, q_stride, events, first, last, normalized, kl, log_z):
    like = kl[0]
    for row in range(first, last):
        a = p[row * p_stride : row * p_stride + events]
        b = q[row * q_stride : row * q_stride + events]
        if normalized:
            total, change, excess = _pair_sums(a, b, 0.0, 0.0, like)
            # No probability at all on one side: −inf throughout.
            value = excess if total > 0.0 and total + change > 0.0 else math.nan
            log_z_p, log_z_q = 0.0, 0.0
        else:
            value, log_z_p, log_z_q = _kl_of_logits(a, b, like)
        kl[row] = value
        log_z[0, row], log_z[1, row] = log_z_p, log_z_q


@njit(**LOOP)
def within(a, b, shift, high, low):
    """Whether |d| ≤ SPAN throughout a block, which also rules out infinities and NaN."""
    zero, one, span = cast(0.0, shift), cast(1.0, shift), cast(SPAN, shift)
    outside = zero
    for i in range(a.size):
        d = difference(cast(a[i], shift), cast(b[i], shift), high, low)
        outside += zero if abs(d) <= span else one
    return outside == zero


@njit(**LOOP)
def _statistic_sums(a, b, shift, high, low, sums):
    """Adds a block to (Σp, Σ(q − p), reverse KL, JS, Σ|q − p|)."""
    zero = cast(0.0, shift)
    total, change, reverse, js, distance = zero, zero, zero, zero, zero
    if within(a, b, shift, high, low):
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            d, p = difference(x, y, high, low), bounded_exp(x - shift)
            relative_change, relative_excess = ratio_terms(d)
            step, excess = p * relative_change, p * relative_excess
            q = p + step
            total += p
            change += step
            reverse += d * step - excess
            js += js_term(p, q, d)
            distance += abs(step)
    else:
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            p, step, excess, d = event(x, y, shift, high, low)
            q = p + step
            total += p
            change += step
            if abs(d) <= cast(SPAN, d):
                reverse += d * step - excess
            else:
                reverse += (q * d if q > zero else zero) - step
            js += js_term(p, q, d)
            distance += abs(step)
    for k, value in enumerate((total, change, reverse, js, distance)):
        sums[k] += np.float64(value)


@njit(**LOOP)
def _entropy(a, top, like):
    """log Σp − Σp log p / Σp for p = exp(a − top), the largest counted apart from the rest:
    a row that is all but certain keeps the digits of what is left."""
    zero, one = cast(0.0, like), cast(1.0, like)
    largest, rest, weighted = 0.0, 0.0, 0.0
    for start in range(0, a.size, BLOCK):
        x = a[start : start + BLOCK]
        at_top, below, below_weighted = zero, zero, zero
        for i in range(x.size):
            log_p = cast(x[i], like) - top
            p = exp_to_zero(log_p)
            at_top += one if log_p == zero else zero
            below += p if log_p != zero else zero
            below_weighted += p * log_p if p > zero else p
        largest += np.float64(at_top)
        rest += np.float64(below)
        weighted += np.float64(below_weighted)
    total = largest + rest
    return math.log(largest) + math.log1p(rest / largest) - weighted / total


@cached
def statistics_rows(p, p_stride, q, q_stride, events, first, last, target, values, tops):
    like = values[0, 0]
    sums = np.empty(5)
    for row in range(first, last):
        a = p[row * p_stride : row * p_stride + events]
        b = q[row * q_stride : row * q_stride + events]
        values[0, row], log_z_p, log_z_q = _kl_of_logits(a, b, like)
        shift, high, low = split(log_z_p, log_z_q - log_z_p, like)
        sums[:] = 0.0
        for start in range(0, events, BLOCK):
            x, y = a[start : start + BLOCK], b[start : start + BLOCK]
            _statistic_sums(x, y, shift, high, low, sums)
        # Rounding the shift scales p and q alike: divide it out.
        total_p = sums[0]
        values[1, row] = sums[2] / total_p
        values[2, row] = sums[3] / total_p
        values[3, row] = 0.5 * sums[4] / total_p
        event_ = target[row] if target.size > 0 else -1
        values[6, row] = math.nan if event_ < 0 else np.float64(cast(a[event_], like)) - log_z_p
        values[7, row] = math.nan if event_ < 0 else np.float64(cast(b[event_], like)) - log_z_q
        tops[0, row], tops[1, row] = _top(a, like), _top(b, like)
        values[4, row] = _entropy(a, cast(a[tops[0, row]], like), like)
        values[5, row] = _entropy(b, cast(b[tops[1, row]], like), like)
        values[8, row] = math.exp(np.float64(cast(a[tops[0, row]], like)) - log_z_p)
        values[9, row] = math.exp(np.float64(cast(b[tops[1, row]], like)) - log_z_q)
