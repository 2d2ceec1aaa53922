"""A comparison on the terminal: one sentence that answers, then the tables behind it.

Every mean stands beside its interval. Nothing depends on colour, so that a pipe or a log file
says the same as the screen, and everything fits 80 columns; on fewer, rows wrap between words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from kullback.report.cells import cells, short
from kullback.report.layout import Fitting, table_of
from kullback.report.nouns import nouns_of
from kullback.report.printable import printable
from kullback.report.slices import accuracy_sentence, slice_tables
from kullback.report.verdict import verdict
from kullback.results import Comparison, ConfidenceBin, Estimate

__all__ = ["headline", "print_comparison", "progress_bar", "render"]

_PERCENTILE_TITLES = {
    "min": "min",
    "p1": "1 %",
    "p5": "5 %",
    "p10": "10 %",
    "p50": "50 %",
    "p90": "90 %",
    "p95": "95 %",
    "p99": "99 %",
    "p99_9": "99.9 %",
    "max": "max",
}


def print_comparison(comparison: Comparison, console: Console, *, bits: bool = False) -> None:
    """Print the report of `comparison`, in nats or, with `bits`, in bits."""
    console.print(render(comparison, bits=bits))


def render(comparison: Comparison, *, bits: bool = False) -> RenderableType:
    """The report of `comparison` as a Rich renderable, in nats or bits."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    parts: list[RenderableType] = [
        Text(headline(comparison, bits=bits), style="bold"),
        *_verdict(comparison),
        "",
        Fitting(_means(comparison, unit, scale)),
        "",
        Fitting(_percentiles(comparison, unit, scale)),
        "",
        Fitting(_by_confidence(comparison, unit, scale)),
        *slice_tables(comparison, unit, scale),
        "",
        _notes(comparison),
    ]
    return Group(*parts)


def _verdict(comparison: Comparison) -> list[Text]:
    """What the noise floor says, where one was measured."""
    if comparison.floor is None:
        return []
    found = verdict(comparison, comparison.floor)
    return [Text(f"{found.title}. {found.reason}")]


