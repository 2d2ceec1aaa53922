"""Which of several processes reads which windows."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from kullback.compare.windows import Window

__all__ = ["readers_of"]


def readers_of(groups: Sequence[Sequence[Window]], size: int) -> list[int]:
    """The rank that reads each group, out of `size`, balanced by tokens.

    A document goes to one rank as a whole, unless it is more than an even share: then it is dealt
    out group by group, and so is every group that has windows of several documents (they go
    through a model together where `batch` is above 1).

    Source: longest first to the least loaded, Graham (1969), Bounds on multiprocessing timing
    anomalies, theorem 3: the fullest rank has at most 4/3 of what the best deal would give it.

    >>> import numpy as np
    >>> from kullback.compare.windows import cut
    >>> windows = cut([np.arange(9), np.arange(5), np.arange(5)], "abc", context=3, warmup=0)
    >>> readers_of([[window] for window in windows.items], 2)
    [0, 0, 0, 1, 1, 1, 1]
    """
    tokens = [sum(max(len(window.tokens), window.scored) for window in group) for group in groups]
    units = _units(groups, tokens, sum(tokens) / size)
    weights: Counter[tuple[str, int]] = Counter()
    for unit, number in zip(units, tokens, strict=True):
        weights[unit] += number
    loads = [(0, rank) for rank in range(size)]
    reader: dict[tuple[str, int], int] = {}
    # Ties go by name, so that every process deals alike.
    for unit in sorted(weights, key=lambda unit: (-weights[unit], unit)):
        load, rank = heapq.heappop(loads)
        reader[unit] = rank
        heapq.heappush(loads, (load + weights[unit], rank))
    return [reader[unit] for unit in units]


def _units(
    groups: Sequence[Sequence[Window]], tokens: Sequence[int], even: float
) -> list[tuple[str, int]]:
    """What each group is dealt out with: its document, or nothing else."""
    documents = [{window.document for window in group} for group in groups]
    lengths: Counter[int] = Counter()
    for found, number in zip(documents, tokens, strict=True):
        if len(found) == 1:
            lengths[min(found)] += number
    return [
        ("document", min(found))
        if len(found) == 1 and lengths[min(found)] <= even
        else ("group", index)
        for index, found in enumerate(documents)
    ]
