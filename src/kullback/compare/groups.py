"""The same numbers class by class and group by group: where a candidate loses what it loses.

A slice has an interval of its own, from the same clusters as the whole: what is summed is the
slice's share of each cluster. Only clusters that have positions of a slice take memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kullback.compare import intervals
from kullback.compare.clusters import Clusters, ClusterTable
from kullback.compare.slices import GROUP, LABEL, Slices
from kullback.results import Estimate, Slice

__all__ = ["SliceTable", "sliced", "unseen_classes"]

_SUMMED = ("positions", "kl", "kl_infinite", "same_top", "known", "right_p", "right_q")
_WAITING = 8192
"""Positions are sorted into their slices so many at a time."""


class SliceTable:
    """Sums by slice and cluster: a `ClusterTable` whose documents are pairs of slice and document.

    Memory is that of `max_rows` rows, or of a row for each document of each slice if those are
    more.
    """

    def __init__(self, max_rows: int = 1 << 16) -> None:
        self._table = ClusterTable(max_rows)
        self._waiting: list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]] = []
        self._held = 0

    def update(
        self,
        which: np.ndarray,
        document: np.ndarray,
        chunk: np.ndarray,
        columns: dict[str, np.ndarray],
    ) -> None:
        """Add positions of the slices `which` (int64, −1 in none), with `position_columns`."""
        inside = which >= 0
        summed = {name: columns[name][inside] for name in _SUMMED if name in columns}
        pair = (which[inside] << 32) | document[inside]
        self._waiting.append((pair, chunk[inside], summed))
        self._held += len(pair)
        if self._held >= _WAITING:
            self._settle()

    def merge(self, other: SliceTable) -> None:
        """Add all that `other` has seen."""
        self._settle()
        other._settle()
        self._table.merge(other._table)

    def clusters(self, clustered_by: str) -> Iterator[tuple[int, Clusters]]:
        """The slices that have a position, ascending, and the sums over each one's clusters."""
        self._settle()
        if not len(self._table):
            return
        whole = clustered_by == "document"
        found = self._table.by_document() if whole else self._table.by_chunk()
        pairs = self._table.documents if whole else self._table.row_documents
        which = pairs >> 32
        edges = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(which)]
        for start, stop in itertools.pairwise(edges):
            part = {name: values[start:stop] for name, values in found.sums.items()}
            yield int(which[start]), Clusters(part)

    def _settle(self) -> None:
        waiting = [entry for entry in self._waiting if len(entry[0])]
        self._waiting, self._held = [], 0
        if waiting:
            pairs, chunks, columns = zip(*waiting, strict=True)
            together = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
            self._table.update(np.concatenate(pairs), np.concatenate(chunks), together)


def sliced(
    tables: Mapping[str, SliceTable],
    told: Slices,
    whole: Clusters,
    clustered_by: str,
    confidence: float,
) -> dict[str, Any]:
    """The fields of a `Comparison` that need labels or groups, as far as there are any.

    `tables` has the sums by label and by group, `whole` those over all positions.
    """
    fields: dict[str, Any] = {}
    if LABEL in tables:
        fields |= _accuracies(whole, confidence)
        difference = whole["right_q"] - whole["right_p"]
        if whole["known"].any():
            fields["accuracy_difference"] = intervals.signed_interval(
                difference, whole["known"], confidence=confidence
            )
    for field, column in (("by_class", LABEL), ("by_group", GROUP)):
        if column in tables:
            found = list(tables[column].clusters(clustered_by))
            fields[field] = _slices(found, told.names(column), whole, confidence)
    return fields


def _slices(
    found: list[tuple[int, Clusters]],
    names: tuple[str, ...] | None,
    whole: Clusters,
    confidence: float,
) -> tuple[Slice, ...]:
    """A `Slice` for each that has a position, the largest part of the KL first."""
    total = float(whole["kl"].sum())
    has_shares = total > 0 and not whole.count("kl_infinite")
    # Infinities first, then by the sum; of equals in the order of the indices.
    found.sort(key=lambda item: (-item[1].count("kl_infinite"), -item[1]["kl"].sum(), item[0]))
    slices = []
    for index, part in found:
        sides = _accuracies(part, confidence)
        kl, sizes, infinite = part["kl"], part.sizes, part.count("kl_infinite")
        slices.append(
            Slice(
                name=str(index) if not names else names[index],
                positions=part.count("positions"),
                kl=intervals.positive_interval(kl, sizes, confidence=confidence, infinite=infinite),
                same_top=intervals.share_interval(part["same_top"], sizes, confidence=confidence),
                accuracy_p=sides.get("accuracy_reference"),
                accuracy_q=sides.get("accuracy_candidate"),
                kl_share=float(kl.sum()) / total if has_shares else float("nan"),
            )
        )
    return tuple(slices)


def _accuracies(part: Clusters, confidence: float) -> dict[str, Estimate]:
    """How often each side's top event is the label; empty where no position has one."""
    if "right_p" not in part or not part["known"].any():
        return {}
    sides = {"accuracy_reference": "right_p", "accuracy_candidate": "right_q"}
    return {
        field: intervals.share_interval(part[name], part["known"], confidence=confidence)
        for field, name in sides.items()
    }


def unseen_classes(tables: Mapping[str, SliceTable], told: Slices) -> list[str]:
    """A note on the named classes of which there is no example; none without names."""
    names = told.class_names
    if names is None or LABEL not in tables:
        return []
    seen = {index for index, _ in tables[LABEL].clusters("document")}
    absent = [name for index, name in enumerate(names) if index not in seen]
    if not absent:
        return []
    first = ", ".join(repr(name) for name in absent[:3]) + (", …" if len(absent) > 3 else "")
    return [f"{len(absent)} of {len(names)} classes have no example: {first}."]
