"""From two arguments to one value per row: open, smooth if asked to, sum, hand back in kind."""

from __future__ import annotations

from torch import Tensor

from kullback.divergences import Functional
from kullback.tensors.function import row_divergence
from kullback.tensors.inputs import Array, Opened, SpacePair, open_pair
from kullback.tensors.smoothing import Smoothing, smooth

__all__ = ["evaluate", "open_smoothed", "sum_rows"]


def evaluate(
    record: Functional,
    p: Array,
    q: Array,
    space: SpacePair,
    dim: int,
    smoothing: Smoothing | None,
    validate: bool,
    overwrite_q: bool = False,
) -> Array:
    """The sum of `record` over `dim` of two public arguments."""
    opened = open_smoothed(p, q, space, dim, smoothing, validate)
    return opened.wrap(sum_rows(record, opened, validate, overwrite_q))


def sum_rows(
    record: Functional, opened: Opened, validate: bool, overwrite_q: bool = False
) -> Tensor:
    """The sum of `record` over the last dimension of opened arguments."""
    return row_divergence(
        opened.p,
        opened.q,
        record,
        opened.space_p,
        opened.space_q,
        overwrite_q=overwrite_q,
        validate=validate,
    )


def open_smoothed(
    p: Array, q: Array, space: SpacePair, dim: int, smoothing: Smoothing | None, validate: bool
) -> Opened:
    """Both arguments opened, and mixed with the uniform distribution where that was asked for."""
    opened = open_pair(p, q, space, dim)
    if smoothing is None:
        return opened
    smooth_p = smooth(opened.p, opened.space_p, smoothing, "p", validate)
    smooth_q = smooth(opened.q, opened.space_q, smoothing, "q", validate)
    return Opened(smooth_p, smooth_q, "probs", "probs", opened.wrap)
