"""The charts of one candidate that have axes. Bars by group are rows of a table, and need none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kullback.report.html.breakdowns import Group, Histogram
from kullback.report.html.drawing import INK, MUTED, P, Q, axes_of, power
from kullback.report.nouns import Nouns

__all__ = ["calibration_chart", "distribution_chart", "place_chart"]


def distribution_chart(
    found: Histogram, percentiles: dict[str, float], name: str, nouns: Nouns
) -> str:
    """Shares of positions by KL; zeros and infinities have bars of their own beside the axis."""
    with axes_of(name) as (axes, text):
        total = found.positions
        edges = np.log10(found.edges) if len(found.edges) else np.array([-1.0, 0.0])
        axes.bar(
            edges[:-1][: len(found.counts)],
            100 * found.counts / total,
            width=np.diff(edges)[: len(found.counts)],
            align="edge",
            color=Q,
            edgecolor="none",
        )
        apart = _bars_apart(axes, found, edges)
        first, last = int(np.floor(edges[0])), int(np.ceil(edges[-1]))
        step = max(1, -(-(last - first) // 6))
        decades = list(range(first, last + 1, step))
        axes.set_xticks(
            [*decades, *(x for x, _ in apart)],
            [*map(power, decades), *(label for _, label in apart)],
        )
        _percentile_lines(axes, percentiles)
        axes.set_xlabel(f"KL per {nouns.place}, nats")
        axes.set_ylabel(f"{nouns.places}, %")
    return text[0]


def place_chart(groups: Sequence[Group], name: str) -> str:
    """Mean KL by the position in the chunk, with intervals."""
    with axes_of(name) as (axes, text):
        finite = [group for group in groups if np.isfinite(group.mean.value)]
        x = [group.at for group in finite]
        axes.plot(x, [g.mean.value for g in finite], color=Q, linewidth=1.5, marker="o", ms=4)
        _whiskers(axes, x, finite, Q)
        _from_zero(axes)
        axes.set_xlabel("position in the chunk, tokens")
        axes.set_ylabel("mean KL, nats")
    return text[0]


def calibration_chart(p: Sequence[Group], q: Sequence[Group], name: str, nouns: Nouns) -> str:
    """How often the top event was the one that came, by the probability it was given."""
    with axes_of(name) as (axes, text):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, dashes=(4, 3))
        for groups, colour, marker, label in (
            (p, P, "o", "reference"),
            (q, Q, "s", "candidate"),
        ):
            x = [100 * group.at for group in groups]
            y = [100 * group.mean.value for group in groups]
            axes.plot(x, y, color=colour, linewidth=1.3, marker=marker, ms=4, label=label)
            _whiskers(axes, x, groups, colour, 100)
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 102)
        axes.set_xlabel(f"probability given to the top {nouns.event}, %")
        axes.set_ylabel(f"it is the {nouns.truth}, %" if nouns.is_example else "it came next, %")
        axes.legend(frameon=False, loc="upper left", labelcolor=INK, handlelength=1.6)
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
            axes.bar([place], [100 * count / total], width=width, color=MUTED, edgecolor="none")
            apart.append((float(place), label))
    return apart


def _percentile_lines(axes: Any, percentiles: dict[str, float]) -> None:
    top = axes.get_ylim()[1]
    axes.set_ylim(0, 1.08 * top)
    for key, label, side in (("p50", "50 %", -1), ("p99", "99 %", 1)):
        value = percentiles[key]
        if 0 < value < np.inf:
            x = np.log10(value)
            axes.plot([x, x], [0, 1.05 * top], color=INK, linewidth=0.8)
            axes.annotate(
                label,
                (x, 1.05 * top),
                (4 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="top",
                color=INK,
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
