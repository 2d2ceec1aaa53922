"""What the page says of one candidate: its numbers as words, its drawings, its payload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kullback.report.html import breakdowns, charts, words
from kullback.report.html.breakdowns import Group
from kullback.report.html.examples import worst_examples
from kullback.report.html.figures import ends, number, percent, value
from kullback.report.html.passages import Passage, worst_passages
from kullback.report.html.payload import packed_within
from kullback.report.html.positions import Positions
from kullback.report.html.slices import slice_tables
from kullback.report.html.tokens import KINDS, Vocabulary, kinds_of, visible
from kullback.report.nouns import nouns_of
from kullback.report.terminal import headline
from kullback.report.verdict import Verdict, verdict
from kullback.results import PERCENTILES, Comparison, Floor

__all__ = ["HEAT", "View", "view_of"]

HEAT = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Nats from which a token has the next colour."""
_DOCUMENTS = 24


@dataclass(frozen=True)
class View:
    """One candidate, ready for the template: `words` are escaped there, `drawings` are markup."""

    name: str
    comparison: Comparison
    verdict: Verdict
    headline: str
    payload: str
    limit: str
    words: Mapping[str, Any] = field(default_factory=dict)
    drawings: Mapping[str, str] = field(default_factory=dict)


def view_of(
    number_of: int,
    name: str,
    comparison: Comparison,
    positions: Positions,
    vocabulary: Vocabulary,
    floor: Floor | None,
    limit: int,
) -> View:
    """The view of the candidate `name`, whose payload has at most `limit` characters."""
    by, confidence = comparison.clustered_by, comparison.confidence
    nouns = nouns_of(comparison.unit)
    payload = packed_within(positions, vocabulary, limit)
    spread = breakdowns.histogram(positions["kl"])
    # Examples stand in no order, so that there is nothing before them to have read.
    places = [] if nouns.is_example else breakdowns.by_place(positions, by, confidence)
    sides = {side: breakdowns.calibration(positions, side, by, confidence) for side in "pq"}
    groups = {
        "by_confidence": _confidence(comparison),
        "by_kind": [] if nouns.is_example else _kinds(positions, vocabulary, by, confidence),
        "by_document": _documents(positions, confidence),
    }
    drawn = f"chart-{number_of}"
    return View(
        name=visible(name),
        comparison=comparison,
        verdict=verdict(comparison, floor),
        headline=headline(comparison),
        payload=payload.text,
        limit=words.limit_note(payload.positions, len(positions), nouns),
        words={
            "confidence": f"{100 * confidence:.6g} %",
            "summary": words.summary(comparison, nouns),
            "means": words.means(comparison, floor, nouns),
            "slices": slice_tables(comparison, nouns.places),
            "spread_note": words.spread_note(spread, nouns),
            "percentiles": [
                (words.percentile(key), number(comparison.percentiles[key])) for key in PERCENTILES
            ],
            **groups,
            "scales": {key: _scale(found) for key, found in groups.items()},
            "by_place": [
                (g.label, f"{g.positions:,}", value(g.mean), ends(g.mean)) for g in places
            ],
            "calibrated": bool(sides["p"]),
            "calibration_rows": words.calibration_rows(sides),
            "document_note": words.document_note(
                len(positions.documents), groups["by_document"], nouns
            ),
            **_worst(positions, vocabulary, payload.positions),
            "notes": words.notes(comparison, positions),
            "provenance": words.provenance(comparison.provenance),
        },
        drawings={
            "distribution": charts.distribution_chart(
                spread, dict(comparison.percentiles), f"{drawn}-spread", nouns
            ),
            "place": charts.place_chart(places, f"{drawn}-place") if places else "",
            "calibration": charts.calibration_chart(
                sides["p"], sides["q"], f"{drawn}-calibration", nouns
            ),
        },
    )


def _confidence(comparison: Comparison) -> list[Group]:
    return [
        Group(f"{part.low:g}–{part.high:g}", part.positions, part.kl, part.kl_share)
        for part in comparison.by_confidence
        if part.positions
    ]


def _kinds(positions: Positions, vocabulary: Vocabulary, by: str, confidence: float) -> list[Group]:
    known = positions["token"] >= 0
    if not known.any() or vocabulary.raw(int(positions["token"][known][0])) is None:
        return []
    kinds = kinds_of(positions["token"], positions.joined, vocabulary)
    return breakdowns.by_kind(positions, np.where(known, kinds, -1), KINDS, by, confidence)


def _documents(positions: Positions, confidence: float) -> list[Group]:
    """Those with the largest mean; none where all examples are of one file."""
    if positions.examples and len(positions.documents) == 1:
        return []
    return breakdowns.by_document(positions, confidence)[:_DOCUMENTS]


def _scale(groups: Sequence[Group]) -> float:
    """What a whole bar stands for: the largest mean, or its interval's end if not far beyond."""
    values = [g.mean.value for g in groups if math.isfinite(g.mean.value)]
    highs = [g.mean.high for g in groups if math.isfinite(g.mean.high)]
    largest = max(values, default=0.0)
    return max(largest, min(max(highs, default=0.0), 2 * largest))


def _worst(positions: Positions, vocabulary: Vocabulary, shown: int) -> dict[str, Any]:
    """The worst passages of a text, or the worst examples of a classifier."""
    if positions.examples:
        found = worst_examples(positions, vocabulary, shown)
        return {"examples": found, "passages": [], "passage_share": ""}
    return {"examples": [], **_passages(positions, vocabulary, shown)}


def _passages(positions: Positions, vocabulary: Vocabulary, shown: int) -> dict[str, Any]:
    found = worst_passages(positions)
    total = float(positions["kl"].sum())
    part = sum(passage.kl for passage in found)
    share = percent(part / total) if 0 < total < math.inf else "an infinite part"
    return {
        "passage_share": f"{share} of all KL",
        "passages": [_passage(positions, vocabulary, passage, shown) for passage in found],
    }


def _passage(
    positions: Positions, vocabulary: Vocabulary, passage: Passage, shown: int
) -> dict[str, Any]:
    def text(first: int, end: int) -> list[str]:
        return [vocabulary.shown(int(t)).replace("\n", "") for t in positions["token"][first:end]]

    rows = range(passage.first, passage.end)
    levels = np.searchsorted(HEAT, positions["kl"][passage.first : passage.end], side="right")
    document = positions.documents[int(positions["document_index"][passage.first])]
    return {
        "first": passage.first,
        "linked": passage.first < shown,
        "document": document,
        "kl": passage.kl,
        "before": "".join(text(passage.before, passage.first)),
        "after": "".join(text(passage.end, passage.after)),
        "tokens": [
            {"text": shown_text, "look": _look(positions, row, int(level))}
            for shown_text, row, level in zip(
                text(passage.first, passage.end), rows, levels, strict=True
            )
        ],
    }


def _look(positions: Positions, row: int, level: int) -> str:
    names = [f"h{level}"] if level else []
    if positions["top_p"][row] != positions["top_q"][row]:
        names.append("swap")
    if np.isinf(positions["kl"][row]):
        names.append("infinite")
    return " ".join(names)
