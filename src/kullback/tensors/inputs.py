"""The public door of the tensor room: what comes in is checked and brought into one shape here.

Every function of the room sees floating tensors of equal shape with the events last; what a
caller holds (NumPy or torch, any `dim`, shapes that broadcast, sides in different spaces) is
settled once. Errors name the row, the value and the likely fix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kullback.errors import DtypeError, NonFiniteError, ShapeError, SpaceError
from kullback.kernels.reference import row_chunks
from kullback.numerics import Space, accumulation_dtype

__all__ = [
    "Array",
    "Opened",
    "SpacePair",
    "check_rows",
    "check_side",
    "open_one",
    "open_pair",
    "unwrap",
]

Array = Any
"""A `torch.Tensor` or a `numpy.ndarray` of floating dtype."""

SpacePair = Space | tuple[Space, Space]

# A float64 normaliser of this size is right to 1e-7.
_LARGEST_LOGIT = 1e9

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

SPACES: tuple[Space, ...] = ("probs", "log_probs", "logits")

# What a row may miss a total of 1 by. Rounding each entry to the dtype moves the sum by about its
# epsilon, and the divergences only by the square of it, so this is generous on purpose.
_SUM_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
_SUM_TOLERANCE_WIDE = 1e-4


class Opened(NamedTuple):
    """Two sides ready for the room: equal shapes, events last, and how to hand the result back."""

    p: Tensor
    q: Tensor
    space_p: Space
    space_q: Space
    wrap: Callable[[Tensor], Any]


def open_pair(p: Array, q: Array, space: SpacePair, dim: int) -> Opened:
    """Check two arguments and bring them to equal shapes with the events in the last dimension."""
    space_p, space_q = split_space(space)
    tensor_p, numpy_p = unwrap(p, "p")
    tensor_q, numpy_q = unwrap(q, "q")
    if numpy_p != numpy_q:
        raise DtypeError(
            f"p is a {type(p).__name__} and q is a {type(q).__name__}: pass two tensors or two "
            "NumPy arrays (torch.from_numpy and Tensor.numpy convert without copying)"
        )
    if tensor_p.device != tensor_q.device:
        raise ShapeError(
            f"p is on {tensor_p.device} and q on {tensor_q.device}: move one, p.to(q.device)"
        )
    dim = _from_the_end(dim, max(tensor_p.ndim, tensor_q.ndim))
    tensor_p = _events_last(tensor_p, dim, "p")
    tensor_q = _events_last(tensor_q, dim, "q")
    if tensor_p.shape[-1] != tensor_q.shape[-1]:
        raise ShapeError(
            f"p has {tensor_p.shape[-1]} events and q has {tensor_q.shape[-1]} along dim={dim} "
            f"(shapes {tuple(p.shape)} and {tuple(q.shape)}): both sides must be over the same "
            "events; check dim="
        )
    try:
        shape = torch.broadcast_shapes(tensor_p.shape, tensor_q.shape)
    except RuntimeError:
        raise ShapeError(
            f"shapes {tuple(p.shape)} and {tuple(q.shape)} do not broadcast: sizes must be equal "
            "or 1 in every dimension but the events'"
        ) from None
    wrap = to_numpy if numpy_p else _identity
    return Opened(tensor_p.expand(shape), tensor_q.expand(shape), space_p, space_q, wrap)


def open_one(p: Array, space: Space, dim: int) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Check one argument and bring its events into the last dimension."""
    _known_space(space)
    tensor, numpy = unwrap(p, "p")
    tensor = _events_last(tensor, _from_the_end(dim, tensor.ndim), "p")
    return tensor, to_numpy if numpy else _identity


def split_space(space: SpacePair) -> tuple[Space, Space]:
    """The space of each side; one name stands for both."""
    if isinstance(space, str):
        return _known_space(space), _known_space(space)
    if isinstance(space, (tuple, list)) and len(space) == 2:
        return _known_space(space[0]), _known_space(space[1])
    raise SpaceError(f"space={space!r}: give one of {SPACES}, or a pair of them for (p, q)")


def _known_space(space: str) -> Space:
    for known in SPACES:
        if space == known:
            return known
    raise SpaceError(f"space={space!r} is not one of {SPACES}")


def unwrap(x: Array, side: str) -> tuple[Tensor, bool]:
    """The argument as a floating tensor, and whether it came as a NumPy array."""
    if isinstance(x, np.ndarray):
        return _from_numpy(x, side), True
    if not isinstance(x, Tensor):
        raise DtypeError(
            f"{side} is a {type(x).__name__}: pass a torch.Tensor or a NumPy array, "
            f"such as torch.tensor({side})"
        )
    if x.dtype not in _FLOATING:
        raise DtypeError(_not_floating(side, x.dtype, "float()"))
    if x.layout != torch.strided or x.is_nested or x.is_meta:
        raise DtypeError(
            f"{side} is a tensor of layout {x.layout} on {x.device}: pass a dense tensor with "
            f"values, such as {side}.to_dense()"
        )
    return x, False


def _from_numpy(x: np.ndarray, side: str) -> Tensor:
    if isinstance(x, np.ma.MaskedArray):
        raise DtypeError(
            f"{side} is a masked array, whose mask would be lost: pass {side}.filled(0) for "
            f"probabilities, {side}.filled(-np.inf) for logits"
        )
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise DtypeError(_not_floating(side, x.dtype, "astype(float)"))
    # Read-only, byte-swapped and negatively strided arrays cannot be shared with torch.
    native = x.astype(x.dtype.newbyteorder("="), copy=False)
    shareable = native.flags.writeable and all(stride >= 0 for stride in native.strides)
    return torch.from_numpy(native if shareable else native.copy())


