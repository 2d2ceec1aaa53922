"""What the page says of several candidates beside each other: differences, sizes, the frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from kullback.report.cells import size
from kullback.report.html.drawing import MUTED, Q, axes_of
from kullback.report.html.figures import ends, value
from kullback.report.html.tokens import visible
from kullback.results import Comparison, Difference, Ranking

__all__ = ["Pair", "Ranked", "frontier", "ranked"]

_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


@dataclass(frozen=True)
class Pair:
    """Two candidates and what is known of their difference, as words."""

    less: str
    more: str
    difference: str
    interval: str
    known: bool
    distinguishable: bool
    diagnosis: str


@dataclass(frozen=True)
class Ranked:
    """A ranking, ready for the template.

    `sizes` is empty where none is known, `picture` (markup) where fewer than two sizes could be
    drawn; `left_out` says which candidates the picture cannot show.
    """

    sizes: Sequence[str] = ()
    neighbours: Sequence[Pair] = ()
    pairs: Sequence[Pair] = ()
    picture: str = ""
    left_out: str = ""

    @property
    def bytes(self) -> int:
        """About how much of the page its words take, at most."""
        names = sum(len(escape(p.less + p.more).encode()) for p in (*self.pairs, *self.neighbours))
        return 400 * (len(self.pairs) + len(self.neighbours)) + names + len(self.picture)


def ranked(ranking: Ranking) -> Ranked:
    """The words and the picture of `ranking`."""
    names = list(ranking.comparisons)
    pairs = {(d.less, d.more): _pair(d) for d in ranking.differences}
    neighbours = [pairs[two] for two in pairwise(names) if two in pairs]
    sizes = [ranking.sizes.get(name) for name in names]
    picture, left_out = _picture(list(ranking.comparisons.values()), sizes)
    return Ranked(
        [size(found) for found in sizes] if any(x is not None for x in sizes) else [],
        neighbours,
        list(pairs.values()),
        picture,
        left_out,
    )


def frontier(points: Mapping[int, tuple[float, float]]) -> set[int]:
    """The keys of the points (size, KL) that no other dominates.

    One point dominates another if neither its size nor its KL is larger, and one is smaller.

    >>> sorted(frontier({1: (3.0, 0.1), 2: (2.0, 0.2), 3: (4.0, 0.2)}))
    [1, 2]
    """
    best, last = math.inf, None
    found = set()
    # By size, then KL: what comes later is no smaller, so it has to lose less than all before it.
    for key in sorted(points, key=points.__getitem__):
        if points[key][1] < best or points[key] == last:
            found.add(key)
            best, last = points[key][1], points[key]
    return found


def _pair(difference: Difference) -> Pair:
    known = not math.isnan(difference.kl.value)
    return Pair(
        visible(difference.less),
        visible(difference.more),
        value(difference.kl),
        ends(difference.kl),
        known,
        difference.distinguishable,
        difference.kl.diagnosis,
    )


def _picture(comparisons: Sequence[Comparison], sizes: Sequence[int | None]) -> tuple[str, str]:
    """The drawing, and what it leaves out."""
    known = {place: found for place, found in enumerate(sizes) if found is not None}
    points = {
        place: (float(found), comparisons[place].kl.value)
        for place, found in known.items()
        if math.isfinite(comparisons[place].kl.value)
    }
    best = frontier(points)
    drawn = {place: point for place, point in points.items() if point[1] > 0}
    if len({x for x, _ in drawn.values()}) < 2:
        return "", ""
    left_out = [
        f"{place + 1} ({_reason(sizes[place], comparisons[place].kl.value)})"
        for place in range(len(sizes))
        if place not in drawn
    ]
    told = f"Not drawn: {', '.join(left_out)}." if left_out else ""
    return _chart(comparisons, drawn, best), told


def _reason(found: int | None, kl: float) -> str:
    if found is None:
        return "size not known"
    return "infinite" if math.isinf(kl) else "KL not above 0"


def _chart(
    comparisons: Sequence[Comparison], points: Mapping[int, tuple[float, float]], best: set[int]
) -> str:
    unit, scale = _unit(max(x for x, _ in points.values()))
    with axes_of("chart-ranking") as (axes, text):
        axes.set_yscale("log")
        line = sorted(points[place] for place in best & set(points))
        axes.plot([x / scale for x, _ in line], [y for _, y in line], color=Q, linewidth=1.3)
        for place, (x, y) in points.items():
            colour = Q if place in best else MUTED
            kl = comparisons[place].kl
            if kl.low > 0 and math.isfinite(kl.high):
                axes.plot([x / scale] * 2, [kl.low, kl.high], color=colour, linewidth=1.0)
            axes.plot([x / scale], [y], "o", ms=5, color=colour)
            # Names are anyone's and of any length; the table above gives each its number.
            axes.annotate(
                str(place + 1), (x / scale, y), (6, 4), textcoords="offset points", color=colour
            )
        axes.margins(x=0.1, y=0.08)
        _ticks(axes)
        axes.set_xlabel(f"size on disk, {unit}")
        axes.set_ylabel(f"KL, nats per {comparisons[0].unit}")
    return text[0]


def _unit(largest: float) -> tuple[str, float]:
    return next((unit, scale) for unit, scale in _UNITS if largest >= scale or scale == 1)


def _ticks(axes: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade, or at whole decades where those would be many."""
    low, high = axes.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [float(f"{m}e{e}") for e in decades for m in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 8:
            break
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
