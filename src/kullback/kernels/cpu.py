"""Row kernels for the CPU, in Numba: each matrix is read once, and nothing of its size is made.

The forward pass guesses log Z_q − log Z_p from the first events, sums p·(expm1(d) − d) with
that guess in one sweep, and repairs the guess afterwards: with S = Σp, E = Σ(q − p)/S, the
divergence is Σp·(expm1(d) − d)/S − (E − log1p(E)), the correction being quadratic in the
guess's error. Only where the correction would cost digits the row, then in cache, is swept once
more with the exact normalisers that the first sweep found.

Rows are spread over `torch.get_num_threads()` plain threads, for these kernels run without the
interpreter lock: Numba's own threading layers are unsafe after a fork or with several callers.
Numba's disk cache looks at the time stamp of the file a kernel is in and not at what it calls:
touch this file after editing `cpu_math.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from kullback.kernels import RowDivergence, RowStatistics
from kullback.kernels.cpu_math import (
    SPAN,
    bounded_exp,
    cast,
    difference,
    event,
    exp,
    from_ordered,
    js_term,
    narrow,
    ordered,
    ratio_terms,
)

__all__ = ["kl_backward", "kl_forward", "row_statistics"]

# Two blocks and a result stay in the first-level cache.
BLOCK = 1024
# Rows are handed out in portions of about this many events: 0.1 to 1 ms of work.
PORTION = 1 << 19
OVERFLOW = 1e30
# A correction of at most four times the result costs less than a digit of float32.
LARGEST_CORRECTION = 0.8

# Sums may be reordered, NaN and infinities must keep their meaning.
LOOP: dict[str, Any] = {
    "fastmath": {"contract", "nsz", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
    "cache": True,
}


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
def _split(shift, delta, like):
    """The shift, and delta in two parts, in the precision of `like`."""
    high = cast(delta, like)
    return cast(shift, like), high, cast(delta - np.float64(high), like)


@njit(**LOOP)
def _pair_sums(a, b, shift, delta, like):
    """Σp, Σ(q − p), Σ(q − p − p·d) of a row in float64, for p = exp(a − shift)."""
    near, high, low = _split(shift, delta, like)
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
    total, change, excess = _pair_sums(a, b, log_z_p, delta, like)
    return excess / total, log_z_p, log_z_p + delta


@njit(**LOOP)
def _forward_rows(p, p_stride, q, q_stride, events, first, last, normalized, kl, log_z):
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
def _within(a, b, shift, high, low):
    """Whether |d| ≤ SPAN throughout a block, which also rules out infinities and NaN."""
    zero, one, span = cast(0.0, shift), cast(1.0, shift), cast(SPAN, shift)
    outside = zero
    for i in range(a.size):
        d = difference(cast(a[i], shift), cast(b[i], shift), high, low)
        outside += zero if abs(d) <= span else one
    return outside == zero


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


@njit(**LOOP)
def _backward_rows(
    p, p_stride, q, q_stride, events, first, last, normalized, kl, log_z_p, log_z_q, weight,
    needs_p, grad_p, needs_q, grad_q, grad_q_stride,
):  # fmt: skip
    # Through a buffer, so that grad_q may lie where q is, and q where p is.
    result = np.empty(BLOCK, dtype=kl.dtype)
    for row in range(first, last):
        shift, high, low = _split(log_z_p[row], log_z_q[row] - log_z_p[row], kl[0])
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
            plain = w != 0.0 and offset < math.inf and _within(a, b, shift, high, low)
            if needs_p:
                if w != 0.0:
                    _gradient_p(a, b, shift, high, low, w, offset, plain, result)
                _store(result, target_p)
            if needs_q:
                if w != 0.0:
                    _gradient_q(a, b, shift, high, low, w, plain, result)
                _store(result, grad_q[at_q : at_q + size])


@njit(**LOOP)
def _statistic_sums(a, b, shift, high, low, sums):
    """Adds a block to (Σp, Σ(q − p), reverse KL, JS, Σ|q − p|, Σp log p, Σq log q)."""
    zero = cast(0.0, shift)
    total, change, reverse = zero, zero, zero
    js, distance, p_log_p, q_log_q = zero, zero, zero, zero
    if _within(a, b, shift, high, low):
        for i in range(a.size):
            x, y = cast(a[i], shift), cast(b[i], shift)
            d, log_p = difference(x, y, high, low), x - shift
            p = bounded_exp(log_p)
            relative_change, relative_excess = ratio_terms(d)
            step, excess = p * relative_change, p * relative_excess
            q = p + step
            total += p
            change += step
            reverse += d * step - excess
            js += js_term(p, q, d)
            distance += abs(step)
            p_log_p += p * log_p
            q_log_q += q * (log_p + d)
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
            p_log_p += p * (x - shift) if p > zero else p
            q_log_q += q * (((y - shift) - high) - low) if q > zero else q
    for k, value in enumerate((total, change, reverse, js, distance, p_log_p, q_log_q)):
        sums[k] += np.float64(value)


@njit(**LOOP)
def _statistics_rows(p, p_stride, q, q_stride, events, first, last, target, values, tops):
    like = values[0, 0]
    sums = np.empty(7)
    for row in range(first, last):
        a = p[row * p_stride : row * p_stride + events]
        b = q[row * q_stride : row * q_stride + events]
        values[0, row], log_z_p, log_z_q = _kl_of_logits(a, b, like)
        shift, high, low = _split(log_z_p, log_z_q - log_z_p, like)
        sums[:] = 0.0
        for start in range(0, events, BLOCK):
            x, y = a[start : start + BLOCK], b[start : start + BLOCK]
            _statistic_sums(x, y, shift, high, low, sums)
        # Rounding the shift scales p and q alike: divide it out.
        total_p, total_q = sums[0], sums[0] + sums[1]
        values[1, row] = sums[2] / total_p
        values[2, row] = sums[3] / total_p
        values[3, row] = 0.5 * sums[4] / total_p
        values[4, row] = math.log(total_p) - sums[5] / total_p
        values[5, row] = math.log(total_q) - sums[6] / total_q
        event_ = target[row] if target.size > 0 else -1
        values[6, row] = math.nan if event_ < 0 else np.float64(cast(a[event_], like)) - log_z_p
        values[7, row] = math.nan if event_ < 0 else np.float64(cast(b[event_], like)) - log_z_q
        tops[0, row], tops[1, row] = _top(a, like), _top(b, like)
        values[8, row] = math.exp(np.float64(cast(a[tops[0, row]], like)) - log_z_p)
        values[9, row] = math.exp(np.float64(cast(b[tops[1, row]], like)) - log_z_q)


def kl_forward(p: Tensor, q: Tensor, *, normalized: bool) -> RowDivergence:
    """KL(p‖q) of each row in nats, with the log-normalisers (zeros for log-probabilities)."""
    rows, events = p.shape
    kl = np.empty(rows, dtype=_work_dtype(p, q))
    log_z = np.empty((2, rows))
    inputs = (*_flat(p), *_flat(q), events)

    def portion(first: int, last: int) -> None:
        _forward_rows(*inputs, first, last, normalized, kl, log_z)

    _over_rows(portion, rows, events)
    return RowDivergence(*map(torch.from_numpy, (kl, log_z[0], log_z[1])))


def kl_backward(
    p: Tensor,
    q: Tensor,
    saved: RowDivergence,
    weight: Tensor,
    *,
    normalized: bool,
    needs: tuple[bool, bool],
    out_q: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of Σ weight·KL(p‖q) with respect to the rows of p and of q, where `needs` says.

    `out_q` receives q's gradient; it may be q itself, which is read before it is written.
    """
    rows, events = p.shape
    dtype = _work_dtype(p, q)
    kl, log_z_p, log_z_q, w = (
        x.detach().contiguous().numpy().astype(kind, copy=False)
        for x, kind in zip((*saved, weight), (dtype, np.float64, np.float64, dtype), strict=True)
    )
    grad_p = _empty_like(p) if needs[0] else None
    grad_q = (_empty_like(q) if out_q is None else out_q) if needs[1] else None
    flat_p, _ = _flat(p[:0] if grad_p is None else grad_p)
    flat_q, stride_q = _flat(q[:0] if grad_q is None else grad_q)
    inputs = (*_flat(p), *_flat(q), events)

    def portion(first: int, last: int) -> None:
        _backward_rows(
            *(*inputs, first, last, normalized, kl, log_z_p, log_z_q, w),
            *(needs[0], flat_p, needs[1], flat_q, stride_q),
        )

    _over_rows(portion, rows, events)
    return grad_p, grad_q


