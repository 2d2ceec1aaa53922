"""Several candidates on the terminal: the least loss first, and what cannot be told apart."""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kullback.report.cells import cells, size
from kullback.report.layout import Fitting, table_of
from kullback.results import Difference, Ranking

__all__ = ["print_ranking", "render_ranking"]


def print_ranking(ranking: Ranking, console: Console, *, bits: bool = False) -> None:
    """Print the report of `ranking`, in nats or, with `bits`, in bits."""
    console.print(render_ranking(ranking, bits=bits))


def render_ranking(ranking: Ranking, *, bits: bool = False) -> RenderableType:
    """The report of `ranking` as a Rich renderable, in nats or bits."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    return Group(
        Fitting(_candidates(ranking, unit, scale)),
        "",
        *(Text(f"• {_sentence(x, unit, scale)}") for x in ranking.differences),
        "",
        *(Text(f"• {note}") for note in _notes(ranking)),
    )


def _candidates(ranking: Ranking, unit: str, scale: float) -> Table:
    first = next(iter(ranking.comparisons.values()))
    kind = "examples" if first.unit == "example" else "positions"
    table = table_of(
        f"Candidates by KL(reference‖candidate), {unit} per {first.unit}, "
        f"{first.positions:,} {kind} of {first.documents:,} document"
        f"{'' if first.documents == 1 else 's'}"
    )
    table.add_column("candidate", overflow="fold")
    for heading in ("KL", "interval", "same top", "perplexity ×", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, comparison in ranking.comparisons.items():
        value, interval = cells(comparison.kl, scale)
        ratio = comparison.perplexity_ratio
        table.add_row(
            Text(name),
            value,
            Text(interval),
            f"{100 * comparison.same_top.value:.1f} %",
            "–" if ratio is None else cells(ratio)[0],
            size(ranking.sizes.get(name)),
        )
    return table


def _sentence(difference: Difference, unit: str, scale: float) -> str:
    value, interval = cells(difference.kl, scale)
    if math.isnan(difference.kl.value):
        return f"{difference.less} and {difference.more}: {difference.kl.diagnosis}."
    if math.isinf(difference.kl.value):
        return f"{difference.more} loses infinitely more than {difference.less}."
    if difference.distinguishable:
        return (
            f"{difference.more} loses {value} {unit} {interval} more than {difference.less}, "
            "position by position."
        )
    return f"{difference.less} and {difference.more} cannot be told apart: {value} {interval}."


def _notes(ranking: Ranking) -> list[str]:
    found = [note for comparison in ranking.comparisons.values() for note in comparison.notes]
    first = next(iter(ranking.comparisons.values()))
    made = (
        f"{100 * first.confidence:.6g} % intervals, clustered by {first.clustered_by}; differences "
        "are paired by it, each interval by itself."
    )
    return [*dict.fromkeys(found), made]
