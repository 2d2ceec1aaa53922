"""The charts with axes, as SVG that takes its colours from the page.

Matplotlib draws them; Plotly's script alone is as large as the whole page may be. Text stays text,
and each colour below stands for a variable of the style sheet, so that a chart follows the page
into the dark. Bars by group are rows of a table, and need no drawing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kullback.errors import MissingExtra
from kullback.report.html.breakdowns import Group, Histogram

__all__ = ["calibration_chart", "distribution_chart", "place_chart"]

_INK, _MUTED, _RULE, _P, _Q = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _RULE: "rule", _P: "reference", _Q: "candidate"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11.0,
    "text.color": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _RULE,
    "axes.linewidth": 0.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelsize": 11.0,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "ytick.left": False,
    "xtick.minor.visible": False,
    "mathtext.default": "regular",
    "axes.unicode_minus": True,
}
_PER_INCH = 72.0
_WIDTH, _HEIGHT = 350, 215


def distribution_chart(found: Histogram, percentiles: dict[str, float], name: str) -> str:
    """Shares of positions by KL; zeros and infinities have bars of their own beside the axis."""
    with _axes(name) as (axes, text):
        total = found.positions
        edges = np.log10(found.edges) if len(found.edges) else np.array([-1.0, 0.0])
        axes.bar(
            edges[:-1][: len(found.counts)],
            100 * found.counts / total,
            width=np.diff(edges)[: len(found.counts)],
            align="edge",
            color=_Q,
            edgecolor="none",
        )
        apart = _bars_apart(axes, found, edges)
        first, last = int(np.floor(edges[0])), int(np.ceil(edges[-1]))
        step = max(1, -(-(last - first) // 6))
        decades = list(range(first, last + 1, step))
        axes.set_xticks(
            [*decades, *(x for x, _ in apart)],
            [*map(_power, decades), *(label for _, label in apart)],
        )
        _percentile_lines(axes, percentiles)
        axes.set_xlabel("KL at a position, nats")
        axes.set_ylabel("positions, %")
    return text[0]


def place_chart(groups: Sequence[Group], name: str) -> str:
    """Mean KL by the position in the chunk, with intervals."""
    with _axes(name) as (axes, text):
        finite = [group for group in groups if np.isfinite(group.mean.value)]
        x = [group.at for group in finite]
        axes.plot(x, [g.mean.value for g in finite], color=_Q, linewidth=1.5, marker="o", ms=4)
        _whiskers(axes, x, finite, _Q)
        _from_zero(axes)
        axes.set_xlabel("position in the chunk, tokens")
        axes.set_ylabel("mean KL, nats")
    return text[0]


def calibration_chart(p: Sequence[Group], q: Sequence[Group], name: str) -> str:
    """How often the top token came next by the probability given to it, for both sides."""
    with _axes(name) as (axes, text):
        axes.plot([0, 100], [0, 100], color=_MUTED, linewidth=0.8, dashes=(4, 3))
        for groups, colour, marker, label in (
            (p, _P, "o", "reference"),
            (q, _Q, "s", "candidate"),
        ):
            x = [100 * group.at for group in groups]
            y = [100 * group.mean.value for group in groups]
            axes.plot(x, y, color=colour, linewidth=1.3, marker=marker, ms=4, label=label)
            _whiskers(axes, x, groups, colour, 100)
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 102)
        axes.set_xlabel("probability given to the top token, %")
        axes.set_ylabel("it came next, %")
        axes.legend(frameon=False, loc="upper left", labelcolor=_INK, handlelength=1.6)
    return text[0]


def _bars_apart(axes: Any, found: Histogram, edges: np.ndarray) -> list[tuple[float, str]]:
    span = edges[-1] - edges[0]
    width, total = 0.05 * span, found.positions
    apart = []
    for count, place, label in (
        (found.negative, edges[0] - 0.21 * span, "< 0"),
        (found.zeros, edges[0] - 0.1 * span, "0"),
        (found.infinite, edges[-1] + 0.1 * span, "∞"),
    ):
        if count:
            axes.bar([place], [100 * count / total], width=width, color=_MUTED, edgecolor="none")
            apart.append((float(place), label))
    return apart


def _percentile_lines(axes: Any, percentiles: dict[str, float]) -> None:
    top = axes.get_ylim()[1]
    axes.set_ylim(0, 1.08 * top)
    for key, label, side in (("p50", "50 %", -1), ("p99", "99 %", 1)):
        value = percentiles[key]
        if 0 < value < np.inf:
            x = np.log10(value)
            axes.plot([x, x], [0, 1.05 * top], color=_INK, linewidth=0.8)
            axes.annotate(
                label,
                (x, 1.05 * top),
                (4 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="top",
                color=_INK,
            )


def _whiskers(
    axes: Any, x: Sequence[float], groups: Sequence[Group], colour: str, scale: float = 1.0
) -> None:
    for at, group in zip(x, groups, strict=True):
        if np.isfinite(group.mean.low) and np.isfinite(group.mean.high):
            ends = [scale * group.mean.low, scale * group.mean.high]
            axes.plot([at, at], ends, color=colour, linewidth=1.0, alpha=0.7)


def _from_zero(axes: Any) -> None:
    axes.set_ylim(min(0.0, axes.get_ylim()[0]) if axes.get_ylim()[0] < 0 else 0.0)


def _power(exponent: int) -> str:
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10"}.get(exponent, f"10{digits}")


@contextmanager
def _axes(name: str) -> Iterator[tuple[Any, list[str]]]:
    """Empty axes, and a list that has the SVG once the block is left."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report") from error

    done: list[str] = []
    # Identifiers must differ between the charts of a page, and not between two runs.
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        size = (_WIDTH / _PER_INCH, _HEIGHT / _PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.locator_params(axis="y", nbins=5)
        yield axes, done
        file = io.StringIO()
        canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    done.append(_themed(file.getvalue(), name))


def _themed(svg: str, name: str) -> str:
    """The svg element alone, in the page's colours, font and width."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"(<svg [^>]*?) width=\"[^\"]*\"", r"\1", svg)
    svg = re.sub(r"(<svg [^>]*?) height=\"[^\"]*\"", r"\1", svg)
    # Matplotlib numbers its groups anew in every drawing, and a page has several.
    svg = re.sub(r"(<g) id=\"[^\"]*\"", r"\1", svg)
    return re.sub(r"\n\s*", "\n", svg).replace("<svg ", '<svg aria-hidden="true" ', 1)
