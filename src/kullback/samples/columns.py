"""The columns of what a user holds: numbers, or labels as text, and never a guess between them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from kullback.errors import DtypeError, NonFiniteError, ShapeError

__all__ = ["as_rows", "in_the_order_of"]

_EXACT = 2**53
"""Beyond this float64 takes neighbouring integers for one."""


def as_rows(side: Any, name: str) -> list[np.ndarray]:
    """The columns of `side`, each [n]: of a tensor, an array, a list or a data frame.

    A column is of numbers (an integer or a floating dtype) or of labels (booleans or text).
    """
    if _is_frame(side):
        return _of_frame(side, name)
    array = _array(side, name)
    if array.ndim == 0 and array.dtype.kind == "O":
        raise DtypeError(
            f"{name} is of type {type(side).__name__}: draws are a tensor, an array, a list or a "
            "data frame, and a distribution has log_prob"
        )
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ShapeError(
            f"{name} has shape {array.shape}: draws are [n], or [n, d] with a row for each; "
            "flatten what one draw consists of"
        )
    columns = [array] if array.ndim == 1 else list(array.T)
    return [_column(column, name, index) for index, column in enumerate(columns)]


def in_the_order_of(x: Any, y: Any) -> Any:
    """The data frame `y` with its columns in the order of those of `x`; all else as it is.

    Raises `ShapeError` for two frames that do not have the same columns.
    """
    if not (_is_frame(x) and _is_frame(y)):
        return y
    ours, theirs = list(x.columns), list(y.columns)
    pairs = (ours, theirs), (theirs, ours)
    alone = [next((repr(c) for c in held if c not in other), "none") for held, other in pairs]
    if alone != ["none", "none"]:
        raise ShapeError(
            f"the columns differ, {alone[0]} in x and {alone[1]} in y: name the same quantities "
            "alike, and leave out what only one side has"
        )
    return y[ours]


def _is_frame(side: Any) -> bool:
    return hasattr(side, "columns") and hasattr(side, "__getitem__")


def _of_frame(frame: Any, name: str) -> list[np.ndarray]:
    headings = list(frame.columns)
    twice = [heading for heading in headings if headings.count(heading) > 1]
    if twice or not headings:
        raise ShapeError(
            f"the column {twice[0]!r} of {name} stands there twice: give each a name of its own"
            if twice
            else f"{name} has no columns: rows are draws, columns the quantities of each"
        )
    return [_column(_values(frame[heading]), name, heading) for heading in headings]


def _values(series: Any) -> np.ndarray:
    if str(getattr(series, "dtype", "")) == "category":
        # Categories may be numbers, which are names all the same.
        return np.asarray(series.astype(object).map(str, na_action="ignore"), dtype=object)
    return np.asarray(series)


def _array(side: Any, name: str) -> np.ndarray:
    if isinstance(side, Sequence) and not isinstance(side, str) and len(side):
        if isinstance(side[0], torch.Tensor):
            side = torch.stack(list(side))
        elif any(isinstance(row, (list, tuple)) for row in side):
            side = _table(side, name)
        elif any(isinstance(value, str) for value in side):
            side = np.asarray(side, dtype=object)
    if isinstance(side, torch.Tensor):
        if side.layout != torch.strided:
            raise DtypeError(f"{name} is sparse ({side.layout}): give x.to_dense()")
        side = side.detach().cpu().resolve_conj().resolve_neg()
        # NumPy does not know all of torch's narrow dtypes.
        side = (side.double() if side.is_floating_point() else side).numpy()
    if np.ma.is_masked(side):
        raise NonFiniteError(
            f"{name} has {np.ma.count_masked(side)} masked values: leave those rows out, only if "
            "they are missing at random"
        )
    return np.asarray(side)


def _table(rows: Sequence[Any], name: str) -> np.ndarray:
    """Rows of equal length; objects where any holds text, for NumPy would make text of all."""
    lengths = [len(row) if hasattr(row, "__len__") else -1 for row in rows]
    for index, length in enumerate(lengths):
        if length != lengths[0]:
            raise ShapeError(
                f"row {index} of {name} is {rows[index]!r} and row 0 is {rows[0]!r}: every draw "
                "has the same columns"
            )
    text = any(isinstance(value, str) for row in rows for value in row)
    return np.asarray(rows, dtype=object if text else None)


def _column(column: np.ndarray, name: str, at: Any) -> np.ndarray:
    """A column of numbers or of labels, of whatever dtype it came in."""
    if np.ma.is_masked(column) or column.ndim != 1 or column.dtype.kind not in "biufOUST":
        raise DtypeError(
            f"column {at} of {name} has dtype {column.dtype}: draws are real numbers or labels"
        )
    if column.dtype.kind in "OST":
        column = _unwrapped(column.astype(object), name, at)
    if column.dtype.kind in "iu" and len(column):
        largest = max(int(column.max()), -int(column.min()))
        if largest > _EXACT:
            raise _inexact(largest, name, at)
    return column


def _unwrapped(column: np.ndarray, name: str, at: Any) -> np.ndarray:
    """A column of objects as float64 if all are numbers, as text if none is."""
    numeric = [isinstance(v, (Real, Decimal)) and not _is_label(v) for v in column]
    if all(numeric):
        beyond = [v for v in column if isinstance(v, Integral) and abs(int(v)) > _EXACT]
        if beyond:
            raise _inexact(beyond[0], name, at)
        return column.astype(np.float64)
    missing = [i for i, v in enumerate(column) if _is_missing(v)]
    if missing:
        raise NonFiniteError(
            f"{name} lacks a value in row {missing[0]}, column {at} ({column[missing[0]]}; "
            f"{len(missing)} in all): leave those rows out, or give missing labels one of their own"
        )
    strange = [i for i, v in enumerate(column) if not _is_label(v)]
    if strange:
        value = column[strange[0]]
        raise DtypeError(
            f"{name} holds {value!r} ({type(value).__name__}) in row {strange[0]}, column {at}: "
            "draws are real numbers or labels, a column all of one kind; make labels text by str, "
            "and dates numbers"
        )
    return np.asarray([_text(value) for value in column], dtype=str)


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, bytes, bool, np.bool_))


def _is_missing(value: Any) -> bool:
    # pandas has three values of its own for this, none of which can be compared.
    return value is None or (not _is_label(value) and str(value) in ("nan", "NaT", "<NA>"))


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _inexact(value: Any, name: str, at: Any) -> DtypeError:
    return DtypeError(
        f"{name} holds {value} in column {at}: float64 does not tell integers beyond 2**53 apart; "
        "give codes and hashes as labels, by astype(str), and times as differences from a day"
    )
