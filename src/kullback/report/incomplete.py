"""A comparison of incomplete logs on the terminal: the certified interval first, then its parts."""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kullback.compare.incomplete import IncompleteComparison
from kullback.report.cells import cells, short
from kullback.report.layout import Fitting, table_of

__all__ = ["print_incomplete", "render_incomplete"]


def print_incomplete(
    comparison: IncompleteComparison, console: Console, *, bits: bool = False
) -> None:
    """Print the report of `comparison`, in nats or, with `bits`, in bits."""
    console.print(render_incomplete(comparison, bits=bits))


def render_incomplete(comparison: IncompleteComparison, *, bits: bool = False) -> RenderableType:
    """The report of `comparison` as a Rich renderable, in nats or bits."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    notes = [Text(f"• {note[:1].upper()}{note[1:].rstrip('.')}.") for note in comparison.notes]
    return Group(
        Text(_headline(comparison, unit, scale), style="bold"),
        "",
        Fitting(_parts(comparison, unit, scale)),
        "",
        *notes,
    )


def _headline(comparison: IncompleteComparison, unit: str, scale: float) -> str:
    low, high = (short(scale * end) for end in comparison.interval)
    found = (
        f"On {comparison.positions:,} positions of {comparison.documents:,} documents the "
        f"candidate loses between {low} and {high} {unit} per token"
    )
    if comparison.unbounded:
        return (
            f"{found}: at {comparison.unbounded:,} positions the logs leave open how little the "
            "candidate gives to what the reference allows, so nothing bounds the loss from above."
        )
    return f"{found}."


def _parts(comparison: IncompleteComparison, unit: str, scale: float) -> Table:
    table = table_of("Mean per position")
    table.add_column("", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column(f"{100 * comparison.confidence:.6g} % interval", no_wrap=True)
    for name, estimate, part, factor in (
        ("KL(reference‖candidate) at least", comparison.low, unit, scale),
        ("KL(reference‖candidate) at most", comparison.high, unit, scale),
        ("KL of what both list, at least", comparison.listed_low, unit, scale),
        ("KL of what both list, at most", comparison.listed_high, unit, scale),
        ("Mass the reference leaves out", comparison.rest_p, "%", 100.0),
        ("Mass the candidate leaves out", comparison.rest_q, "%", 100.0),
    ):
        value, interval = cells(estimate, factor)
        table.add_row(name, value, part, Text(interval))
    return table
