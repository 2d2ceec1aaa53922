"""The draws of both sides as one weighted table, split into folds.

Rows that occur often stand there once, with how often each fold has them on either side. On the
line many draws are gathered into narrow cells first, so that a million cost what a few thousand
do; nothing is lost by it that an estimate could show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kullback.samples.draws import Draws, DrawsPair

__all__ = ["Table", "fold_count", "table_of"]

_GATHER_FROM = 20_000
"""On the line, more draws than this of both sides together are gathered into cells."""
_CELLS, _ALONE = 4096, 512
"""Cells of equally many draws; at either end so many draws stand alone, where cells are wide."""


@dataclass(frozen=True)
class Table:
    """k rows, and how many draws of each side every fold has there.

    Attributes:
        rows: k draws.
        p, q: float64 [k, folds].
    """

    rows: Draws
    p: np.ndarray
    q: np.ndarray

    @property
    def folds(self) -> int:
        """How many parts the draws are split into."""
        return self.p.shape[1]

    def without(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """The weights [k] of P and Q in all folds but one."""
        return self.p.sum(1) - self.p[:, fold], self.q.sum(1) - self.q[:, fold]

    def half_without(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """The weights of every other fold of those, so that about half of them remain."""
        others = [f for f in range(self.folds) if f != fold][::2]
        return self.p[:, others].sum(1), self.q[:, others].sum(1)


def fold_count(draws: int) -> int:
    """Few folds where a part is plenty to learn from, ten where every draw counts."""
    return 9 if draws < 20_000 else 5


def table_of(pair: DrawsPair, seed: int, folds: int | None = None) -> Table:
    """The table of `pair`; every draw goes to one fold by chance, as evenly as can be."""
    n, m = len(pair.p), len(pair.q)
    folds = folds or fold_count(n + m)
    rng = np.random.default_rng(seed)
    in_p, in_q = (rng.permutation(size) % folds for size in (n, m))
    rows, x, y = _distinct(pair)
    k = len(rows)
    p = np.bincount(x * folds + in_p, minlength=k * folds).reshape(k, folds)
    q = np.bincount(y * folds + in_q, minlength=k * folds).reshape(k, folds)
    return Table(rows, p.astype(np.float64), q.astype(np.float64))


def _distinct(pair: DrawsPair) -> tuple[Draws, np.ndarray, np.ndarray]:
    """The rows, and which of them each draw of P and of Q is."""
    n, m = len(pair.p), len(pair.q)
    on_line = pair.p.numbers.shape[1] == 1 and not pair.levels
    if on_line and n + m > _GATHER_FROM:
        return _cells(pair.p.numbers[:, 0], pair.q.numbers[:, 0])
    if pair.tied < 0.5:
        both = Draws(
            *(np.concatenate(c) for c in zip(_columns(pair.p), _columns(pair.q), strict=True))
        )
        return both, np.arange(n), np.arange(n, n + m)
    atoms = pair.atoms
    both = Draws(*(np.concatenate(c) for c in zip(_columns(pair.p), _columns(pair.q), strict=True)))
    first = np.empty(len(atoms.of_p), np.int64)
    first[np.concatenate([atoms.x, atoms.y])] = np.arange(n + m)
    return both[first], atoms.x, atoms.y


def _columns(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    return draws.numbers, draws.labels


def _cells(x: np.ndarray, y: np.ndarray) -> tuple[Draws, np.ndarray, np.ndarray]:
    """Narrow cells of the line, each by the mean of the draws in it."""
    both = np.concatenate([x, y])
    ordered = np.sort(both)
    count = len(ordered)
    ranks = np.unique(
        np.concatenate(
            [
                np.arange(_ALONE),
                np.linspace(_ALONE, count - _ALONE, _CELLS).astype(np.int64),
                np.arange(count - _ALONE, count),
            ]
        )
    )
    # Equal draws share a cell, whatever their ranks are.
    edges = np.unique(ordered[ranks])
    code = np.searchsorted(edges, both, side="right") - 1
    sums = np.bincount(code, weights=both, minlength=len(edges))
    sizes = np.bincount(code, minlength=len(edges))
    means = sums / sizes
    rows = Draws(means[:, None], np.empty((len(means), 0), np.int64))
    return rows, code[: len(x)], code[len(x) :]
