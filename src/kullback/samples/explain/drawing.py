"""The drawing of what `explain` found, with Matplotlib and without its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kullback.errors import MissingExtra
from kullback.samples.explain.curves import Curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kullback.samples.explain.found import SampleExplanation

__all__ = ["figure"]

_P, _Q, _MORE, _LESS = "#2a6f97", "#e07a2f", "#b23a48", "#7a8b99"
_BARS = 20


def figure(found: SampleExplanation) -> Figure:
    """Densities over the integrand on the line; else a bar for each column."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "report") from None
    name = found.features[0].name
    if found.curves is not None:
        drawn = Figure(figsize=(7.0, 5.0), layout="constrained")
        _line(drawn, found.curves, name)
    else:
        shown = found.features[:_BARS]
        drawn = Figure(figsize=(7.0, 1.4 + 0.35 * len(shown)), layout="constrained")
        _bars(drawn.add_subplot(), shown)
    return drawn


def _line(drawn: Figure, curves: Curves, name: str) -> None:
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    x, style = curves.x, {"step": "mid"} if curves.discrete else {}
    for values, colour, side in ((curves.p, _P, "P"), (curves.q, _Q, "Q")):
        above.fill_between(x, values, color=colour, alpha=0.15, linewidth=0, **style)
        draw = above.step if curves.discrete else above.plot
        draw(x, values, color=colour, label=side, **({"where": "mid"} if style else {}))
    above.set_ylabel("share" if curves.discrete else "density")
    above.set_ylim(bottom=0)
    above.legend(frameon=False)
    seen = np.where(np.isfinite(curves.integrand), curves.integrand, np.nan)
    for part, colour in ((seen > 0, _MORE), (seen < 0, _LESS)):
        below.fill_between(
            x, np.where(part, seen, 0.0), color=colour, alpha=0.7, linewidth=0, **style
        )
    below.axhline(0, color="black", linewidth=0.8)
    below.set_ylabel("p log(p/q), nats")
    below.set_xlabel(name.replace("$", r"\$"))
    _mark_infinite(below, x[np.isinf(curves.integrand)])
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)


def _mark_infinite(axes: Any, places: np.ndarray) -> None:
    if len(places):
        top = axes.get_ylim()[1]
        axes.plot(places, np.full(len(places), top), "^", color=_MORE, label="∞: no draw of Q")
        axes.legend(frameon=False)


def _bars(axes: Any, features: Any) -> None:
    places = np.arange(len(features))[::-1]
    axes.barh(
        places + 0.2,
        [f.drop.value for f in features],
        0.38,
        color=_MORE,
        label="fall without it",
        xerr=[f.drop.high - f.drop.value for f in features],
        ecolor="black",
    )
    axes.barh(
        places - 0.2,
        [f.alone.value for f in features],
        0.38,
        color=_LESS,
        label="alone",
        xerr=[f.alone.high - f.alone.value for f in features],
        ecolor="black",
    )
    axes.set_yticks(places, [f.name.replace("$", r"\$") for f in features])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("bound of KL(P‖Q), nats")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
