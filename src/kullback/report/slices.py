"""Classes and groups on the terminal: where a classifier's candidate loses what it loses.

Names come from files, and stand on the screen as `printable` writes them.
"""

from __future__ import annotations

import math

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kullback.report.cells import cells
from kullback.report.layout import Fitting, table_of
from kullback.report.printable import printable
from kullback.results import Comparison, Estimate, Slice

__all__ = ["accuracy_sentence", "slice_tables"]

_MOST_ROWS = 20
_WIDEST_NAME = 16


def accuracy_sentence(comparison: Comparison) -> str:
    """Both accuracies, and the paired difference in points."""
    difference, p, q = (
        comparison.accuracy_difference,
        comparison.accuracy_reference,
        comparison.accuracy_candidate,
    )
    assert difference is not None
    assert p is not None
    assert q is not None
    points, interval = cells(difference, 100)
    sign = "+" if difference.value > 0 else ""
    return (
        f"Its accuracy is {100 * q.value:.4g} %, the reference's {100 * p.value:.4g} %: "
        f"{sign}{points} points {interval or '(no interval)'}."
    )


def slice_tables(comparison: Comparison, unit: str, scale: float) -> list[RenderableType]:
    """A table by class and one by group, as far as there are any, each after an empty line."""
    parts: list[RenderableType] = []
    for title, key, slices in (
        ("By class", "by_class", comparison.by_class),
        ("By group", "by_group", comparison.by_group),
    ):
        if not slices:
            continue
        parts += ["", Fitting(_table(title, slices[:_MOST_ROWS], comparison, unit, scale))]
        left = len(slices) - _MOST_ROWS
        if left > 0:
            parts.append(Text(f"{left:,} more with less of the KL are in the JSON file: {key}."))
    return parts


def _table(
    title: str, slices: tuple[Slice, ...], comparison: Comparison, unit: str, scale: float
) -> Table:
    right = any(part.accuracy_p is not None for part in slices)
    sides = "; P is the reference, Q the candidate" if right else ""
    table = table_of(f"{title}, the largest part of the KL first{sides}")
    table.add_column(title.removeprefix("By "), no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column(f"KL, {unit}", justify="right", no_wrap=True)
    table.add_column(f"{100 * comparison.confidence:.6g} % interval", no_wrap=True)
    table.add_column("of KL", justify="right", no_wrap=True)
    table.add_column("same top", justify="right", no_wrap=True)
    if right:
        table.add_column("acc. P", justify="right", no_wrap=True)
        table.add_column("acc. Q", justify="right", no_wrap=True)
    for part in slices:
        value, interval = cells(part.kl, scale)
        row = [escape(_cut(printable(part.name))), f"{part.positions:,}", value]
        row += [escape(interval or "none"), _percent(part.kl_share), _share(part.same_top)]
        table.add_row(*row, *((_share(part.accuracy_p), _share(part.accuracy_q)) if right else ()))
    return table


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[: _WIDEST_NAME - 1]}…"


def _share(estimate: Estimate | None) -> str:
    return "–" if estimate is None else _percent(estimate.value)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"