def row_statistics(p: Tensor, q: Tensor, target: Tensor | None) -> RowStatistics:
    """Everything `RowStatistics` names for rows of logits; no target gives NaN log_probs."""
    rows, events = p.shape
    values = np.empty((10, rows), dtype=_work_dtype(p, q))
    tops = np.zeros((2, rows), dtype=np.int64)
    targets = np.empty(0, np.int64) if target is None else target.contiguous().numpy()
    inputs = (*_flat(p), *_flat(q), events)

    def portion(first: int, last: int) -> None:
        _statistics_rows(*inputs, first, last, targets, values, tops)

    _over_rows(portion, rows, events)
    numbers, places = map(torch.from_numpy, (values, tops))
    return RowStatistics(*numbers[:8], *places, *numbers[8:])


def _work_dtype(p: Tensor, q: Tensor) -> type[np.floating[Any]]:
    return np.float64 if torch.float64 in (p.dtype, q.dtype) else np.float32


def _flat(x: Tensor) -> tuple[np.ndarray, int]:
    """The memory that the rows of x span, as one contiguous array, and the step between rows."""
    rows, events = x.shape
    step = x.stride(0)
    span = (rows - 1) * step + events if rows else 0
    flat = x.detach().as_strided((span,), (1,))
    if x.dtype == torch.bfloat16:
        return flat.view(torch.int16).numpy(), step
    if x.dtype == torch.float16:
        return flat.view(torch.int16).numpy().view(np.uint16), step
    return flat.numpy(), step


def _empty_like(x: Tensor) -> Tensor:
    """A contiguous tensor for a gradient, of memory that NumPy asked for.

    NumPy requests huge pages for large arrays and torch does not (unless THP_MEM_ALLOC_ENABLE=1
    is set): with small ones the page faults take several times as long as the arithmetic.
    """
    memory = torch.from_numpy(np.empty(x.numel() * x.element_size(), np.uint8))
    return memory.view(x.dtype).view(x.shape)


def _over_rows(portion: Callable[[int, int], None], rows: int, events: int) -> None:
    """Calls `portion(first, last)` until all rows are done, on torch's number of threads."""
    step = max(1, PORTION // events)
    threads = min(torch.get_num_threads(), -(-rows // step))
    if threads == 1:
        return portion(0, rows)
    starts = iter(range(0, rows, step))

    def work() -> None:
        # next() on a shared range iterator hands every start to one thread only.
        for first in starts:
            portion(first, min(first + step, rows))

    with ThreadPoolExecutor(threads - 1) as pool:
        helpers = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            helper.result()
