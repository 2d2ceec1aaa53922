"""Several candidates on the terminal: the least loss first, and what cannot be told apart."""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kullback.report.cells import cells, size
from kullback.report.layout import Fitting, table_of
from kullback.report.nouns import nouns_of
from kullback.report.printable import printable
from kullback.report.verdict import rule, verdict
from kullback.results import Comparison, Difference, Estimate, Ranking

__all__ = ["print_ranking", "render_ranking"]


def print_ranking(ranking: Ranking, console: Console, *, bits: bool = False) -> None:
    """Print the report of `ranking`, in nats or, with `bits`, in bits."""
    console.print(render_ranking(ranking, bits=bits))


def render_ranking(ranking: Ranking, *, bits: bool = False) -> RenderableType:
    """The report of `ranking` as a Rich renderable, in nats or bits."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    place = nouns_of(next(iter(ranking.comparisons.values())).unit).place
    return Group(
        Fitting(_candidates(ranking, unit, scale)),
        "",
        *(Text(f"• {_sentence(x, unit, scale, place)}") for x in ranking.differences),
        "",
        *(Text(f"• {note}") for note in _notes(ranking)),
    )


def _candidates(ranking: Ranking, unit: str, scale: float) -> Table:
    first = next(iter(ranking.comparisons.values()))
    nouns, labelled = nouns_of(first.unit), first.accuracy_candidate is not None
    where = nouns.count(first.positions)
    if first.clustered_by != "example":
        where += f" of {first.documents:,} document{'' if first.documents == 1 else 's'}"
    table = table_of(f"Candidates by KL(reference‖candidate), {unit} per {first.unit}, {where}")
    table.add_column("candidate", overflow="fold")
    for heading in ("KL", "interval", "same top", "accuracy" if labelled else "perpl. ×", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, comparison in ranking.comparisons.items():
        value, interval = cells(comparison.kl, scale)
        table.add_row(
            Text(printable(name)),
            value,
            Text(interval or "none"),
            _share(comparison.same_top),
            _share(comparison.accuracy_candidate) if labelled else _ratio(comparison),
            size(ranking.sizes.get(name)),
            verdict(comparison, comparison.floor).word,
        )
    return table


def _share(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{100 * estimate.value:.1f} %"


def _ratio(comparison: Comparison) -> str:
    ratio = comparison.perplexity_ratio
    return "–" if ratio is None else cells(ratio)[0]


def _sentence(difference: Difference, unit: str, scale: float, place: str) -> str:
    value, interval = cells(difference.kl, scale)
    less, more = printable(difference.less), printable(difference.more)
    if math.isnan(difference.kl.value):
        return f"{less} and {more}: {difference.kl.diagnosis}."
    if math.isinf(difference.kl.value):
        return f"{more} loses infinitely more than {less}."
    if difference.distinguishable:
        return f"{more} loses {value} {unit} {interval} more than {less}, {place} by {place}."
    if not interval:
        return f"{less} and {more}: {value} {unit}, and no interval: {difference.kl.diagnosis}."
    return f"{less} and {more} cannot be told apart: {value} {interval}."


def _notes(ranking: Ranking) -> list[str]:
    found = [note for comparison in ranking.comparisons.values() for note in comparison.notes]
    first = next(iter(ranking.comparisons.values()))
    made = (
        f"{100 * first.confidence:.6g} % intervals, clustered by {first.clustered_by}; differences "
        "are paired by it, each interval by itself."
    )
    judged = rule(floor=any(c.floor is not None for c in ranking.comparisons.values()))
    told = (printable(note[:1].upper() + note[1:].rstrip(".") + ".") for note in found)
    return [judged, *dict.fromkeys(told), made]
