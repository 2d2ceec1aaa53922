"""A `Picture` as SVG: two panels over one axis, in colours that hold on light and on dark.

Lines and text take the colour of the text around (`currentColor`); blue and orange are told
apart by every kind of colour vision. No script, no font, nothing to fetch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kullback.distributions.picture.drawing.columns import in_columns, measured, number, ticks

if TYPE_CHECKING:
    from kullback.distributions.picture.explain import Picture

__all__ = ["BLUE", "ORANGE", "svg"]

BLUE, ORANGE = "#3a8ccf", "#e07b00"

_LEFT, _WIDTH, _RIGHT = 52, 640, 12
_HEAD, _UPPER, _GAP, _LOWER, _FOOT = 30, 150, 34, 110, 24
_HEIGHT = _HEAD + _UPPER + _GAP + _LOWER + _FOOT
_COLUMNS = 320
_LARGE = 'font-size="22" font-weight="bold"'


@dataclass(frozen=True)
class _Panel:
    """A rectangle of the drawing, and the numbers that its edges stand for."""

    top: float
    height: float
    low: float
    high: float
    first: float
    last: float
    whole: bool

    def x(self, value: float) -> float:
        return _LEFT + _WIDTH * (value - self.first) / ((self.last - self.first) or 1.0)

    def y(self, value: float) -> float:
        held = min(max(value, self.low), self.high)
        return self.top + self.height * (self.high - held) / ((self.high - self.low) or 1.0)

    def axis(self, title: str) -> str:
        """The grid lines with their numbers, and what is measured."""
        parts = [_text(_LEFT, self.top - 8, title, "start")]
        for tick in ticks(self.low, self.high, 4):
            y = self.y(tick)
            strength = 0.5 if tick == 0 else 0.15
            parts.append(_line(_LEFT, y, _LEFT + _WIDTH, y, strength))
            parts.append(_text(_LEFT - 6, y + 4, number(tick), "end"))
        return "".join(parts)


def svg(picture: Picture) -> str:
    """The picture as one `<svg>` element."""
    xs, p, q, integrand = _curves(picture)
    finite = [h for h in integrand if math.isfinite(h)] + [0.0]
    span = (max(finite) - min(finite)) or 1.0
    ends = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 1, xs[0] + 1)
    if picture.discrete:
        ends = (ends[0] - 0.7, ends[1] + 0.7)
    upper = _Panel(_HEAD, _UPPER, 0.0, _common_top(p, q), *ends, picture.discrete)
    low, high = min(finite) - 0.05 * span * (min(finite) < 0), max(finite) + 0.08 * span
    lower = _Panel(_HEAD + _UPPER + _GAP, _LOWER, low, high, *ends, picture.discrete)
    measure = "probability" if picture.discrete else "density"
    title = f"P = {picture.p_name}, Q = {picture.q_name}: KL(P‖Q) = {measured(picture.kl)}"
    parts = [
        f'<svg class="kullback-picture" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {_HEIGHT}" '
        'xmlns="http://www.w3.org/2000/svg" role="img" width="100%" style="max-width:44rem" '
        'font-size="12" fill="currentColor">',
        f"<title>{escape(title)}</title>",
        upper.axis(measure),
        _legend(picture),
        lower.axis(f"p · log(p/q), whose whole is {measured(picture.kl)}"),
        *(
            _curve(upper, xs, c, colour, picture.discrete, shift)
            for c, colour, shift in ((q, ORANGE, 1), (p, BLUE, -1))
        ),
        *_integrand(lower, xs, integrand, picture.discrete),
        _feet(lower),
        "</svg>",
    ]
    return "".join(parts)


def _curves(picture: Picture) -> tuple[list[float], list[float], list[float], list[float]]:
    """The points that are drawn, and the three curves over them."""
    curves = picture.p, picture.q, picture.integrand
    if picture.discrete:
        p, q, integrand = (curve.tolist() for curve in curves)
        return picture.x.tolist(), p, q, integrand
    low, high = float(picture.x[0]), float(picture.x[-1])
    xs = [low + (high - low) * (i + 0.5) / _COLUMNS for i in range(_COLUMNS)]
    p, q, integrand = (in_columns(picture.x, c, _COLUMNS, discrete=False) for c in curves)
    return xs, p, q, integrand


def _common_top(p: list[float], q: list[float]) -> float:
    """Room for the higher side, unless the lower would be lost under it: then that is cut off."""
    tops = sorted((max(p), max(q)))
    return 1.08 * min(tops[1], 12 * tops[0]) or 1.0


def _curve(
    panel: _Panel, xs: list[float], ys: list[float], colour: str, discrete: bool, shift: int
) -> str:
    """A filled line; for integers a bar each, those of P left of those of Q."""
    if discrete:
        width = min(0.4 * _WIDTH / max(xs[-1] - xs[0] + 1.4, 1.0), 16.0)
        return "".join(
            _bar(panel, panel.x(x) + (shift - 1) / 2 * width, width, y, colour)
            for x, y in zip(xs, ys, strict=True)
        )
    return _area(panel, xs, ys, colour, 0.15) + _outline(panel, xs, ys, colour)


def _area(panel: _Panel, xs: list[float], ys: list[float], colour: str, strength: float) -> str:
    base = f"{panel.x(xs[-1]):.1f},{panel.y(0):.1f} {panel.x(xs[0]):.1f},{panel.y(0):.1f}"
    return (
        f'<polygon points="{_points(panel, xs, ys)} {base}" fill="{colour}" '
        f'fill-opacity="{strength}"/>'
    )


def _outline(panel: _Panel, xs: list[float], ys: list[float], colour: str) -> str:
    line = _points(panel, xs, ys)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _points(panel: _Panel, xs: list[float], ys: list[float]) -> str:
    return " ".join(f"{panel.x(x):.1f},{panel.y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def _integrand(panel: _Panel, xs: list[float], ys: list[float], discrete: bool) -> list[str]:
    """What adds in blue, what takes back in orange, what is infinite hatched to the top."""
    shown = [y if math.isfinite(y) else 0.0 for y in ys]
    parts = [_endless(panel, xs, ys)]
    if discrete:
        width = min(0.7 * _WIDTH / max(xs[-1] - xs[0] + 1.4, 1.0), 28.0)
        for x, y in zip(xs, shown, strict=True):
            parts.append(_bar(panel, panel.x(x) - width / 2, width, y, BLUE if y > 0 else ORANGE))
    else:
        for sign, colour in ((1, BLUE), (-1, ORANGE)):
            side = [max(sign * y, 0.0) * sign for y in shown]
            parts.append(_area(panel, xs, side, colour, 0.45))
        parts.append(_outline(panel, xs, shown, BLUE))
    return parts


def _endless(panel: _Panel, xs: list[float], ys: list[float]) -> str:
    """Hatching from the line to the top where the integrand is infinite."""
    places = [place for place, y in enumerate(ys) if not math.isfinite(y)]
    if not places:
        return ""
    cell = _WIDTH / len(xs)
    parts = [
        '<pattern id="kullback-endless" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="3" height="7" fill="{BLUE}"/></pattern>'
    ]
    for run in _runs(places):
        left, right = panel.x(xs[run[0]]) - cell / 2, panel.x(xs[run[-1]]) + cell / 2
        left, right = max(left, _LEFT), min(right, _LEFT + _WIDTH)
        parts.append(
            f'<rect x="{left:.1f}" y="{panel.top:.1f}" width="{right - left:.1f}" '
            f'height="{panel.y(0.0) - panel.top:.1f}" fill="url(#kullback-endless)" '
            'fill-opacity="0.6"/>'
        )
        middle = 0.5 * (left + right)
        parts.append(_text(middle, panel.top + 0.55 * panel.height, "∞", "middle", _LARGE))
    return "".join(parts)


def _runs(places: list[int]) -> list[list[int]]:
    """Rising integers as runs without gaps."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _bar(panel: _Panel, left: float, width: float, y: float, colour: str) -> str:
    top, bottom = sorted((panel.y(y), panel.y(0.0)))
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}" '
        f'fill="{colour}" fill-opacity="0.8"/>'
    )


def _legend(picture: Picture) -> str:
    """The names beside their colours, right-aligned above the upper panel."""
    parts, right = [], _LEFT + _WIDTH
    for name, colour in ((f"Q = {picture.q_name}", ORANGE), (f"P = {picture.p_name}", BLUE)):
        parts.append(_text(right, _HEAD - 8, name, "end", f'fill="{colour}" font-weight="bold"'))
        right -= 6.7 * len(name) + 22
    return "".join(parts)


def _feet(panel: _Panel) -> str:
    bottom = panel.top + panel.height
    parts = [_line(_LEFT, bottom, _LEFT + _WIDTH, bottom, 0.5)]
    for tick in ticks(panel.first, panel.last, 9, whole=panel.whole):
        x = panel.x(tick)
        parts.append(_line(x, _HEAD, x, bottom, 0.1))
        parts.append(_text(x, bottom + 16, number(tick), "middle"))
    return "".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, strength: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="currentColor" stroke-opacity="{strength}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, more: str = 'fill-opacity="0.75"') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
