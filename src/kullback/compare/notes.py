"""What a reader of a comparison's numbers has to know, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kullback.compare import intervals
from kullback.compare.clusters import Clusters
from kullback.compare.slices import LABEL

if TYPE_CHECKING:
    from kullback.compare.accumulate import Accumulator
    from kullback.results import Comparison

__all__ = ["notes_of", "with_names"]


def notes_of(
    accumulator: Accumulator,
    clusters: Clusters,
    clustered_by: str,
    documents: Sequence[str],
    confidence: float,
) -> list[str]:
    """On clusters, documents without a position, unknown tokens and infinities, where there are."""
    notes = []
    place = "example" if LABEL in accumulator.slices else "position"
    scored = accumulator.table.documents
    if clustered_by == "chunk":
        effective = intervals.effective_clusters(accumulator.table.by_document().sizes)
        few = (
            "one document is"
            if len(scored) == 1
            else f"{len(scored)} documents, which weigh like {effective:.1f} equally long ones, are"
        )
        notes.append(
            f"Intervals are clustered by chunk, since {few} too few to tell how documents differ: "
            "they hold for more text of the same documents, not for others."
        )
    present = set(scored.tolist())
    left_out = [name for index, name in enumerate(documents) if index not in present]
    if left_out:
        names = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
        notes.append(
            f"{len(left_out)} of {len(documents)} documents gave no {place} to score: {names}."
        )
    unknown = accumulator.positions - clusters.count("known")
    if unknown:
        rest = "are not given" if unknown == accumulator.positions else "leave them out"
        labelled = LABEL in accumulator.slices
        notes.append(
            f"The {'label' if labelled else 'next token'} is unknown at {unknown:,} of "
            f"{accumulator.positions:,} {place}s: {'accuracies, ' if labelled else ''}"
            f"perplexities and Δp {rest}."
        )
    infinite = accumulator.kl.infinities
    if infinite:
        notes.append(_infinite_note(accumulator, clusters, documents, confidence, place))
    return notes


def with_names(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The same comparisons; a note that is not true of all of them says whose it is."""
    whose: dict[str, list[str]] = {}
    for name, comparison in comparisons.items():
        for note in dict.fromkeys(comparison.notes):
            whose.setdefault(note, []).append(name)
    told = {
        note: note if len(names) == len(comparisons) else f"For {', '.join(names)}: {note}"
        for note, names in whose.items()
    }
    return {
        name: replace(comparison, notes=tuple(told[note] for note in comparison.notes))
        for name, comparison in comparisons.items()
    }


def _infinite_note(
    accumulator: Accumulator,
    clusters: Clusters,
    documents: Sequence[str],
    confidence: float,
    place: str,
) -> str:
    infinite, worst = accumulator.kl.infinities, accumulator.worst
    assert worst is not None
    name = documents[worst.document] if worst.document < len(documents) else str(worst.document)
    finite = intervals.positive_interval(
        clusters["kl"], clusters.sizes - clusters["kl_infinite"], confidence=confidence
    )
    return (
        f"KL is infinite at {infinite:,} of {accumulator.positions:,} {place}s "
        f"({infinite / accumulator.positions:.2%}), where the candidate gives no probability to "
        f"what the reference allows; the first is {place} {-worst.minus_position} of chunk "
        f"{-worst.minus_chunk} in document {name}. Over the others the mean is {finite} nats."
    )
