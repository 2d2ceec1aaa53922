"""The battery's results as pictures, for the manual: a table of coverage and a chart of errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib

from sample_cells import CELLS
from sample_peers import available
from sample_runs import KNOWN, Blocks
from sample_tables import ASKED, FEW, Summaries, Summary, summaries

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

GOOD, LOW, FLAGGED = "#cfe8d5", "#f3c6c0", "#e6e6e6"
AT = 10_000
"""The n at which methods and peers stand side by side."""


def draw(blocks: Blocks, divergence: str, folder: Path) -> list[Path]:
    """The pictures that there are results for; the paths written."""
    matplotlib.rcParams["svg.hashsalt"] = "kullback"  # the same picture from the same results
    folder.mkdir(parents=True, exist_ok=True)
    found = summaries(blocks, divergence)
    written = []
    if any(method == "auto" for _, _, method in found):
        written.append(_coverage(found, folder / "samples_coverage.svg"))
    if any(n == AT for _, n, _ in found):
        written.append(_errors(found, divergence, folder / "samples_errors.svg"))
    return written


def _coverage(found: Summaries, path: Path) -> Path:
    """Cells down, `auto` at every n and then each method at one n across."""
    peers = available()
    columns = [("auto", n) for n in sorted({n for _, n, m in found if m == "auto"})]
    others = dict.fromkeys(m for _, n, m in found if n == AT and m not in ("auto", KNOWN, *peers))
    columns += [(method, AT) for method in others]
    cells = [cell for cell in CELLS if any(c == cell for c, _, _ in found)]
    size = (max(1.7 + 1.0 * len(columns), 6.4), 0.9 + 0.3 * len(cells))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    for x, (method, n) in enumerate(columns):
        for y, cell in enumerate(cells):
            _square(axis, x, y, found.get((cell, n, method)))
    labels = [f"{method.replace('_', ' ')}\nn = {n:,}" for method, n in columns]
    axis.set_xticks(range(len(columns)), labels, fontsize=8)
    axis.set_yticks(range(len(cells)), cells, fontsize=9)
    axis.xaxis.tick_top()
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(cells) - 0.5, -0.5))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    runs = [s.runs for (_, _, m), s in found.items() if m == "auto"]
    axis.set_xlabel(
        "share of unflagged 95 % intervals that hold the truth; below, the share flagged\n"
        f"green: at least {ASKED}; red: less; grey: fewer than {FEW} unflagged; "
        f"{min(runs)} seeds or more",
        fontsize=8,
    )
    return _saved(figure, path)


def _square(axis: Any, x: int, y: int, summary: Summary | None) -> None:
    if summary is None or not summary.runs:
        if summary is not None:
            axis.text(x, y, "refuses", ha="center", va="center", fontsize=7, color="0.5")
        return
    few = summary.intervals < FEW
    colour = FLAGGED if few else GOOD if summary.coverage >= ASKED else LOW
    axis.add_patch(Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, color=colour, linewidth=0))
    text = "–" if not summary.intervals else f"{summary.coverage:.2f}"
    share = f"{summary.flagged:.0%} flagged" if summary.flagged else ""
    if text == "–":
        axis.text(x, y, share, ha="center", va="center", fontsize=7)
        return
    axis.text(x, y - 0.12 * bool(share), text, ha="center", va="center", fontsize=9)
    axis.text(x, y + 0.27, share, ha="center", va="center", fontsize=6, color="0.25")


MARKERS = {"divergence": "s", "infomeasure": "^", "npeet": "D", "scipy": "v", "scikit": "P"}


def _errors(found: Summaries, divergence: str, path: Path) -> Path:
    """One line a cell: every contender's root-mean-square error at one n, on a log scale."""
    rows = {(cell, m): s for (cell, n, m), s in found.items() if n == AT and s.runs}
    cells = [cell for cell in CELLS if any(c == cell for c, _ in rows)]
    methods = list(dict.fromkeys(m for _, m in rows))
    figure, axis = plt.subplots(figsize=(8, 1.3 + 0.33 * len(cells)), layout="constrained")
    for method in sorted(methods, key=lambda m: m == "auto"):
        points = [
            (rows[cell, method].rmse, y)
            for y, cell in enumerate(cells)
            if (cell, method) in rows and 0 < rows[cell, method].rmse < math.inf
        ]
        if points:
            axis.plot(*zip(*points, strict=True), linestyle="none", **_look(method))
    for y in range(len(cells)):
        axis.axhline(y, color="0.9", linewidth=0.8, zorder=0)
    labels = [f"{cell}  ({CELLS[cell].truth[divergence]:.3g})" for cell in cells]
    axis.set_yticks(range(len(cells)), labels, fontsize=9)
    axis.set(xscale="log", ylim=(len(cells) - 0.5, -0.5))
    axis.set_xlabel(f"root-mean-square error of {divergence.upper()}, nats, n = {AT:,}")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _saved(figure, path)


def _look(method: str) -> dict[str, Any]:
    if method == KNOWN:
        look = {"marker": "|", "color": "black", "markersize": 11}
        return look | {"label": "densities known"}
    label = method.replace("_", " ")
    if method in available():
        marker = next((m for name, m in MARKERS.items() if method.startswith(name)), "o")
        shade = "0.75" if "kNN" in method else "0.5"
        return {"marker": marker, "color": shade, "markersize": 5, "label": label}
    if method == "auto":
        return {"marker": "o", "color": "tab:red", "markersize": 8, "label": "kullback, auto"}
    return {"marker": ".", "markersize": 9, "alpha": 0.8, "label": f"kullback, {label}"}


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