def _not_floating(side: str, dtype: object, fix: str) -> str:
    return (
        f"{side} has dtype {dtype}, which is none of float16, bfloat16, float32 and float64: "
        f"pass {side}.{fix} (counts must also be divided by their sum)"
    )


def to_numpy(value: Tensor) -> Any:
    """A NumPy array, or a NumPy scalar for a single number."""
    return value.detach().numpy()[()]


def _identity(value: Tensor) -> Tensor:
    return value


def _from_the_end(dim: int, ndim: int) -> int:
    if not isinstance(dim, int):
        raise ShapeError(f"dim={dim!r}: give the one dimension of the events, as an int")
    if not -ndim <= dim < ndim:
        raise ShapeError(f"dim={dim} is out of range for {ndim} dimension(s)")
    return dim - ndim if dim >= 0 else dim


def _events_last(x: Tensor, dim: int, side: str) -> Tensor:
    if x.ndim < -dim:
        raise ShapeError(f"{side} has shape {tuple(x.shape)} and therefore no dimension {dim}")
    if x.shape[dim] == 0:
        raise ShapeError(
            f"{side} has shape {tuple(x.shape)}: the events' axis (dim={dim}) is empty, and there "
            "is no distribution over no events"
        )
    return x if dim == -1 else x.movedim(dim, -1)


def check_rows(x: Tensor, space: Space, side: str, value: Tensor, largest: Tensor) -> None:
    """Raise when a row of [rows, events] cannot be what `space` says, naming the row.

    Logits are judged by the row's value, which is NaN exactly when a row of either side holds NaN
    or +inf or is −inf throughout, and by their `largest` (or their log-normaliser), so that a
    second pass over them is only made to tell which.
    """
    if space != "logits":
        check_side(x, space, side)
        return
    if bool(value.isnan().any()):
        _find_non_finite(x, side)
    beyond = largest.isfinite() & (largest.abs() > _LARGEST_LOGIT)
    if bool(beyond.any()):
        row = int(beyond.nonzero()[0])
        raise SpaceError(
            f"{side}, row {row}: the largest logit is {float(x[row].max()):.4g}, beside which the "
            "differences that matter are rounded away: mask events with -inf rather than with "
            "large negative numbers, and drop rows that are masked throughout"
        )


def check_side(x: Tensor, space: Space, side: str) -> None:
    """Raise when a row of [rows, events] of one side is not what `space` says."""
    if space == "logits":
        return _find_non_finite(x, side)
    tolerance = _SUM_TOLERANCE.get(x.dtype, _SUM_TOLERANCE_WIDE)
    for rows in row_chunks(x):
        part = x[rows]
        wide = part if part.dtype.itemsize > 2 else part.float()
        probs = wide.exp() if space == "log_probs" else wide
        sums = probs.sum(-1, dtype=accumulation_dtype(x))
        wrong = ~((sums - 1).abs() <= tolerance) | (probs < 0).any(-1)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            _find_non_finite(part[row : row + 1], side, rows.start + row)
            _explain_row(part[row], float(sums[row]), space, side, rows.start + row)


def _explain_row(row: Tensor, summed: float, space: Space, side: str, index: int) -> None:
    low, high = int(row.argmin()), int(row.argmax())
    where = f"{side}, row {index}"
    if space == "probs" and row[low] < 0:
        raise SpaceError(
            f"{where}: event {low} has probability {float(row[low]):.6g} < 0. Log-probabilities "
            "need space='log_probs', unnormalised scores space='logits'"
        )
    if space == "log_probs" and row[high] > 0:
        as_probs = float(row.double().sum())
        hint = "space='probs'" if row[low] >= 0 and abs(as_probs - 1) < 0.05 else "space='logits'"
        raise SpaceError(
            f"{where}: event {high} has log-probability {float(row[high]):.6g} > 0. These look "
            f"like something else: try {hint}"
        )
    fix = (
        f"divide by the sum, {side} / {side}.sum(dim, keepdim=True), or pass space='logits' if "
        "these are logarithms of weights"
        if space == "probs"
        else "pass space='logits', which normalises the rows"
    )
    raise SpaceError(f"{where}: the probabilities sum to {summed:.6g}, not to 1: {fix}")


def _find_non_finite(x: Tensor, side: str, first_row: int = 0) -> None:
    for rows in row_chunks(x):
        part = x[rows]
        bad = part.isnan() | (part == torch.inf)
        if bool(bad.any()):
            row, event = (int(i) for i in bad.nonzero()[0])
            raise NonFiniteError(
                f"{side}, row {first_row + rows.start + row}: event {event} is "
                f"{float(part[row, event])}. A distribution has neither NaN nor +inf; look for an "
                "overflow where these were computed (half precision?)"
            )
        empty = (part == -torch.inf).all(-1)
        if bool(empty.any()):
            row = int(empty.nonzero()[0])
            raise NonFiniteError(
                f"{side}, row {first_row + rows.start + row}: every event is −inf, so no "
                "probability is left; drop fully masked rows before the call"
            )
