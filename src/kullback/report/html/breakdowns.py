"""Where the KL is: its mean by groups of positions, its distribution, and both calibrations.

Every mean has the interval of the comparison's own kind, over the same clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from kullback.compare.accumulate import MIN_EFFECTIVE_DOCUMENTS
from kullback.compare.intervals import effective_clusters, positive_interval, share_interval
from kullback.report.html.positions import Positions
from kullback.results import Estimate

__all__ = [
    "Group",
    "Histogram",
    "by_document",
    "by_kind",
    "by_place",
    "calibration",
    "histogram",
]

PLACES, CALIBRATION_BINS = 10, 10


@dataclass(frozen=True)
class Group:
    """Some of the positions: how many, their mean, and their share of the summed KL (or NaN).

    `at` is where the group stands on its axis, for those that have one.
    """

    label: str
    positions: int
    mean: Estimate
    kl_share: float = np.nan
    at: float = np.nan


@dataclass(frozen=True)
class Histogram:
    """Counts of positions by KL: `counts[i]` in [`edges[i]`, `edges[i + 1]`), the rest apart."""

    edges: np.ndarray
    counts: np.ndarray
    zeros: int
    negative: int
    infinite: int

    @property
    def positions(self) -> int:
        """All of them."""
        return int(self.counts.sum()) + self.zeros + self.negative + self.infinite


def histogram(kl: np.ndarray) -> Histogram:
    """The distribution of KL over logarithmic bins."""
    positive = kl[(kl > 0) & np.isfinite(kl)]
    counts, edges = np.zeros(0, np.int64), np.zeros(0)
    if len(positive):
        first, last = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))
        last = max(last, first + 1)
        per_decade = 8 if last - first <= 6 else 4
        edges = 10.0 ** np.linspace(first, last, int(last - first) * per_decade + 1)
        # A power of ten is rounded, and the extremes must not fall out for that.
        edges[0], edges[-1] = min(edges[0], positive.min()), max(edges[-1], positive.max())
        counts = np.histogram(positive, edges)[0]
    return Histogram(
        edges,
        counts,
        zeros=int((kl == 0).sum()),
        negative=int((kl < 0).sum()),
        infinite=int(np.isinf(kl).sum()),
    )


def by_place(positions: Positions, clustered_by: str, confidence: float) -> list[Group]:
    """Mean KL by the position in the chunk, in about ten stretches of equal length."""
    place = positions["position"]
    low, high = int(place.min()), int(place.max()) + 1
    edges = np.unique(np.linspace(low, high, PLACES + 1).round().astype(np.int64))
    index = np.searchsorted(edges, place, side="right") - 1
    labels = [_span(a, b - 1) for a, b in pairwise(edges.tolist())]
    groups = _means(positions, index, labels, clustered_by, confidence)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    return [replace(g, at=float(middles[labels.index(g.label)])) for g in groups]


def by_kind(
    positions: Positions, kinds: np.ndarray, names: Sequence[str], by: str, confidence: float
) -> list[Group]:
    """Mean KL by kind of token, `kinds` being an index into `names`."""
    return _means(positions, kinds, names, by, confidence)


def by_document(positions: Positions, confidence: float) -> list[Group]:
    """Mean KL by document, highest first; the interval, over chunks, where there are enough."""
    ids = np.array(sorted(positions.documents))
    index = np.searchsorted(ids, positions["document_index"])
    names = [positions.documents[int(i)] for i in ids]
    groups = []
    total = _finite_sum(positions["kl"])
    for i, name in enumerate(names):
        mine = index == i
        sizes, kl, infinite = _sums(positions, mine, positions["chunk"])
        mean = positive_interval(kl, sizes, confidence=confidence, infinite=infinite)
        if effective_clusters(sizes) < MIN_EFFECTIVE_DOCUMENTS and not infinite:
            mean = replace(mean, low=np.nan, high=np.nan, stderr=np.nan)
        groups.append(Group(name, int(mine.sum()), mean, float(kl.sum() / total)))
    return sorted(groups, key=lambda group: -group.mean.value)


def calibration(
    positions: Positions, side: str, clustered_by: str, confidence: float
) -> list[Group]:
    """How often the top token of a side ("p" or "q") came next, by the probability it was given.

    `at` is the mean of that probability. Positions whose next token is not known are left out.
    """
    known = positions["token"] >= 0
    given = positions[f"top_prob_{side}"]
    hit = (positions[f"top_{side}"] == positions["token"]).astype(np.float64)
    index = np.minimum((given * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    cluster = positions[_cluster(clustered_by)]
    groups = []
    for i in range(CALIBRATION_BINS):
        mine = known & (index == i)
        if mine.any():
            _, place = np.unique(cluster[mine], return_inverse=True)
            share = share_interval(
                np.bincount(place, hit[mine]), np.bincount(place), confidence=confidence
            )
            label = f"{i / CALIBRATION_BINS:g}–{(i + 1) / CALIBRATION_BINS:g}"
            groups.append(Group(label, int(mine.sum()), share, at=float(given[mine].mean())))
    return groups


def _means(
    positions: Positions, index: np.ndarray, labels: Sequence[str], by: str, confidence: float
) -> list[Group]:
    groups, total = [], _finite_sum(positions["kl"])
    for i, label in enumerate(labels):
        mine = index == i
        if mine.any():
            sizes, kl, infinite = _sums(positions, mine, positions[_cluster(by)])
            mean = positive_interval(kl, sizes, confidence=confidence, infinite=infinite)
            groups.append(Group(label, int(mine.sum()), mean, float(kl.sum() / total)))
    return groups


def _sums(
    positions: Positions, mine: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Sizes and sums of the finite KL by cluster, and the number of infinite ones."""
    kl = positions["kl"][mine]
    finite = np.isfinite(kl)
    _, place = np.unique(cluster[mine], return_inverse=True)
    sums = np.bincount(place, np.where(finite, kl, 0.0))
    return np.bincount(place), sums, int((~finite).sum())


def _finite_sum(kl: np.ndarray) -> float:
    """The sum of which groups have shares; NaN where there are none."""
    total = float(kl.sum())
    return total if 0 < total < np.inf else np.nan


def _cluster(clustered_by: str) -> str:
    return "document_index" if clustered_by == "document" else "chunk"


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"
