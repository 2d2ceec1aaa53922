"""The Triton programs behind `cuda.py`: one a row, in two passes over it.

The first pass finds both log-normalisers, the second sums or writes the terms. Near equality
every term is a series in d = log q − log p, so that nothing is subtracted that nearly cancels;
the series are written out because Triton's interpreter has no device library to call.
"""

# Triton's dialect borrows Python's syntax, not its types.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["backward_kernel", "forward_kernel", "statistics_kernel"]

INF = tl.constexpr(float("inf"))
LOG_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def read(row_ptr, columns, events, REAL: tl.constexpr):
    """A block of one row, widened; what lies past the end has no mass."""
    return tl.load(row_ptr + columns, mask=columns < events, other=-INF).to(REAL)


@triton.jit
def log_sum_exp(row_ptr, events, REAL: tl.constexpr, BLOCK: tl.constexpr):
    """(m, l), the row's maximum and Σ exp(x − m) in logs; l is NaN where the row is unfit.

    They stay apart so that a constant added to a row is a constant added to m and nothing else.
    Every lane carries its own maximum and sum, which meet once, in float64, at the end.
    """
    # The lowest finite number in place of −inf, so that no difference below is ∞ − ∞ by itself.
    lowest: tl.constexpr = -1.7976931348623157e308 if REAL.is_fp64() else -3.4028234663852886e38
    maximum = tl.full((BLOCK,), lowest, REAL)
    total = tl.zeros((BLOCK,), REAL)
    for start in range(0, events, BLOCK):
        x = read(row_ptr, start + tl.arange(0, BLOCK), events, REAL)
        # One exponential rescales whichever of the old sum and the new entry is the smaller.
        scale = tl.exp(-tl.abs(x - maximum))
        total = tl.where(x > maximum, total * scale + 1.0, total + scale)
        maximum = tl.maximum(maximum, x)
    top = tl.max(maximum, axis=0)
    total = tl.sum((total * tl.exp(maximum - top)).to(tl.float64), axis=0)
    # A row of −inf only has the sum 0; NaN, and +inf through ∞ − ∞, have made it NaN already.
    fit = total > 0
    return top.to(tl.float64), tl.where(fit, tl.log(tl.where(fit, total, 1.0)), float("nan"))


