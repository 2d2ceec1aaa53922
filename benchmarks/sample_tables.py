"""What the rows of the battery say: summaries of blocks, and the tables printed of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from sample_cells import CELLS
from sample_peers import available
from sample_runs import KNOWN, Block, Blocks
from sample_times import NEIGHBOURS, Timing

NOMINAL, ASKED = 0.95, 0.93
FEW = 20
"""With fewer unflagged intervals than this a coverage says nothing, and is not held to anything."""


@dataclass(frozen=True)
class Summary:
    """A block against its truth.

    Attributes:
        runs: the estimates.
        refused: how often there was none.
        intervals: how many were given and not flagged.
        coverage: the share of those that hold the truth.
        flagged: the share of estimates not to be trusted.
        certified: of those, the share whose lower bound is no higher than the truth.
        rmse, bias: of the value, over all estimates, flagged or not.
        width: of the unflagged intervals, in the middle.
        seconds: of CPU, in the middle.
    """

    runs: int
    refused: int
    intervals: int
    coverage: float
    flagged: float
    certified: float
    rmse: float
    bias: float
    width: float
    seconds: float

    @classmethod
    def of(cls, block: Block, truth: float) -> Summary:
        rows = np.array([row[1:] for row in block.rows], dtype=float).reshape(-1, 5)
        value, low, high, trusted, seconds = rows.T
        good = trusted.astype(bool) & ~np.isnan(low)
        bad = ~trusted.astype(bool)
        off = value - truth
        return cls(
            runs=len(rows),
            refused=len(block.refused),
            intervals=int(good.sum()),
            coverage=_mean((low <= truth)[good] & (truth <= high)[good]),
            flagged=_mean(bad),
            certified=_mean((low <= truth)[bad & ~np.isnan(low)]),
            rmse=math.sqrt(_mean(off * off)) if len(rows) else math.nan,
            bias=_mean(off),
            width=float(np.median((high - low)[good])) if good.any() else math.nan,
            seconds=float(np.median(seconds)) if len(rows) else math.nan,
        )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


Summaries = dict[tuple[str, int, str], Summary]


def summaries(blocks: Blocks, divergence: str) -> Summaries:
    """By (cell, n, method)."""
    return {
        (cell, n, method): Summary.of(block, CELLS[cell].truth[divergence])
        for (of, cell, n, method), block in blocks.items()
        if of == divergence and (block.rows or block.refused)
    }


def _methods(found: Summaries, n: int) -> list[str]:
    """Ours, then the peers, then what the draws leave unsure; as they first appear."""
    names = list(dict.fromkeys(method for _, at, method in found if at == n))
    peers = available()
    return sorted(names, key=lambda name: (name == KNOWN, name in peers))


def error_table(blocks: Blocks, divergence: str, n: int) -> Table:
    """Root-mean-square errors with CPU seconds; the best of a row in bold."""
    found = summaries(blocks, divergence)
    methods = _methods(found, n)
    table = Table(title=f"{divergence}, n = {n:,}: RMSE (CPU seconds), ∞ where some answer was")
    for name in ("cell", "truth", *methods):
        table.add_column(name, justify="left" if name == "cell" else "right")
    for cell in CELLS:
        row = {m: found[cell, n, m] for m in methods if (cell, n, m) in found}
        if not row:
            continue
        contest = [s.rmse for m, s in row.items() if m != KNOWN and not math.isnan(s.rmse)]
        best = min(contest, default=math.nan)
        texts = [_error(row.get(m), best) for m in methods]
        table.add_row(cell, f"{CELLS[cell].truth[divergence]:.4g}", *texts)
    return table


def _error(summary: Summary | None, best: float) -> str:
    if summary is None:
        return ""
    if not summary.runs:
        return "refuses"
    text = "∞" if math.isinf(summary.rmse) else f"{summary.rmse:.4f}"
    some = f", {summary.refused} refused" if summary.refused else ""
    return f"{f'[bold]{text}[/]' if summary.rmse == best else text} ({summary.seconds:.2g}{some})"


def coverage_table(blocks: Blocks, divergence: str, n: int) -> Table:
    """Of what gives intervals: coverage of the unflagged, share flagged, bounds that hold."""
    found = summaries(blocks, divergence)
    peers = available()
    methods = [m for m in _methods(found, n) if m not in peers and m != KNOWN]
    table = Table(title=f"{divergence}, n = {n:,}: coverage of unflagged intervals; flagged; width")
    for name in ("cell", "runs", *methods):
        table.add_column(name, justify="left" if name == "cell" else "right")
    for cell in CELLS:
        row = {m: found[cell, n, m] for m in methods if (cell, n, m) in found}
        if row:
            runs = max(s.runs for s in row.values())
            table.add_row(cell, str(runs), *(_covered(row.get(m)) for m in methods))
    return table


def _covered(summary: Summary | None) -> str:
    if summary is None or not summary.runs:
        return "" if summary is None else "refuses"
    parts = []
    if summary.intervals:
        low = summary.intervals >= FEW and summary.coverage < ASKED
        text = f"{summary.coverage:.3f}"
        parts.append(f"[red]{text}[/]" if low else text)
    if summary.flagged:
        parts.append(f"{summary.flagged:.0%} flagged (bound {summary.certified:.2f})")
    if summary.intervals:
        parts.append(f"{summary.width:.2g}")
    return "; ".join(parts)


def targets_table(blocks: Blocks, divergence: str) -> Table:
    """What was to be reached, and whether it is: by every n that there is of it."""
    found = summaries(blocks, divergence)
    table = Table("to reach", "n", "worst", "met", title=f"{divergence}, auto")
    for n in sorted({n for _, n, _ in found}):
        at = {(cell, m): s for (cell, k, m), s in found.items() if k == n}
        for text, worst in (
            (f"coverage of unflagged ≥ {ASKED} in every cell", _coverage(at)),
            ("certified bounds ≥ .93 right in every cell", _certified(at)),
            ("RMSE ≤ the best single peer's in every cell", _against_peers(at)),
            ("RMSE ≤ ½ of the neighbours' in 5 and 10 dimensions", _against_neighbours(at)),
        ):
            if worst is not None:
                table.add_row(text, f"{n:,}", worst[1], "yes" if worst[0] else "[red]no[/]")
    return table


At = dict[tuple[str, str], Summary]
Verdict = tuple[bool, str] | None


def _auto(at: At) -> dict[str, Summary]:
    return {cell: s for (cell, method), s in at.items() if method == "auto" and s.runs}


def _lowest(shares: dict[str, float]) -> Verdict:
    if not shares:
        return None
    cell = min(shares, key=lambda name: shares[name])
    return shares[cell] >= ASKED, f"{shares[cell]:.3f} ({cell})"


def _coverage(at: At) -> Verdict:
    return _lowest({c: s.coverage for c, s in _auto(at).items() if s.intervals >= FEW})


def _certified(at: At) -> Verdict:
    return _lowest({c: s.certified for c, s in _auto(at).items() if s.flagged * s.runs >= FEW})


def _ratios(at: At, others: Iterable[str], cells: Iterable[str]) -> dict[str, float]:
    """RMSE of auto over the best of the others', where that is finite."""
    ratios, others = {}, set(others)
    for cell, ours in _auto(at).items():
        rivals = [s.rmse for (c, m), s in at.items() if c == cell and m in others and s.runs]
        if cell in cells and rivals and 0 < min(rivals) < math.inf:
            ratios[cell] = ours.rmse / min(rivals)
    return ratios


def _highest(ratios: dict[str, float], asked: float) -> Verdict:
    if not ratios:
        return None
    missed = {cell: ratio for cell, ratio in ratios.items() if not ratio <= asked}
    worst = max(ratios, key=lambda name: ratios[name])
    text = f"× {ratios[worst]:.2f} ({worst})"
    return not missed, text + (f"; {len(missed)} of {len(ratios)} cells above" if missed else "")


def _against_peers(at: At) -> Verdict:
    return _highest(_ratios(at, available(), CELLS), 1.0)


def _against_neighbours(at: At) -> Verdict:
    neighbours = [name for name in available() if "kNN" in name or name == "npeet-plus"]
    cells = ("gaussian 5d", "gaussian 10d")
    return _highest(_ratios(at, [*neighbours, NEIGHBOURS], cells), 0.5)


def times_table(timing: Timing) -> Table:
    verdict = "met" if timing.met else "[red]not met[/]"
    reached = f"{timing.target}: {timing.reached:.2f}, {verdict}"
    table = Table("", "best wall seconds", title=f"{timing.question}; {reached}")
    for name, seconds in timing.seconds.items():
        table.add_row(name, f"{seconds:.3g}")
    return table
