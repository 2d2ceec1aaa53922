"""A `Picture` in 80 columns of text: P, Q and the integrand as bars, one column for each x.

Nothing depends on colour. What adds to the divergence stands on the line, what takes back hangs
below it, and what is infinite is hatched.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from kullback.distributions.picture.drawing.columns import in_columns, number, ticks

if TYPE_CHECKING:
    from kullback.distributions.picture.explain import Picture

__all__ = ["render"]

_WIDTH, _HEIGHT, _MARGIN = 66, 4, 11
_BLOCKS = " ▁▂▃▄▅▆▇█"
_BLUE, _ORANGE = "#3a8ccf", "#e07b00"
# Where one side is so much higher than the other that a common scale would hide the lower.
_FAR_HIGHER = 12.0


def render(picture: Picture) -> Group:
    """The picture as a Rich renderable of at most 80 columns."""
    (p, q, integrand), ends = _columns(picture)
    tops = max(p), max(q)
    if max(tops) < _FAR_HIGHER * min(tops):
        tops = max(tops), max(tops)
    parts: list[Any] = [
        Text(f"P = {picture.p_name}, Q = {picture.q_name}", style="bold"),
        "",
        _band("P", _bars(p, tops[0]), number(tops[0]), _BLUE),
        _band("Q", _bars(q, tops[1]), number(tops[1]), _ORANGE),
        "",
        *_signed(integrand),
        _axis(*ends, columns=len(p), whole=picture.discrete),
        "",
        Text(picture.verdict),
    ]
    return Group(*parts)


def _columns(picture: Picture) -> tuple[list[list[float]], tuple[float, float]]:
    """The three curves in columns, and the x at the axis' ends; integers get equal bars."""
    curves = picture.p, picture.q, picture.integrand
    first, last = float(picture.x[0]), float(picture.x[-1])
    wide = _WIDTH // len(picture.x)
    if not picture.discrete or wide < 2:
        found = [in_columns(picture.x, c, _WIDTH, discrete=picture.discrete) for c in curves]
        return found, (first, last)
    wide = min(wide, 8)
    bars = [[h for y in c.tolist() for h in [y] * (wide - 1) + [0.0]] for c in curves]
    # The axis runs through the middles of the bars.
    start = first - 0.5 * (wide - 1) / wide
    return bars, (start, start + len(bars[0]) / wide)


def _bars(heights: list[float], top: float) -> list[str]:
    """Bars of eighths, the highest row first."""

    def cell(height: float, row: int) -> str:
        if height == math.inf:
            return "▒"
        eighths = round(8 * _HEIGHT * max(height, 0.0) / top) if top > 0 else 0
        return _BLOCKS[min(max(eighths - 8 * row, 0), 8)]

    return ["".join(cell(h, row) for h in heights) for row in reversed(range(_HEIGHT))]


def _band(name: str, rows: list[str], top: str, style: str) -> Text:
    text = Text(f"{top:>{_MARGIN - 1}} ┤")
    for place, row in enumerate(rows):
        if place:
            label = name if place == len(rows) - 1 else ""
            text.append(f"\n{label:>{_MARGIN - 1}} │")
        text.append(row.rstrip(), style=style)
    return text


def _signed(heights: list[float]) -> list[Text]:
    """What adds stands on the line; what takes back hangs from it, in half steps."""
    top = max(abs(h) for h in (*heights, 0.0) if math.isfinite(h))
    halves = [round(2 * _HEIGHT * max(-h, 0.0) / top) if top > 0 else 0 for h in heights]
    below = [
        "".join(" ▀█"[min(max(h - 2 * row, 0), 2)] for h in halves)
        for row in range(math.ceil(max(halves) / 2))
    ]
    parts = [_band("p·log p/q", _bars(heights, top), number(top), _BLUE)]
    for row in below:
        parts.append(Text(" " * _MARGIN + "│").append(row.rstrip(), style=_ORANGE))
    return parts


def _axis(low: float, high: float, *, columns: int, whole: bool) -> Text:
    """A line with ticks at round numbers, and these under them."""
    line, labels = ["─"] * columns, [" "] * (columns + _MARGIN)
    for tick in ticks(low, high, 6, whole=whole):
        place = min(int((tick - low) / max(high - low, 1e-300) * columns), columns - 1)
        line[place] = "┬"
        label = number(tick)
        start = max(0, min(place - len(label) // 2, columns - len(label)))
        labels[start : start + len(label)] = label
    indent = " " * _MARGIN
    return Text(f"{indent}└{''.join(line)}\n{indent} {''.join(labels).rstrip()}")
