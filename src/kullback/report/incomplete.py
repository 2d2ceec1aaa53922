"""A comparison of incomplete logs on the terminal: the certified interval first, then its parts."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kullback.compare.incomplete import IncompleteComparison
from kullback.report.cells import cells, short
from kullback.report.layout import Fitting, table_of
from kullback.report.nouns import nouns_of
from kullback.report.printable import printable
from kullback.results import Estimate

__all__ = ["print_incomplete", "render_incomplete"]


def print_incomplete(
    comparison: IncompleteComparison, console: Console, *, bits: bool = False
) -> None:
    """Print the report of `comparison`, in nats or, with `bits`, in bits."""
    console.print(render_incomplete(comparison, bits=bits))


def render_incomplete(comparison: IncompleteComparison, *, bits: bool = False) -> RenderableType:
    """The report of `comparison` as a Rich renderable, in nats or bits."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    notes = [
        Text(f"• {printable(note[:1].upper() + note[1:].rstrip('.'))}.")
        for note in comparison.notes
    ]
    return Group(
        Text(printable(_headline(comparison, unit, scale)), style="bold"),
        "",
        Fitting(_parts(comparison, unit, scale)),
        "",
        *notes,
    )


def _headline(comparison: IncompleteComparison, unit: str, scale: float) -> str:
    where = (
        f"On {nouns_of('token').count(comparison.positions)} of {comparison.documents:,} document"
        f"{'' if comparison.documents == 1 else 's'} the"
    )
    if math.isinf(comparison.low.value):
        return f"{where} loss is infinite, whatever it is that the logs leave out."
    known = not math.isnan(comparison.interval[0])
    # Without an interval the certified ends still hold, for the mean over these positions.
    ends = comparison.interval if known else (comparison.low.value, comparison.high.value)
    low, high = _rounded(scale * ends[0], ROUND_FLOOR), _rounded(scale * ends[1], ROUND_CEILING)
    here = "" if known else f" here. {_unknown_elsewhere(comparison.low)}"
    if comparison.unbounded:
        return (
            f"{where} candidate loses at least {low} {unit} per token{here or '.'} How much it "
            f"loses at most is not known: {_open_above(comparison)}."
        )
    if not known:
        return f"{where} candidate loses between {low} and {high} {unit} per token{here}"
    return f"{where} candidate loses between {low} and {high} {unit} per token."


def _rounded(end: float, direction: str) -> str:
    """Three digits, and never inwards: a bound that is rounded has to stay one."""
    if not math.isfinite(end):
        return short(end)
    return f"{float(Context(prec=3, rounding=direction).create_decimal_from_float(end)):.3g}"


def _unknown_elsewhere(end: Estimate) -> str:
    why = f" ({end.diagnosis})" if end.diagnosis else ""
    return f"What it would lose on more text of this kind is not known{why}."


def _open_above(comparison: IncompleteComparison) -> str:
    count = comparison.unbounded
    return (
        f"at {nouns_of('token').count(count)} the logs leave open how little the candidate gives "
        "to what the reference allows, and nothing bounds the loss there from above"
    )


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
        bounded = math.isfinite(estimate.value)
        table.add_row(name, value, part, Text(interval or ("none" if bounded else "not bounded")))
    return table
