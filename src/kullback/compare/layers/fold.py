"""From the KL at each position, under each exchange, to a `LayerEffects` with intervals.

All exchanges are measured at the same positions, so one table of sums by document and chunk
holds them side by side, and the intervals of sums and differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kullback.compare import intervals
from kullback.compare.accumulate import MIN_EFFECTIVE_DOCUMENTS
from kullback.compare.clusters import Clusters, ClusterTable
from kullback.compare.layers.record import Effect, LayerEffects
from kullback.compare.layers.units import Unit
from kullback.compare.windows import Window
from kullback.results import Estimate

__all__ = ["Fold"]

_MAX_ROWS = 4096


class Fold:
    """Sums of the KL over clusters of positions, by the key of each mixture of the two models.

    Keys are "whole" for the candidate itself, ("single", i) for the reference with unit i of the
    candidate, and ("without", i) for the candidate with unit i of the reference.
    """

    def __init__(self) -> None:
        self.table = ClusterTable(_MAX_ROWS)

    def update(self, group: Sequence[Window], kl: dict[Any, np.ndarray]) -> None:
        """Add the positions of `group`: float64 [n] nats for each mixture."""
        sizes = [window.scored for window in group]
        columns = {"positions": np.ones(sum(sizes))}
        for key, values in kl.items():
            finite = np.isfinite(values)
            columns[f"{key}"] = np.where(finite, values, 0.0)
            columns[f"{key} infinite"] = (~finite).astype(np.float64)
        document = np.repeat([window.document for window in group], sizes)
        chunk = np.repeat([window.chunk for window in group], sizes)
        self.table.update(document, chunk, columns)

    def record(
        self, units: Sequence[Unit], *, leave_one_out: bool, confidence: float, **rest: Any
    ) -> LayerEffects:
        """What the sums say of `units`; `rest` are the other fields of the record."""
        by_document, by_chunk = self.table.by_document(), self.table.by_chunk()
        few = intervals.effective_clusters(by_document.sizes) < MIN_EFFECTIVE_DOCUMENTS
        means = _Means(by_chunk if few else by_document, confidence)
        measured = [("single", i) for i, unit in enumerate(units) if unit.differs]
        infinite = any(means.infinite(key) for key in ["whole", *measured])
        return LayerEffects(
            effects=tuple(_effect(means, i, u, leave_one_out) for i, u in enumerate(units)),
            whole=means.of("whole"),
            total=means.of(*measured),
            gap=None if infinite else means.difference(measured, ["whole"]),
            positions=int(means.clusters.sizes.sum()),
            documents=len(self.table.documents),
            chunks=self.table.chunks,
            clustered_by="chunk" if few else "document",
            confidence=confidence,
            **rest,
        )


class _Means:
    def __init__(self, clusters: Clusters, confidence: float) -> None:
        self.clusters, self.confidence = clusters, confidence

    def infinite(self, key: Any) -> int:
        return self.clusters.count(f"{key} infinite")

    def sums(self, keys: Sequence[Any]) -> np.ndarray:
        zero = np.zeros(len(self.clusters.sizes))
        return sum((self.clusters[f"{key}"] for key in keys), zero)

    def of(self, *keys: Any) -> Estimate:
        """The mean of the sum of some columns, none of which is negative."""
        if not keys:
            return self.zero()
        return intervals.positive_interval(
            self.sums(keys),
            self.clusters.sizes,
            confidence=self.confidence,
            infinite=max(self.infinite(key) for key in keys),
        )

    def difference(self, plus: Sequence[Any], minus: Sequence[Any]) -> Estimate:
        return intervals.signed_interval(
            self.sums(plus) - self.sums(minus), self.clusters.sizes, confidence=self.confidence
        )

    def zero(self) -> Estimate:
        return Estimate(
            0.0,
            0.0,
            0.0,
            stderr=0.0,
            confidence=self.confidence,
            method="equal in both models",
            evaluations=int(self.clusters.sizes.sum()),
        )


def _effect(means: _Means, index: int, unit: Unit, leave_one_out: bool) -> Effect:
    # Without a module that is equal in both, the candidate is still itself.
    single, without = ("single", index), ("without", index) if unit.differs else "whole"
    infinite = means.infinite("whole") or (leave_one_out and means.infinite(without))
    return Effect(
        name=unit.name,
        layer=unit.layer,
        kind=unit.kind,
        weights=unit.weights,
        equal=not unit.differs,
        kl=means.of(single) if unit.differs else means.zero(),
        without=means.of(without) if leave_one_out else None,
        saved=means.difference(["whole"], [without]) if leave_one_out and not infinite else None,
    )
