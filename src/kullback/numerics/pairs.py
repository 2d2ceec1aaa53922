"""Every rule for zeros, infinities and nearly equal inputs, stated once, in torch.

A pair of distributions over a finite alphabet is held as probabilities, log-probabilities and
the log-ratio d = log q − log p (`Pair`). The log-ratio is built from the inputs themselves, not
as a difference of two rounded log-probabilities, and every divergence is a sum of terms that
cannot be negative, built from two primitives:

| primitive | meaning | near x = 0 | elsewhere |
| --- | --- | --- | --- |
| `excess(p, w, x)` | w − p, where w = p·eˣ | p·expm1(x) | w − p |
| `exp_remainder(p, w, x)` | w − p − p·x ≥ 0 | p·(eˣ − 1 − x) by its series | w − p − p·x |

Conventions at the edges: 0·log 0 = 0; d = 0 where both sides are 0; d = ±inf where one is.
Arguments are masked *before* a function is applied, so that derivatives stay finite too.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kullback.numerics.elementary import lost_in_difference

__all__ = [
    "Pair",
    "Space",
    "accumulation_dtype",
    "compute_dtype",
    "excess",
    "exp_remainder",
    "expm1",
    "log_normalizer",
    "log_power_mean",
    "log_ratio",
    "make_pair",
    "probabilities",
    "safe_root",
    "times",
    "total",
]

Space = Literal["probs", "log_probs", "logits"]

# Up to here the series of eˣ − 1 − x is used; beyond, the plain difference has lost at most
# a factor |x| / (eˣ − 1 − x) ≈ 5 of the relative precision.
_SERIES_RADIUS = 0.35


class Pair(NamedTuple):
    """Two distributions over the same events, and d = log q − log p; equal shapes."""

    p: Tensor
    q: Tensor
    log_p: Tensor
    log_q: Tensor
    d: Tensor

    def swapped(self) -> Pair:
        """The same pair read the other way round."""
        return Pair(self.q, self.p, self.log_q, self.log_p, -self.d)


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 when any side is float64, else float32: half precision is widened, not kept."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32


def accumulation_dtype(tensor: Tensor) -> torch.dtype:
    """float64, save on devices that have none (Apple's MPS), where it is float32."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def total(terms: Tensor) -> Tensor:
    """The sum over the last dimension, accumulated wide, in the dtype of `terms`."""
    return terms.sum(-1, dtype=accumulation_dtype(terms)).to(terms.dtype)


def times(weight: Tensor, value: Tensor) -> Tensor:
    """weight · value with 0 · anything = 0, in value and in gradient."""
    nothing = weight == 0
    return torch.where(nothing, 0.0, weight * torch.where(nothing, 0.0, value))


def safe_root(x: Tensor, order: float = 2.0) -> Tensor:
    """x^(1/order) with gradient 0 at x = 0, where the true one is infinite."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x) ** (1 / order))


def probabilities(x: Tensor, space: Space) -> Tensor:
    """The probabilities of `x`, events last, in the dtype of `x`."""
    if space == "probs":
        return x
    return x.exp() if space == "log_probs" else torch.softmax(x, -1)


def excess(p: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """w − p for w = p·eˣ, to full relative precision also where x is near 0."""
    near = x.abs() < _SERIES_RADIUS
    return torch.where(near, p * expm1(torch.where(near, x, 0.0)), w - p)


def expm1(x: Tensor) -> Tensor:
    """eˣ − 1 to full relative precision, also in compiled code, where torch's own loses it."""
    near = x.abs() < _SERIES_RADIUS
    small = torch.where(near, x, 0.0)
    return torch.where(near, small + small * small * _remainder_series(small), x.exp() - 1)


def exp_remainder(p: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """w − p − p·x ≥ 0 for w = p·eˣ: what eˣ has beyond its tangent, weighted by p.

    | where | value |
    | --- | --- |
    | |x| < 0.35 | p·x²·(1/2! + x/3! + x²/4! + …) |
    | p = 0 | w |
    | elsewhere | w − p − p·x |
    """
    near = x.abs() < _SERIES_RADIUS
    small = torch.where(near, x, 0.0)
    empty = p == 0
    # p = 0 comes with x = +inf: 0·inf is avoided by giving that event a ratio of 0.
    far = w - p - p * torch.where(near | empty, 0.0, x)
    return torch.where(near & ~empty, p * (small * small * _remainder_series(small)), far)


def _remainder_series(x: Tensor) -> Tensor:
    """(eˣ − 1 − x)/x² for |x| < 0.35: Taylor's series to the last bit of the dtype."""
    terms = 14 if x.dtype == torch.float64 else 8
    series = torch.full_like(x, 1.0)
    for n in range(terms, 2, -1):
        series = 1.0 + x / n * series
    return 0.5 * series


def log_normalizer(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log Σ exp(logits) over the last dimension in two parts (max, log of the shifted sum).

    Kept apart because two rows that differ by a constant have the same second part, bit for
    bit, so that the constant leaves their log-ratio exactly.
    """
    top = logits.detach().amax(-1, keepdim=True)
    shift = torch.where(top == -torch.inf, 0.0, top)
    summed = (logits - shift).exp().sum(-1, keepdim=True, dtype=accumulation_dtype(logits))
    # A row of −inf only is no distribution: NaN, which the public door turns into an error.
    return top, torch.where(top == -torch.inf, torch.nan, summed).log()


def make_pair(p: Tensor, q: Tensor, space_p: Space, space_q: Space) -> Pair:
    """The `Pair` of two inputs of equal shape, each in its own space, events last."""
    dtype = compute_dtype(p, q)
    p, q = p.to(dtype), q.to(dtype)
    if space_p == space_q == "probs":
        log_p, log_q = _log(p), _log(q)
        return Pair(p, q, log_p, log_q, log_ratio(p, q))
    log_p, log_q = _log_probs(p, space_p), _log_probs(q, space_q)
    prob_p = p if space_p == "probs" else log_p.exp()
    prob_q = q if space_q == "probs" else log_q.exp()
    both_logits = space_p == space_q == "logits"
    d = _ratio_of_logits(p, q) if both_logits else _difference(log_q, log_p)
    return Pair(prob_p, prob_q, log_p, log_q, d)


def log_power_mean(pair: Pair, alpha: float) -> Tensor:
    """log(p^α · q^(1−α)): −inf where a factor with positive exponent is 0, +inf where negative."""
    if alpha == 0:
        return pair.log_q
    if alpha == 1:
        return pair.log_p
    both = (pair.p == 0) & (pair.q == 0)
    mixed = alpha * torch.where(both, 0.0, pair.log_p) + (1 - alpha) * torch.where(
        both, 0.0, pair.log_q
    )
    return torch.where(both, -torch.inf, mixed)


def _log_probs(x: Tensor, space: Space) -> Tensor:
    if space == "probs":
        return _log(x)
    if space == "log_probs":
        return x
    top, rest = log_normalizer(x)
    return _difference(x, top) - rest.to(x.dtype)


def _log(p: Tensor) -> Tensor:
    empty = p == 0
    return torch.where(empty, -torch.inf, torch.where(empty, 1.0, p).log())


def _difference(y: Tensor, x: Tensor) -> Tensor:
    """y − x with (−inf) − (−inf) = 0, and nothing infinite on the way into autograd."""
    y_empty, x_empty = y == -torch.inf, x == -torch.inf
    plain = torch.where(y_empty, 0.0, y) - torch.where(x_empty, 0.0, x)
    plain = torch.where(y_empty & ~x_empty, -torch.inf, plain)
    plain = torch.where(x_empty & ~y_empty, torch.inf, plain)
    return torch.where(x_empty & y_empty, 0.0, plain)


def _ratio_of_logits(a: Tensor, b: Tensor) -> Tensor:
    """(b − a) less the difference of the normalisers, taken off in two parts of `a`'s dtype."""
    top_a, rest_a = log_normalizer(a)
    top_b, rest_b = log_normalizer(b)
    wide = rest_a.dtype
    delta = (top_b.to(wide) - top_a.to(wide)) + (rest_b - rest_a)
    high = delta.to(a.dtype)
    low = (delta - high.to(wide)).to(a.dtype)
    d = _difference(b, a)
    empty_a, empty_b = a == -torch.inf, b == -torch.inf
    finite_a, finite_b = torch.where(empty_a, 0.0, a), torch.where(empty_b, 0.0, b)
    # What rounding took from b − a matters where the rows differ by a large constant and by
    # little else.
    lost = lost_in_difference(finite_b, finite_a)
    ratio = ((finite_b - finite_a) - high) + (lost - low)
    return torch.where(empty_a | empty_b, d, ratio)


def log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """log(q/p), from (q − p)/p where they are close: that difference is exact."""
    near = (q - p).abs() < 0.5 * p
    relative = (q - p) / torch.where(near, p, 1.0)
    return torch.where(
        near, torch.where(near, relative, 0.0).log1p(), _difference(_log(q), _log(p))
    )
