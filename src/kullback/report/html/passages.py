"""The worst passages: the stretches of text in which most KL comes together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kullback.report.html.positions import Positions

__all__ = ["LENGTH", "Passage", "worst_passages"]

LENGTH = 12
"""Tokens in a passage."""


@dataclass(frozen=True)
class Passage:
    """Rows `first` to `end` of the positions, and what they sum to; the text goes on from `before`
    to `after`, rows again."""

    first: int
    end: int
    kl: float
    before: int
    after: int


def worst_passages(positions: Positions, count: int = 8, context: int = 16) -> list[Passage]:
    """The `count` runs of `LENGTH` tokens with the largest summed KL, none of which overlap.

    Runs stay within unbroken text, and are shorter where that is. Runs that sum to zero are left
    out. Infinite ones come first, those with more infinities before those with fewer.
    """
    starts = np.flatnonzero(~positions.joined)
    ends = np.append(starts[1:], len(positions))
    start_of = np.repeat(starts, ends - starts)
    end_of = np.repeat(ends, ends - starts)
    rows = np.arange(len(positions))
    end = np.minimum(rows + LENGTH, end_of)
    kl = positions["kl"]
    infinite = _windows(np.isinf(kl).astype(np.float64), rows, end)
    finite = _windows(np.where(np.isinf(kl), 0.0, kl), rows, end)
    taken = np.zeros(len(kl), bool)
    found: list[Passage] = []
    for row in np.lexsort((-finite, -infinite)):
        a, b = int(row), int(end[row])
        if len(found) == count or (infinite[row] == 0 and not kl[a:b].any()):
            break
        if taken[a:b].any():
            continue
        taken[a:b] = True
        before = max(a - context, int(start_of[row]))
        after = min(b + context // 2, int(end_of[row]))
        found.append(Passage(a, b, float(kl[a:b].sum()), before, after))
    return found


def _windows(values: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return sums[end] - sums[first]
