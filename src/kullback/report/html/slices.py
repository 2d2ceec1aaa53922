"""Classes and groups on the page: a row for each, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kullback.report.html.figures import ends, percent, value
from kullback.report.html.tokens import visible
from kullback.results import Comparison, Estimate, Slice

__all__ = ["SliceTable", "bytes_of", "slice_tables"]

MOST_ROWS = 50
_ROW_BYTES = 1400
"""Of a row whose name is as long as names are shown, and all of it escapes."""


@dataclass(frozen=True)
class SliceTable:
    """A table as words: in `rows` a name, and then pairs of a number and its interval or ""."""

    title: str
    note: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    left_out: str


def slice_tables(comparison: Comparison, places: str) -> list[SliceTable]:
    """By class and by group, as far as there are any; `places` is what positions are called."""
    tables = []
    for title, slices in (("By class", comparison.by_class), ("By group", comparison.by_group)):
        if slices:
            tables.append(_table(title, slices, places))
    return tables


def bytes_of(comparison: Comparison) -> int:
    """About how much of the page the tables take, at most."""
    rows = (min(len(part), MOST_ROWS) for part in (comparison.by_class, comparison.by_group))
    return _ROW_BYTES * sum(rows)


def _table(title: str, slices: Sequence[Slice], places: str) -> SliceTable:
    right = any(part.accuracy_p is not None for part in slices)
    heads = [title.removeprefix("By ").capitalize(), places.capitalize(), "KL, nats", "of all KL"]
    heads += ["same top"] + (["accuracy, reference", "accuracy, candidate"] if right else [])
    left = len(slices) - MOST_ROWS
    return SliceTable(
        title,
        "The largest part of the KL first.",
        heads,
        [(visible(part.name), _row(part, right)) for part in slices[:MOST_ROWS]],
        f"{left:,} more, with less of the KL, are in the JSON file." if left > 0 else "",
    )


def _row(part: Slice, right: bool) -> list[tuple[str, str]]:
    cells = [
        (f"{part.positions:,}", ""),
        (value(part.kl), ends(part.kl) or "no interval"),
        (percent(part.kl_share), ""),
        _share(part.same_top),
    ]
    return cells + ([_share(part.accuracy_p), _share(part.accuracy_q)] if right else [])


def _share(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    told = percent(estimate.value)
    low, high = (percent(end).removesuffix(" %") for end in (estimate.low, estimate.high))
    return told, f"[{low}, {high}]" if low != "–" else "no interval"
