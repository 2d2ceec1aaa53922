"""Draws of P and of Q, checked once: rows that belong together, columns that mean the same.

A column is numeric or holds labels. Numeric ones become float64; labels become codes that both
sides share. Every method reads the same two frozen records and trusts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kullback.errors import DtypeError, NonFiniteError, ShapeError
from kullback.samples.columns import as_rows, in_the_order_of

__all__ = ["Atoms", "Draws", "DrawsPair", "as_rows", "draws_of", "is_draws"]

FEW = 10
"""With fewer draws than this on a side there is nothing to estimate from."""


@dataclass(frozen=True)
class Draws:
    """n draws of one side.

    Attributes:
        numbers: float64 [n, d], the numeric columns; integers are numbers here too.
        labels: int64 [n, c], the columns of labels as codes that both sides share.
    """

    numbers: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Draws:
        return Draws(self.numbers[index], self.labels[index])


@dataclass(frozen=True)
class Atoms:
    """How often each distinct row occurs on each side: int64 [k] each, and which row is which.

    `x` and `y` are the codes of the rows, int64 [n] and int64 [m], below k.
    """

    x: np.ndarray
    y: np.ndarray
    of_p: np.ndarray
    of_q: np.ndarray


@dataclass(frozen=True)
class DrawsPair:
    """The draws of P and of Q, with the same columns.

    Attributes:
        p, q: the two sides.
        levels: how many levels each column of labels has, over both sides.
        categorical: whether every column holds categories: labels, or whole numbers in one
            column of an integer dtype.
    """

    p: Draws
    q: Draws
    levels: tuple[int, ...]
    categorical: bool

    @property
    def dimensions(self) -> int:
        """How many columns there are in all."""
        return self.p.numbers.shape[1] + self.p.labels.shape[1]

    @cached_property
    def atoms(self) -> Atoms:
        """The distinct rows of both sides, counted."""
        both = np.concatenate([_joined(self.p), _joined(self.q)])
        if both.shape[1] == 1:
            _, codes = np.unique(both[:, 0], return_inverse=True)
        else:
            _, codes = np.unique(both, axis=0, return_inverse=True)
        x, y = codes.reshape(-1)[: len(self.p)], codes.reshape(-1)[len(self.p) :]
        k = int(codes.max()) + 1
        return Atoms(x, y, np.bincount(x, minlength=k), np.bincount(y, minlength=k))

    @cached_property
    def tied(self) -> float:
        """The share of draws whose row occurs more than once, over both sides."""
        counts = self.atoms.of_p + self.atoms.of_q
        return float(counts[counts > 1].sum() / counts.sum())


def is_draws(side: Any) -> bool:
    """Whether `side` is a tensor, an array, a data frame or a list rather than a distribution."""
    return not hasattr(side, "log_prob")


def draws_of(x: Any, y: Any) -> DrawsPair:
    """The draws `x` of P and `y` of Q: tensors, arrays, lists or data frames, [n] or [n, d].

    Two data frames are aligned by the names of their columns.

    Raises `ShapeError` for sides with other columns or fewer than ten rows, `NonFiniteError`
    for NaN, infinities and missing values, naming the first, and `DtypeError` for what cannot
    be a draw.
    """
    of_p, of_q = as_rows(x, "x"), as_rows(in_the_order_of(x, y), "y")
    if len(of_p) != len(of_q):
        raise ShapeError(
            f"x has {len(of_p)} columns and y has {len(of_q)}: the columns of both sides must be "
            "the same quantities, rows are draws"
        )
    numbers: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    labels: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    levels = []
    for index, (a, b) in enumerate(zip(of_p, of_q, strict=True)):
        if _is_numeric(a) != _is_numeric(b):
            raise DtypeError(
                f"column {index} is {a.dtype} in x and {b.dtype} in y: give both as numbers, or "
                "both as labels"
            )
        if _is_numeric(a):
            for side, column, name in zip(numbers, (a, b), "xy", strict=True):
                side.append(_finite(column.astype(np.float64), name, index))
        else:
            names, codes = np.unique(
                np.concatenate([a.astype(str), b.astype(str)]), return_inverse=True
            )
            labels[0].append(codes[: len(a)])
            labels[1].append(codes[len(a) :])
            levels.append(len(names))
    p, q = (
        Draws(_stacked(n, len(c[0]), np.float64), _stacked(k, len(c[0]), np.int64))
        for n, k, c in zip(numbers, labels, (of_p, of_q), strict=True)
    )
    for side, name in ((p, "x"), (q, "y")):
        if len(side) < FEW:
            raise ShapeError(
                f"{name} has {len(side)} draws, and {FEW} are the fewest to estimate from: draw "
                "more; a 1-D tensor is n draws of one quantity, [n, d] is n draws of d"
            )
    whole = len(of_p) == 1 and all(c.dtype.kind in "iu" for c in (of_p[0], of_q[0]))
    return DrawsPair(p, q, tuple(levels), categorical=whole or not numbers[0])


def _is_numeric(column: np.ndarray) -> bool:
    return column.dtype.kind in "iuf"


def _finite(column: np.ndarray, name: str, index: int) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(column))
    if len(bad):
        raise NonFiniteError(
            f"{name} holds {column[bad[0]]} in row {bad[0]}, column {index} ({len(bad)} in all): "
            "a draw is finite; leave those rows out only if they are missing at random"
        )
    return column


def _stacked(columns: list[np.ndarray], n: int, dtype: Any) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.empty((n, 0), dtype)


def _joined(draws: Draws) -> np.ndarray:
    return np.concatenate([draws.numbers, draws.labels.astype(np.float64)], axis=1)
