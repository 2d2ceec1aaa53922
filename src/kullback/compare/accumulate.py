"""From positions to a `Comparison`, without keeping the positions.

Every number of a `Comparison` is a function of sums over clusters of positions (means and
their intervals) or of a quantile sketch (percentiles). Both add, so positions are folded in
as they come and forgotten, and accumulators of parts of a text merge to that of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.compare import intervals
from kullback.compare.clusters import Clusters, ClusterTable
from kullback.compare.columns import CONFIDENCE_EDGES, position_columns, refuse_nan
from kullback.compare.groups import SliceTable, sliced, unseen_classes
from kullback.compare.notes import notes_of
from kullback.compare.positions import PositionBatch
from kullback.compare.sketch import QuantileSketch
from kullback.compare.slices import GROUP, LABEL, Slices
from kullback.errors import TextError
from kullback.results import PERCENTILES, Comparison, ConfidenceBin, Estimate

__all__ = ["Accumulator", "Worst", "clusters_of", "comparison_from"]

MIN_EFFECTIVE_DOCUMENTS = 5.0
"""Below this many documents (effectively: unequal lengths count for fewer) intervals cluster by
chunk. In `benchmarks/interval_coverage.py` fewer documents still cover, but no longer say much:
the median interval of the KL is 1.3 times the mean wide with 5 documents, 3 times with 3."""

INTERVAL_METHOD = (
    "delete-one-cluster jackknife, Student t on the effective number of clusters; "
    "on the log scale for quantities ≥ 0, Wilson for shares"
)


@dataclass(frozen=True, order=True)
class Worst:
    """Where the KL is largest; of equals the first. Ordered so that `max` finds it."""

    kl: float
    minus_chunk: int
    minus_position: int
    document: int


class Accumulator:
    """A mergeable fold of `PositionBatch`es.

    Memory is one row of about 40 numbers for each document, or for each of at most `max_rows`
    blocks of chunks if those are more, and the buckets of one sketch, whose percentiles of
    the KL have the given `relative_error`.
    """

    def __init__(self, *, max_rows: int = 4096, relative_error: float = 0.005) -> None:
        self.kl = QuantileSketch(relative_error)
        self.table = ClusterTable(max_rows)
        self.worst: Worst | None = None
        self.slices: dict[str, SliceTable] = {}

    @property
    def positions(self) -> int:
        """The number of positions seen."""
        return len(self.kl)

    def update(self, batch: PositionBatch) -> None:
        """Add the positions of `batch`.

        Raises `NonFiniteError` when a statistic is NaN, and `InputError` when the batch has
        other columns than those before it.
        """
        if not len(batch):
            return
        refuse_nan(batch)
        self.kl.update(batch.statistics["kl"])
        columns = position_columns(batch)
        self.table.update(batch.document, batch.chunk, columns)
        for name in (LABEL, GROUP):
            if name in batch.columns:
                which = batch.columns[name].astype(np.int64)
                table = self.slices.setdefault(name, SliceTable())
                table.update(which, batch.document, batch.chunk, columns)
        self._note_worst(_worst_of(batch))

    def merge(self, other: Accumulator) -> None:
        """Add all that `other` has seen; associative and commutative up to rounding of sums."""
        self.kl.merge(other.kl)
        self.table.merge(other.table)
        for name, table in other.slices.items():
            self.slices.setdefault(name, SliceTable()).merge(table)
        if other.worst is not None:
            self._note_worst(other.worst)

    def _note_worst(self, worst: Worst) -> None:
        self.worst = worst if self.worst is None else max(self.worst, worst)


def comparison_from(
    accumulator: Accumulator,
    *,
    convention: str,
    documents: Sequence[str] = (),
    slices: Slices | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    confidence: float = 0.95,
) -> Comparison:
    """The `Comparison` of everything that `accumulator` has seen.

    `documents` are the names of the documents, to which `PositionBatch.document` points; those
    without a position are named in a note. `slices` has the names of
    classes and groups. Intervals have the given `confidence` and cluster
    by document, or by chunk where there are too few documents, which a note then says.
    Raises `TextError` when no position was seen, `InputError` when `confidence` does not lie
    strictly between 0 and 1.
    """
    intervals.check_confidence(confidence)
    if not accumulator.positions:
        raise TextError("no position was scored: give more text, or fewer tokens of warmup")
    clusters, clustered_by = clusters_of(accumulator)
    told = slices or Slices()
    if told.independent and clustered_by == "chunk":
        clustered_by = "example"

    def positive(name: str) -> Estimate:
        infinite = clusters.count(f"{name}_infinite") if f"{name}_infinite" in clusters else 0
        return intervals.positive_interval(
            clusters[name], clusters.sizes, confidence=confidence, infinite=infinite
        )

    return Comparison(
        kl=positive("kl"),
        reverse_kl=positive("reverse_kl"),
        js=positive("js"),
        total_variation=positive("total_variation"),
        entropy_p=positive("entropy_p"),
        entropy_q=positive("entropy_q"),
        same_top=intervals.share_interval(
            clusters["same_top"], clusters.sizes, confidence=confidence
        ),
        **_token_means(clusters, confidence),
        percentiles={key: accumulator.kl.quantile(q) for key, q in PERCENTILES.items()},
        by_confidence=_confidence_bins(clusters, confidence),
        positions=accumulator.positions,
        infinite_positions=accumulator.kl.infinities,
        documents=len(accumulator.table.documents),
        chunks=accumulator.table.chunks,
        clustered_by=clustered_by,
        interval_method=INTERVAL_METHOD,
        confidence=confidence,
        convention=convention,
        provenance=dict(provenance or {}),
        columns={
            name.removeprefix("column:"): intervals.signed_interval(
                clusters[name], clusters.sizes, confidence=confidence
            )
            for name in accumulator.table.names
            if name.startswith("column:")
        },
        notes=(
            *notes,
            *notes_of(accumulator, clusters, clustered_by, documents, confidence),
            *unseen_classes(accumulator.slices, told),
        ),
        unit="example" if told.examples else "token",
        **sliced(accumulator.slices, told, clusters, clustered_by, confidence),
    )


def clusters_of(accumulator: Accumulator) -> tuple[Clusters, str]:
    """Sums over documents, or over chunks where the documents are too few; and which it is."""
    by_document = accumulator.table.by_document()
    if intervals.effective_clusters(by_document.sizes) >= MIN_EFFECTIVE_DOCUMENTS:
        return by_document, "document"
    return accumulator.table.by_chunk(), "chunk"


def _token_means(clusters: Clusters, confidence: float) -> dict[str, Estimate | None]:
    known = clusters["known"]
    if not known.any():
        names = ("delta_p", "delta_p_rms", "perplexity_reference", "perplexity_candidate")
        return dict.fromkeys((*names, "perplexity_ratio"))
    infinite_p = clusters.count("surprisal_p_infinite")
    infinite_q = clusters.count("surprisal_q_infinite")

    def perplexity(surprisal: str, infinite: int) -> Estimate:
        return intervals.exponential(
            intervals.positive_interval(
                clusters[surprisal], known, confidence=confidence, infinite=infinite
            )
        )

    ratio = intervals.exponential(
        intervals.signed_interval(
            clusters["surprisal_q"] - clusters["surprisal_p"],
            known,
            confidence=confidence,
            infinite=infinite_q,
        )
    )
    return {
        "delta_p": intervals.signed_interval(clusters["delta_p"], known, confidence=confidence),
        "delta_p_rms": intervals.square_root(
            intervals.positive_interval(clusters["delta_p_squared"], known, confidence=confidence)
        ),
        "perplexity_reference": perplexity("surprisal_p", infinite_p),
        "perplexity_candidate": perplexity("surprisal_q", infinite_q),
        # Over an infinite perplexity there is no ratio.
        "perplexity_ratio": None if infinite_p else ratio,
    }


def _confidence_bins(clusters: Clusters, confidence: float) -> tuple[ConfidenceBin, ...]:
    total = clusters["kl"].sum()
    has_shares = total > 0 and not clusters.count("kl_infinite")
    bins = []
    for index in range(len(CONFIDENCE_EDGES) - 1):
        sizes, kl = clusters[f"bin{index}:positions"], clusters[f"bin{index}:kl"]
        bins.append(
            ConfidenceBin(
                low=CONFIDENCE_EDGES[index],
                high=CONFIDENCE_EDGES[index + 1],
                positions=int(sizes.sum()),
                share=float(sizes.sum() / clusters.sizes.sum()),
                kl=intervals.positive_interval(
                    kl,
                    sizes,
                    confidence=confidence,
                    infinite=clusters.count(f"bin{index}:kl_infinite"),
                ),
                same_top=intervals.share_interval(
                    clusters[f"bin{index}:same_top"], sizes, confidence=confidence
                ),
                kl_share=float(kl.sum() / total) if has_shares else float("nan"),
            )
        )
    return tuple(bins)


def _worst_of(batch: PositionBatch) -> Worst:
    kl = batch.statistics["kl"]
    ties = np.flatnonzero(kl == kl.max())
    place = ties[np.lexsort((batch.position[ties], batch.chunk[ties]))[0]]
    return Worst(
        kl=float(kl[place]),
        minus_chunk=-int(batch.chunk[place]),
        minus_position=-int(batch.position[place]),
        document=int(batch.document[place]),
    )