@triton.jit
def fold(terms, BLOCK: tl.constexpr):
    """Four neighbours, which one thread holds, as one float64 summand."""
    return tl.sum(tl.reshape(terms, (BLOCK // 4, 4)), axis=1).to(tl.float64)


@triton.jit
def split(x, REAL: tl.constexpr):
    """A float64 number as the sum of two of the working dtype."""
    high = x.to(REAL)
    return high, (x - high.to(tl.float64)).to(REAL)


@triton.jit
def log_ratio(a, b, high, low):
    """d = log q − log p from both sides' logits and the difference of their normalisers."""
    gap = b - a
    # What rounding took from b − a (Knuth's two-sum): a constant between the rows leaves no trace.
    back = gap - b
    lost = (b - (gap - back)) - (a + back)
    lost = tl.where(tl.abs(gap) < INF, lost, 0.0)
    # With −inf on both sides p = q = 0, and any finite d makes every term zero.
    return tl.where((a == -INF) & (b == -INF), 0.0, (gap - high) + (lost - low))


@triton.jit
def series(d, TERMS: tl.constexpr):
    """expm1(d) − d for |d| ≤ 1, as d²/2·(1 + d/3·(1 + d/4·(…))); 0 elsewhere."""
    d = tl.where(tl.abs(d) <= 1.0, d, 0.0)
    nested = d * 0.0 + 1.0
    for k in tl.static_range(TERMS, 2, -1):
        nested = 1.0 + nested * d * (1.0 / k)
    return 0.5 * d * d * nested


@triton.jit
def mass_difference(p, q, d, phi):
    """q − p, where `phi` is `series(d)`."""
    return tl.where(tl.abs(d) <= 1.0, p * (d + phi), q - p)


@triton.jit
def kl_terms(p, q, d, phi):
    """q − p − p·d ≥ 0, which is q at p = 0 and +inf at q = 0 < p."""
    far = tl.where(p == 0, q, q - p * (1.0 + d))
    return tl.where(tl.abs(d) <= 1.0, p * phi, far)


@triton.jit
def reverse_kl_terms(p, q, d, phi):
    """p − q + q·d ≥ 0; near equality p·(d·expm1(d) − phi), whose parts are about 2 : 1."""
    far = tl.where(q == 0, p, p + q * (d - 1.0))
    return tl.where(tl.abs(d) <= 1.0, p * (d * (d + phi) - phi), far)


@triton.jit
def js_terms(p, q, d, phi, TERMS: tl.constexpr):
    """½p·log(p/m) + ½q·log(q/m) ≥ 0 with m = (p + q)/2, that is m·(h·tanh h − log cosh h), h = d/2.

    Near equality m·Σ t²ᵏ/(2k(2k−1)) with t = tanh h, all of one sign; far from it in terms of
    the larger of p and q and of the ratio of the smaller to it.
    """
    near = tl.abs(d) <= 1.0
    excess = tl.where(near, d, 0.0) + phi
    t = excess / (excess + 2.0)
    square = t * t
    nested = square * 0.0
    for k in tl.static_range(TERMS, 0, -1):
        nested = square * (nested + 1.0 / (2 * k * (2 * k - 1)))
    larger = tl.where(d > 0, q, p)
    distance = tl.abs(d)
    ratio = tl.exp(-distance)
    far = (1.0 + ratio) * (LOG_2 - tl.log(1.0 + ratio))
    far = far - tl.where(ratio == 0, 0.0, ratio * distance)
    return tl.where(near, p * (1.0 + 0.5 * excess) * nested, 0.5 * larger * far)


@triton.jit
def forward_kernel(
    p_ptr, q_ptr, stride_p, stride_q, events, kl_ptr, normalizer_p_ptr, normalizer_q_ptr,
    NORMALIZED: tl.constexpr, TERMS: tl.constexpr, REAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # Row offsets pass 2³¹ long before memory runs out.
    row = tl.program_id(0).to(tl.int64)
    p_ptr += row * stride_p
    q_ptr += row * stride_q
    if NORMALIZED:
        high_p, low_p, high_q, low_q, high, low = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    else:
        top_p, rest_p = log_sum_exp(p_ptr, events, REAL, BLOCK)
        top_q, rest_q = log_sum_exp(q_ptr, events, REAL, BLOCK)
        tl.store(normalizer_p_ptr + row, top_p + rest_p)
        tl.store(normalizer_q_ptr + row, top_q + rest_q)
        high_p, low_p = split(top_p + rest_p, REAL)
        high_q, low_q = split(top_q + rest_q, REAL)
        high, low = split((top_q - top_p) + (rest_q - rest_p), REAL)
    total = tl.zeros((BLOCK // 4,), tl.float64)
    maximum_p = tl.full((BLOCK,), -INF, REAL)
    maximum_q = tl.full((BLOCK,), -INF, REAL)
    for start in range(0, events, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        a = read(p_ptr, columns, events, REAL)
        b = read(q_ptr, columns, events, REAL)
        d = log_ratio(a, b, high, low)
        terms = kl_terms(
            tl.exp((a - high_p) - low_p), tl.exp((b - high_q) - low_q), d, series(d, TERMS)
        )
        total += fold(terms, BLOCK)
        if NORMALIZED:
            maximum_p = tl.maximum(maximum_p, a)
            maximum_q = tl.maximum(maximum_q, b)
    kl = tl.sum(total, axis=0)
    if NORMALIZED:
        # Logits that are no distribution have NaN for a normaliser; here +inf could pass for mass.
        top_p = tl.max(maximum_p, axis=0)
        top_q = tl.max(maximum_q, axis=0)
        fit = (top_p > -INF) & (top_p < INF) & (top_q > -INF) & (top_q < INF)
        kl = tl.where(fit, kl, float("nan"))
    tl.store(kl_ptr + row, kl.to(REAL))


@triton.jit
def backward_kernel(
    p_ptr, q_ptr, stride_p, stride_q, events, weight_ptr, kl_ptr, normalizer_p_ptr,
    normalizer_q_ptr, grad_p_ptr, grad_q_ptr, stride_grad_p, stride_grad_q,
    NORMALIZED: tl.constexpr, TERMS: tl.constexpr, REAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    weight = tl.load(weight_ptr + row).to(REAL)
    # Without normalisers to move, the gradient in log p has no part that the whole row shares.
    kl = tl.zeros((), REAL) if NORMALIZED else tl.load(kl_ptr + row).to(REAL)
    normalizer_p = tl.load(normalizer_p_ptr + row)
    normalizer_q = tl.load(normalizer_q_ptr + row)
    high_p, low_p = split(normalizer_p, REAL)
    high_q, low_q = split(normalizer_q, REAL)
    high, low = split(normalizer_q - normalizer_p, REAL)
    for start in range(0, events, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        a = read(p_ptr + row * stride_p, columns, events, REAL)
        b = read(q_ptr + row * stride_q, columns, events, REAL)
        d = log_ratio(a, b, high, low)
        p = tl.exp((a - high_p) - low_p)
        if grad_p_ptr is not None:
            grad = -weight * p * (d + kl)
            grad = tl.where(d == -INF, weight * INF, grad)
            grad = tl.where(p == 0, 0.0, grad)
            grad = tl.where(weight == 0, 0.0, grad)
            target = grad_p_ptr + row * stride_grad_p + columns
            tl.store(target, grad.to(grad_p_ptr.dtype.element_ty), mask=columns < events)
        if grad_q_ptr is not None:
            q = tl.exp((b - high_q) - low_q)
            grad = weight * mass_difference(p, q, d, series(d, TERMS))
            grad = tl.where(weight == 0, 0.0, grad)
            target = grad_q_ptr + row * stride_grad_q + columns
            tl.store(target, grad.to(grad_q_ptr.dtype.element_ty), mask=columns < events)


@triton.jit
def statistics_kernel(
    p_ptr, q_ptr, stride_p, stride_q, events, target_ptr, values_ptr, tops_ptr, rows,
    JS_TERMS: tl.constexpr, TERMS: tl.constexpr, REAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    p_ptr += row * stride_p
    q_ptr += row * stride_q
    top_p, rest_p = log_sum_exp(p_ptr, events, REAL, BLOCK)
    top_q, rest_q = log_sum_exp(q_ptr, events, REAL, BLOCK)
    high_p, low_p = split(top_p + rest_p, REAL)
    high_q, low_q = split(top_q + rest_q, REAL)
    high, low = split((top_q - top_p) + (rest_q - rest_p), REAL)
    zeros = tl.zeros((BLOCK // 4,), tl.float64)
    kl, reverse_kl, js, variation, entropy_p, entropy_q = zeros, zeros, zeros, zeros, zeros, zeros
    first_p = tl.zeros((BLOCK,), tl.int32) + events
    first_q = tl.zeros((BLOCK,), tl.int32) + events
    for start in range(0, events, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        a = read(p_ptr, columns, events, REAL)
        b = read(q_ptr, columns, events, REAL)
        first_p = tl.minimum(first_p, tl.where(a == top_p.to(REAL), columns, events))
        first_q = tl.minimum(first_q, tl.where(b == top_q.to(REAL), columns, events))
        log_p = (a - high_p) - low_p
        log_q = (b - high_q) - low_q
        p = tl.exp(log_p)
        q = tl.exp(log_q)
        d = log_ratio(a, b, high, low)
        phi = series(d, TERMS)
        kl += fold(kl_terms(p, q, d, phi), BLOCK)
        reverse_kl += fold(reverse_kl_terms(p, q, d, phi), BLOCK)
        js += fold(js_terms(p, q, d, phi, JS_TERMS), BLOCK)
        variation += fold(tl.abs(mass_difference(p, q, d, phi)), BLOCK)
        entropy_p -= fold(tl.where(p == 0, 0.0, p * log_p), BLOCK)
        entropy_q -= fold(tl.where(q == 0, 0.0, q * log_q), BLOCK)
    values_ptr += row
    tl.store(values_ptr, tl.sum(kl, axis=0))
    tl.store(values_ptr + rows, tl.sum(reverse_kl, axis=0))
    tl.store(values_ptr + 2 * rows, tl.sum(js, axis=0))
    tl.store(values_ptr + 3 * rows, 0.5 * tl.sum(variation, axis=0))
    values_ptr += 4 * rows
    tops_ptr += row
    _store_side(p_ptr, target_ptr, row, top_p, rest_p, entropy_p, first_p, values_ptr, tops_ptr,
                rows, events)  # fmt: skip
    _store_side(q_ptr, target_ptr, row, top_q, rest_q, entropy_q, first_q, values_ptr + rows,
                tops_ptr + rows, rows, events)  # fmt: skip


@triton.jit
def _store_side(
    row_ptr, target_ptr, row, top, rest, entropy, first, values_ptr, tops_ptr, rows, events
):
    """What is said of one side alone; P's and Q's numbers alternate in `values_ptr`."""
    tl.store(values_ptr, tl.sum(entropy, axis=0))
    log_prob = float("nan")
    if target_ptr is not None:
        target = tl.load(target_ptr + row)
        log_prob = (tl.load(row_ptr + target).to(tl.float64) - top) - rest
    tl.store(values_ptr + 2 * rows, log_prob)
    tl.store(values_ptr + 4 * rows, tl.exp(-rest))
    # A row without a maximum has NaN for values; its index still points into the row.
    index = tl.min(first, axis=0)
    tl.store(tops_ptr, tl.where(index < events, index, 0))