def headline(comparison: Comparison, *, bits: bool = False) -> str:
    """The answer in a sentence or two: on what, how much is lost, and how sure we are."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    nouns = nouns_of(comparison.unit)
    where = f"On {nouns.count(comparison.positions)}"
    if comparison.clustered_by != "example":
        where += f" of {_count(comparison.documents, 'document')}"
    kl = comparison.kl
    if comparison.infinite_positions:
        return (
            f"{where} the loss is infinite: at {comparison.infinite_positions:,} of them the "
            "candidate gives no probability to what the reference allows."
        )
    if kl.value == 0 and comparison.percentiles["max"] == 0:
        return f"{where} the candidate loses nothing: KL is exactly 0 at every one."
    value, interval = cells(kl, scale)
    loss = f"{where} the candidate loses {value} {unit} per {comparison.unit} "
    loss += f"{interval or '(no interval)'}."
    share, share_interval = cells(comparison.same_top, 100)
    top = f"Its top {nouns.event} is the reference's at {share} % of them {share_interval}".rstrip()
    if comparison.accuracy_difference is not None:
        return f"{loss} {top}. {accuracy_sentence(comparison)}"
    ratio = comparison.perplexity_ratio
    if ratio is None:
        return f"{loss} {top}."
    times, times_interval = cells(ratio)
    return (
        f"{loss} {top}, and its perplexity is {times} times as high {times_interval}".rstrip() + "."
    )


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left; gives the `progress(done, total)` that `compare` calls.

    Draws nothing where `console` is not a terminal.
    """
    columns = (
        TextColumn("comparing"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("positions"),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def _means(comparison: Comparison, unit: str, scale: float) -> Table:
    nouns = nouns_of(comparison.unit)
    accuracies: list[tuple[str, Estimate | None, float, str, int]] = [
        ("Accuracy of the reference", comparison.accuracy_reference, 100.0, "%", 5),
        ("Accuracy of the candidate", comparison.accuracy_candidate, 100.0, "%", 5),
        ("Accuracy, difference, paired", comparison.accuracy_difference, 100.0, "%", 3),
    ]
    # Perplexities and shares are looked up against other tools, which print five digits.
    rows: list[tuple[str, Estimate | None, float, str, int]] = [
        ("KL(reference‖candidate)", comparison.kl, scale, unit, 3),
        ("KL(candidate‖reference)", comparison.reverse_kl, scale, unit, 3),
        ("Jensen-Shannon divergence", comparison.js, scale, unit, 3),
        ("Total variation", comparison.total_variation, 1.0, "", 3),
        (f"Same top {nouns.event}", comparison.same_top, 100.0, "%", 5),
        *(accuracies if nouns.is_example else ()),
        (f"Δp of the {nouns.truth}, mean", comparison.delta_p, 100.0, "%", 3),
        (f"Δp of the {nouns.truth}, RMS", comparison.delta_p_rms, 100.0, "%", 4),
        ("Perplexity of the reference", comparison.perplexity_reference, 1.0, "", 5),
        ("Perplexity of the candidate", comparison.perplexity_candidate, 1.0, "", 5),
        ("Perplexity ratio, paired", comparison.perplexity_ratio, 1.0, "", 5),
        ("Entropy of the reference", comparison.entropy_p, scale, unit, 3),
        ("Entropy of the candidate", comparison.entropy_q, scale, unit, 3),
        *(
            ()
            if comparison.floor is None
            else (
                ("Noise floor, KL", comparison.floor.kl, scale, unit, 3),
                ("KL less the noise floor", comparison.floor.difference, scale, unit, 3),
            )
        ),
        *(
            (escape(printable(name.replace("_", " "))), value, 1.0, "", 3)
            for name, value in comparison.columns.items()
        ),
    ]
    table = table_of(f"Mean per {nouns.place}")
    table.add_column("", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(f"{_percent(comparison.confidence)} interval", no_wrap=True)
    for name, estimate, factor, suffix, digits in rows:
        if estimate is None:
            table.add_row(name, "–", "", f"{nouns.truth} unknown")
            continue
        value, interval = cells(estimate, factor, digits)
        mark = "" if estimate.trusted or not interval else " ?"
        absent = "none" if math.isfinite(estimate.value) else "see below"
        table.add_row(name, value, suffix, escape(interval or absent) + mark)
    return table


def _percentiles(comparison: Comparison, unit: str, scale: float) -> Table:
    # Ten columns of seven characters fit 80 only without padding beside the divider.
    table = table_of(
        f"Percentiles of the KL over {nouns_of(comparison.unit).places}, {unit}", padding=0
    )
    for title in _PERCENTILE_TITLES.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row(*(short(comparison.percentiles[key] * scale) for key in _PERCENTILE_TITLES))
    return table


def _by_confidence(comparison: Comparison, unit: str, scale: float) -> Table:
    table = table_of("By the reference's top probability")
    table.add_column("from–to", no_wrap=True)
    table.add_column(nouns_of(comparison.unit).places, justify="right", no_wrap=True)
    table.add_column(f"KL, {unit}", justify="right", no_wrap=True)
    table.add_column(f"{_percent(comparison.confidence)} interval", no_wrap=True)
    table.add_column("same top", justify="right", no_wrap=True)
    table.add_column("of all KL", justify="right", no_wrap=True)
    for part in comparison.by_confidence:
        table.add_row(*_confidence_row(part, scale))
    return table


def _confidence_row(part: ConfidenceBin, scale: float) -> tuple[str, ...]:
    name = f"{part.low:g}–{part.high:g}"
    if not part.positions:
        return name, "0.0 %", "–", "", "–", "–"
    value, interval = cells(part.kl, scale)
    return (
        name,
        f"{part.share:.1%}".replace("%", " %"),
        value,
        escape(interval or "none"),
        f"{100 * part.same_top.value:.1f} %",
        "–" if math.isnan(part.kl_share) else f"{100 * part.kl_share:.1f} %",
    )


def _diagnoses(comparison: Comparison) -> list[str]:
    """Why an interval of the main table bears a question mark or is missing, each reason once."""
    estimates = {
        f"Same top {nouns_of(comparison.unit).event}": comparison.same_top,
        "KL": comparison.kl,
        "Perplexity of the reference": comparison.perplexity_reference,
        "Perplexity of the candidate": comparison.perplexity_candidate,
    }
    reasons: dict[str, str] = {}
    for name, estimate in estimates.items():
        if estimate is not None and estimate.diagnosis:
            reasons.setdefault(estimate.diagnosis, name)
    if comparison.infinite_positions:
        reasons.pop(comparison.kl.diagnosis, None)
    return [f"{name}: {reason}." for reason, name in reasons.items()]


def _notes(comparison: Comparison) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for note in (
        *comparison.notes,
        *_diagnoses(comparison),
        f"{_percent(comparison.confidence)} intervals, clustered by {comparison.clustered_by}: "
        f"{comparison.interval_method}.",
        f"Convention: {comparison.convention}.",
    ):
        grid.add_row("•", Text(printable(_sentence(note))))
    return grid


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:].rstrip(".") + "."


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.6g} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
