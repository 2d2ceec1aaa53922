"""Log ratios at draws that the model has not seen, of every model that is worth the while.

A model is tried on one fold first; only those that come near the best there learn the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kullback.samples.log_ratio.fitting import log_loss, worse
from kullback.samples.log_ratio.models import model_of
from kullback.samples.table import Table
from kullback.samples.threads import threads_for

__all__ = ["OutOfFold", "Predicted", "out_of_fold"]

_NEAR = 2.0
"""Standard errors of the difference within which a model is not told from the best."""


@dataclass(frozen=True)
class Predicted:
    """Log ratios by several models, at n draws of P and at m draws of Q.

    Attributes:
        p, q: float64 [n, models] and [m, models].
    """

    p: np.ndarray
    q: np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """What each model says of each draw when that draw's fold is left out.

    Attributes:
        names: of the models.
        full: learnt from all other folds.
        half: learnt from half of them.
        weight_p, weight_q: how many draws each entry stands for, [n] and [m].
        fold_p, fold_q: the fold of each entry.
        row_p, row_q: the row of the table that each entry is.
    """

    names: tuple[str, ...]
    full: Predicted
    half: Predicted
    weight_p: np.ndarray
    weight_q: np.ndarray
    fold_p: np.ndarray
    fold_q: np.ndarray
    row_p: np.ndarray
    row_q: np.ndarray

    def only(self, names: Sequence[str]) -> OutOfFold:
        """The same of some of the models."""
        kept = [self.names.index(name) for name in names]
        full, half = (Predicted(x.p[:, kept], x.q[:, kept]) for x in (self.full, self.half))
        return replace(self, names=tuple(names), full=full, half=half)


def out_of_fold(table: Table, names: Sequence[str], seed: int) -> OutOfFold:
    """The predictions of the models of `names` that are worth it, for every fold."""
    with threads_for(len(table.rows)):
        return _out_of_fold(table, names, seed)


def _out_of_fold(table: Table, names: Sequence[str], seed: int) -> OutOfFold:
    models = {name: model_of(name, table, seed) for name in names}
    first = {name: fit(*table.without(0)) for name, fit in models.items()}
    kept = _near_the_best(first, table.p[:, 0], table.q[:, 0])
    entries_p, entries_q = (np.nonzero(side.T) for side in (table.p, table.q))
    full, half = [], []
    for name in kept:
        rest = [models[name](*table.without(f)) for f in range(1, table.folds)]
        full.append(np.stack([first[name], *rest]))
        half.append(np.stack([models[name](*table.half_without(f)) for f in range(table.folds)]))
    return OutOfFold(
        names=tuple(kept),
        full=_at(full, entries_p, entries_q),
        half=_at(half, entries_p, entries_q),
        weight_p=table.p.T[entries_p],
        weight_q=table.q.T[entries_q],
        fold_p=entries_p[0],
        fold_q=entries_q[0],
        row_p=entries_p[1],
        row_q=entries_q[1],
    )


def _near_the_best(ratios: dict[str, np.ndarray], p: np.ndarray, q: np.ndarray) -> list[str]:
    """The models whose log loss is not told from the best one's, draw for draw."""
    best = min(ratios.values(), key=lambda ratio: log_loss(ratio, p, q))
    return [name for name, ratio in ratios.items() if not worse(ratio, best, p, q, _NEAR)]


_Entries = tuple[np.ndarray, ...]


def _at(
    ratios: list[np.ndarray], p: tuple[np.ndarray, ...], q: tuple[np.ndarray, ...]
) -> Predicted:
    return Predicted(np.stack([r[p] for r in ratios], 1), np.stack([r[q] for r in ratios], 1))
