"""The columns of both sides by name, and as the numbers that trees and classifiers read.

A column of numbers stays one; a column of labels becomes one of zeros and ones for each level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.samples.columns import as_rows, in_the_order_of
from kullback.samples.draws import draws_of

__all__ = ["Column", "Columns", "columns_of"]


@dataclass(frozen=True)
class Column:
    """One column: its name, what the levels of its labels are called, and its own numbers.

    `levels` is None for numbers; p and q are float64 [n, k] and [m, k], k the number of levels
    for labels and 1 for numbers.
    """

    name: str
    levels: tuple[str, ...] | None
    p: np.ndarray
    q: np.ndarray


@dataclass(frozen=True)
class Columns:
    """The columns that can tell the sides apart, and a note for each that was left out."""

    kept: tuple[Column, ...]
    notes: tuple[str, ...]


def columns_of(x: Any, y: Any) -> Columns:
    """The columns of draws, checked by `draws_of`, without constant and repeated ones.

    Raises what `draws_of` raises, and `InputError` for data frames with other names.
    """
    y = in_the_order_of(x, y)
    draws_of(x, y)
    raw = as_rows(x, "x"), as_rows(y, "y")
    names = _names(x, y, len(raw[0]))
    kept: list[Column] = []
    notes: list[str] = []
    for name, a, b in zip(names, *raw, strict=True):
        column = _column(name, a, b)
        both = np.concatenate([column.p, column.q])
        if (both == both[0]).all():
            notes.append(f"{name} is the same in every draw of both sides, and is left out")
            continue
        twin = next((other for other in kept if _equal(other, column)), None)
        if twin is not None:
            notes.append(f"{name} repeats {twin.name} in every draw: {twin.name} speaks for both")
            continue
        kept.append(column)
    return Columns(tuple(kept), tuple(notes))


def _names(x: Any, y: Any, count: int) -> list[str]:
    given = [
        [str(name) for name in side.columns] if hasattr(side, "columns") else None
        for side in (x, y)
    ]
    of_x, of_y = given
    names = of_x or of_y
    return [_printable(name) for name in names] if names else [f"x{i}" for i in range(count)]


def _printable(text: str) -> str:
    """The text with what could move a terminal's cursor spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _column(name: str, a: np.ndarray, b: np.ndarray) -> Column:
    if a.dtype.kind in "iuf":
        p, q = (side.astype(np.float64)[:, None] for side in (a, b))
        return Column(name, None, p, q)
    both = np.concatenate([side.astype(str) for side in (a, b)])
    levels, codes = np.unique(both, return_inverse=True)
    read = (codes[:, None] == np.arange(len(levels))).astype(np.float64)
    return Column(
        name, tuple(_printable(str(level)) for level in levels), read[: len(a)], read[len(a) :]
    )


def _equal(one: Column, other: Column) -> bool:
    return (
        one.levels == other.levels
        and np.array_equal(one.p, other.p)
        and np.array_equal(one.q, other.q)
    )
