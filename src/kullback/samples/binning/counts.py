"""Counts in bins: who sets them, which join, and what divergence they show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from kullback.divergences import Divergence
from kullback.numerics import make_pair

__all__ = ["Counts", "Level", "counts_of", "divergence_of", "joined_at", "level_of"]

_FOLDS = 10
# Bins where a side whose absence makes the divergence infinite has fewer draws join others.
_PER_BIN = 4


class Level(NamedTuple):
    """A partition's divergence, its variance, its bins, and the share of draws in bins too bare."""

    value: float
    variance: float
    bins: int
    joined: float


class Counts(NamedTuple):
    """Counts in the finest bins: those that set them [2, bins], and by fold [2, folds, bins]."""

    setting: np.ndarray
    counted: np.ndarray


def counts_of(
    set_x: np.ndarray, set_y: np.ndarray, x: np.ndarray, y: np.ndarray, finest: int
) -> Counts:
    few = min(len(set_x), len(set_y))
    both = np.concatenate([set_x[:few], set_y[:few]])
    edges = np.quantile(both, np.arange(1, finest) / finest)
    setting = [np.bincount(np.searchsorted(edges, s), minlength=finest) for s in (set_x, set_y)]
    return Counts(np.stack(setting), np.stack([_by_fold(side, edges) for side in (x, y)]))


def _by_fold(side: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = len(edges) + 1
    cell = np.searchsorted(edges, side) + bins * (np.arange(len(side)) % _FOLDS)
    return np.bincount(cell, minlength=_FOLDS * bins).reshape(_FOLDS, bins)


def level_of(record: Divergence, halves: list[Counts], together: int) -> Level:
    """The partition whose bins are `together` of the finest, over both halves."""
    parts = [_of_half(record, half, together) for half in halves]
    return Level(
        value=sum(part.value for part in parts) / 2,
        variance=sum(part.variance for part in parts) / 4,
        bins=min(part.bins for part in parts),
        joined=sum(part.joined for part in parts) / 2,
    )


def _of_half(record: Divergence, half: Counts, together: int) -> Level:
    starts = np.arange(0, half.setting.shape[1], together)
    setting = np.add.reduceat(half.setting, starts, axis=1)
    counted = np.add.reduceat(half.counted, starts, axis=2)
    needed = _needed(record)
    groups = joined_at(setting[needed], _PER_BIN)
    bare = (setting[needed] < _PER_BIN).any(0)
    joined = float((setting[:, bare].sum(1) / setting.sum(1)).max())
    counted = np.add.reduceat(counted, groups, axis=-1)
    # Where a fold left out would leave a side without draws, a coarser partition does.
    again = joined_at((counted.sum(1) - counted.max(1))[needed], 1)
    counted = np.add.reduceat(counted, again, axis=-1)
    value, variance = divergence_of(record, counted)
    return Level(value, variance, counted.shape[-1], joined)


def _needed(record: Divergence) -> np.ndarray:
    """Of which side, P or Q, a bin without draws would make the divergence infinite: [2]."""
    one = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    return (~record.terms(make_pair(one[0], one[1], "probs", "probs")).isfinite()).numpy()


def joined_at(counts: np.ndarray, least: int) -> np.ndarray:
    """Where groups of neighbouring bins start that hold `least` of every side; [sides, bins]."""
    starts, held = [0], np.zeros(len(counts), np.int64)
    for index, column in enumerate(counts.T):
        if index and (held >= least).all():
            starts.append(index)
            held = np.zeros_like(held)
        held = held + column
    if (held < least).any() and len(starts) > 1:
        starts.pop()
    return np.array(starts)


def divergence_of(record: Divergence, counted: np.ndarray) -> tuple[float, float]:
    """The divergence of counts [2, folds, bins], its first-order bias taken off; its variance."""
    whole = torch.from_numpy(counted.sum(1).astype(np.float64))
    without = whole[:, None] - torch.from_numpy(counted.astype(np.float64))
    p, q = whole / whole.sum(-1, keepdim=True)
    less = without / without.sum(-1, keepdim=True)
    pair = make_pair(p, q, "probs", "probs")
    total = record.terms(pair).sum()
    left = record.terms(make_pair(less[0], less[1], "probs", "probs")).sum(-1).mean()
    variance = 0.0
    for side, slopes, n in zip((p, q), record.log_slopes(pair), whole.sum(-1), strict=True):
        slope = torch.where(side == 0, 0.0, slopes / torch.where(side == 0, 1.0, side))
        mean = (side * slope).sum()
        variance += float((side * (slope - mean) ** 2).sum() / n)
    return float(_FOLDS * total - (_FOLDS - 1) * left), variance
