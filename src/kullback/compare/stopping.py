"""Reading documents in random order until the mean KL is known to the precision asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kullback.compare.accumulate import Accumulator
from kullback.compare.precision import Precision
from kullback.compare.sequences import FIRST_ANSWER, sequence_interval
from kullback.compare.windows import Window, Windows
from kullback.errors import InputError, TextError
from kullback.results import Comparison, Estimate

__all__ = ["Stopping", "shuffled"]


@dataclass(frozen=True)
class Stopping:
    """When a comparison knows enough, of every candidate that `candidates` names."""

    precision: Precision
    confidence: float
    candidates: tuple[str, ...] = ()

    def reached(self, found: Mapping[str, Accumulator], documents: Sequence[int]) -> bool:
        """Whether the first `documents` of the order, all of them whole, are enough."""
        return all(
            self.precision.reached(self.interval(found[name], documents))
            for name in self.candidates
        )

    def interval(self, accumulator: Accumulator, documents: Sequence[int]) -> Estimate:
        """The KL of `documents`, with an interval that allows for looking after each."""
        clusters = accumulator.table.by_document()
        mine = np.isin(accumulator.table.documents, np.asarray(documents))
        return sequence_interval(
            clusters["kl"][mine],
            clusters.sizes[mine],
            confidence=self.confidence,
            infinite=int(clusters["kl_infinite"][mine].sum()),
        )

    def told(self, comparison: Comparison, accumulator: Accumulator) -> Comparison:
        """The comparison with the interval that the stopping was judged by, and the judgement."""
        documents = accumulator.table.documents.tolist()
        kl = self.interval(accumulator, documents)
        reached = self.precision.reached(kl)
        if math.isnan(kl.low):
            return replace(comparison, precision_reached=reached)
        ended = (
            f"reading stopped when the interval of the KL was at most {self.precision} wide"
            if reached
            else f"the text ended before the interval of the KL was {self.precision} wide"
        )
        note = f"{ended}; it allows for looking after every document, the others do not"
        # Documents that were not read are not such as gave nothing to read.
        notes = [x for x in comparison.notes if "gave no position to score" not in x]
        return replace(comparison, kl=kl, notes=(*notes, note), precision_reached=reached)


def shuffled(windows: Windows, seed: int) -> Windows:
    """The same windows, document after document, the documents in random order.

    Raises `TextError` where there are too few documents for any answer, and `InputError` where
    the text is not known by its documents.
    """
    if not windows.known_documents:
        raise InputError(
            "a precision is reached document by document, and this text is one stream: leave out "
            "precision, or compare by documents and without as_llama_cpp"
        )
    by_document: dict[int, list[Window]] = {}
    for window in windows.items:
        by_document.setdefault(window.document, []).append(window)
    if len(by_document) < FIRST_ANSWER:
        raise TextError(
            f"a precision needs {FIRST_ANSWER:.0f} documents before it can be judged, and here are "
            f"{len(by_document)}: split the text with documents='paragraphs' or 'jsonl', or leave "
            "out precision"
        )
    order = np.random.default_rng(seed).permutation(sorted(by_document)).tolist()
    return replace(windows, items=[window for name in order for window in by_document[name]])
