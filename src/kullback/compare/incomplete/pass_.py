"""The pass over the positions of two sides of which at least one is an incomplete log."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kullback.compare import intervals
from kullback.compare.accumulate import MIN_EFFECTIVE_DOCUMENTS
from kullback.compare.clusters import Clusters, ClusterTable
from kullback.compare.incomplete.bounds import Bounds, kl_bounds
from kullback.compare.incomplete.jsonl import Log, read_log
from kullback.compare.incomplete.knowledge import Knowledge
from kullback.compare.incomplete.result import IncompleteComparison
from kullback.compare.incomplete.sides import Position, from_logs, from_model
from kullback.compare.provenance import file_hash
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.errors import ComparisonError, InputError, TextError
from kullback.results import Estimate

__all__ = ["compare_incomplete"]

_CHUNK = 256  # positions that make a cluster where there are too few documents
_ROWS = 4096


def compare_incomplete(
    reference: Any,
    candidate: Any,
    *,
    vocabulary: int | None = None,
    rounding: float | None = None,
    floor: float = -math.inf,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> IncompleteComparison:
    """A certified interval of KL(reference‖candidate) from logs of top-k log-probabilities.

    Args:
        reference: a `.jsonl` file of server responses, what `read_log` made of one, or a model
            as `kullback.compare.compare` takes it.
        candidate: the same; at least one of the two is a log.
        vocabulary: how many events there are in all; a model says it itself.
        rounding: of the log-probabilities in the files, in nats; see `read_log`.
        floor: no event of the candidate that its log leaves out has a log-probability below
            this. Say it only if the server guarantees it; it makes upper ends finite.
        confidence: of the intervals of the means.
        progress: called as `progress(done, total)` with numbers of documents.
        options: `tokenizer`, `device` and `dtype` of the model.

    Raises:
        ComparisonError: the sides do not line up, or a file is damaged.
        InputError: an option is out of range, or no distribution fits a row.

    Example:
        >>> import json, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, logs in (("p", (-0.51082562, -1.6094379)), ("q", (-0.69314718, -1.6094379))):
        ...     row = dict(zip(("a", "b"), logs))
        ...     line = {"tokens": ["b", "a"], "top_logprobs": [None, row]}
        ...     _ = (folder / f"{name}.jsonl").write_text(json.dumps(line))
        >>> result = compare_incomplete(folder / "p.jsonl", folder / "q.jsonl")
        >>> f"{result.low.value:.3f} {result.high.value}"
        '0.028 inf'
    """
    intervals.check_confidence(confidence)
    if not floor <= 0:
        raise InputError(f"floor={floor} is no log-probability: it must not be above 0")
    if vocabulary is not None and vocabulary < 1:
        raise InputError(f"vocabulary={vocabulary}: there is at least one event")
    p, q = (_open(side, rounding, options) for side in (reference, candidate))
    documents, events = _positions(p, q, vocabulary)
    lengths = _lengths(p, q)
    table, unbounded, scored, skipped = ClusterTable(_ROWS), 0, 0, 0
    for number, positions in enumerate(documents):
        held = [replace(position.second, floor=floor) for position in positions]
        found = [
            _bounds(position.first, q_side, events, number, position.place)
            for position, q_side in zip(positions, held, strict=True)
        ]
        if found:
            _add(table, number, found)
        unbounded += sum(math.isinf(one.high) for one in found)
        scored += len(found)
        skipped += lengths[number] - len(found)
        if progress is not None:
            progress(number + 1, len(lengths))
    if not scored:
        raise TextError("no position has log-probabilities on both sides: nothing to compare")
    provenance = {
        "reference": _provenance(p),
        "candidate": _provenance(q),
        "vocabulary": events,
        "floor": None if math.isinf(floor) else floor,
    }
    return _result(table, unbounded, skipped, confidence, provenance)


def _open(side: Any, rounding: float | None, options: dict[str, Any]) -> Log | HuggingFaceModel:
    if isinstance(side, Log):
        return side
    if isinstance(side, (str, Path)) and Path(side).suffix == ".jsonl":
        return read_log(side, rounding=rounding)
    from kullback.compare.readers import open_source

    source = open_source(side, **options)
    if not isinstance(source, HuggingFaceModel):
        raise ComparisonError(
            f"{source.name!r} is a file of whole rows, whose tokens have no names in a log: give "
            "the model itself"
        )
    return source


def _positions(
    p: Log | HuggingFaceModel, q: Log | HuggingFaceModel, vocabulary: int | None
) -> tuple[Iterator[list[Position]], int | None]:
    if isinstance(p, Log) and isinstance(q, Log):
        return from_logs(p, q), vocabulary
    model = q if isinstance(p, Log) else p
    if isinstance(p, HuggingFaceModel) and isinstance(q, HuggingFaceModel):
        raise InputError(
            "neither side is a log of a server: kullback.compare.compare is for models"
        )
    assert isinstance(model, HuggingFaceModel)
    if vocabulary not in (None, model.events):
        raise InputError(
            f"vocabulary={vocabulary}, but {model.name!r} has {model.events} events: leave it out"
        )
    if isinstance(p, Log):
        return from_model(p, model), model.events
    assert isinstance(q, Log)
    swapped = (
        [Position(one.place, one.second, one.first) for one in positions]
        for positions in from_model(q, model)
    )
    return swapped, model.events


def _bounds(p: Knowledge, q: Knowledge, events: int | None, document: int, place: int) -> Bounds:
    try:
        return kl_bounds(p, q, vocabulary=events)
    except InputError as error:
        raise InputError(f"document {document}, token {place}: {error}") from None


def _lengths(p: Log | HuggingFaceModel, q: Log | HuggingFaceModel) -> list[int]:
    """How many tokens each document has."""
    log = p if isinstance(p, Log) else q
    assert isinstance(log, Log)
    return [len(document.rows) for document in log.documents]


def _add(table: ClusterTable, document: int, found: list[Bounds]) -> None:
    columns = {"positions": np.ones(len(found))}
    for name in Bounds._fields:
        values = np.array([getattr(one, name) for one in found])
        finite = np.isfinite(values)
        columns[name] = np.where(finite, values, 0.0)
        columns[f"{name}_infinite"] = (~finite).astype(np.float64)
    places = np.arange(len(found)) // _CHUNK
    table.update(np.full(len(found), document), places, columns)


def _result(
    table: ClusterTable,
    unbounded: int,
    skipped: int,
    confidence: float,
    provenance: dict[str, Any],
) -> IncompleteComparison:
    clusters, clustered_by = table.by_document(), "document"
    if intervals.effective_clusters(clusters.sizes) < MIN_EFFECTIVE_DOCUMENTS:
        clusters, clustered_by = table.by_chunk(), "chunk"
    means = {name: _mean(clusters, name, confidence) for name in Bounds._fields}
    positions = int(clusters.sizes.sum())
    notes = []
    if unbounded:
        notes.append(
            f"nothing bounds the KL from above at {unbounded:,} of {positions:,} positions: what "
            "the candidate's log leaves out may be as improbable as it likes"
        )
    if clustered_by == "chunk":
        notes.append(
            f"intervals are clustered by chunks of {_CHUNK} positions, since the documents are too "
            "few to tell how they differ"
        )
    return IncompleteComparison(
        low=means["low"],
        high=means["high"],
        listed_low=means["listed_low"],
        listed_high=means["listed_high"],
        rest_p=means["rest_p"],
        rest_q=means["rest_q"],
        positions=positions,
        unbounded=unbounded,
        skipped=skipped,
        documents=len(table.documents),
        clustered_by=clustered_by,
        confidence=confidence,
        provenance=provenance,
        notes=tuple(notes),
    )


def _mean(clusters: Clusters, name: str, confidence: float) -> Estimate:
    return intervals.positive_interval(
        clusters[name],
        clusters.sizes,
        confidence=confidence,
        infinite=clusters.count(f"{name}_infinite"),
    )


def _provenance(side: Log | HuggingFaceModel) -> dict[str, Any]:
    if isinstance(side, HuggingFaceModel):
        return side.provenance()
    known = {"sha256": file_hash(Path(side.name))} if Path(side.name).is_file() else {}
    return {"kind": "log of a server", "name": side.name, "rounding": side.rounding, **known}
