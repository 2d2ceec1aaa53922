"""The effects of modules as a Plotly figure: bars by layer and kind, and their running sum."""

from __future__ import annotations

import itertools
import math
from html import escape
from typing import TYPE_CHECKING, Any

from kullback.compare.layers.record import Effect, LayerEffects
from kullback.errors import MissingExtra
from kullback.results import Estimate

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["figure"]

_GREY, _LINES = "#808080", "rgba(128,128,128,0.25)"
# Okabe and Ito's colours, which hold for colour-blind readers, on white and on black.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#808080")
_KINDS = ("attention", "MLP", "norms", "embedding", "mixer", "head", "other", "layer")


def figure(effects: LayerEffects) -> Figure:
    """Bars with intervals above, below them the sum of all bars so far beside the whole's KL.

    What is equal in both models has no bar and no place on the axis. Raises
    `MissingExtra` without Plotly.
    """
    try:
        from plotly.subplots import make_subplots
    except ImportError:
        raise MissingExtra("plotly", "plot") from None

    drawn: Any = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.6, 0.4]
    )
    measured = [effect for effect in effects.effects if not effect.equal]
    places = list(dict.fromkeys(_place(effect) for effect in measured))
    for kind, colour in zip(_KINDS, itertools.cycle(_COLOURS)):
        chosen = [effect for effect in measured if effect.kind == kind]
        if chosen:
            drawn.add_trace(_bars(kind, chosen, colour), row=1, col=1)
    for trace in _running(effects, measured, places):
        drawn.add_trace(trace, row=2, col=1)
    _dress(drawn, effects, places)
    return drawn


def _place(effect: Effect) -> str:
    return escape(effect.name) if effect.layer is None else str(effect.layer)


def _bars(kind: str, chosen: list[Effect], colour: str) -> Any:
    import plotly.graph_objects as go

    return go.Bar(
        x=[_place(effect) for effect in chosen],
        y=[_finite(effect.kl.value) for effect in chosen],
        name=kind,
        marker_color=colour,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_reach(e.kl.high, e.kl.value) for e in chosen],
            "arrayminus": [_reach(e.kl.value, e.kl.low) for e in chosen],
            "color": _GREY,
            "thickness": 1,
            "width": 2,
        },
        customdata=[[escape(e.name), _told(e.kl), f"{e.weights:,}", _saving(e)] for e in chosen],
        hovertemplate="%{customdata[0]}<br>KL %{customdata[1]} nats<br>%{customdata[2]} weights"
        "%{customdata[3]}<extra></extra>",
    )


def _told(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"


def _saving(effect: Effect) -> str:
    return "" if effect.saved is None else f"<br>repaired, saves {_told(effect.saved)} nats"


def _finite(value: float) -> float | None:
    """A height; what is infinite has none and is told by the title."""
    return value if math.isfinite(value) else None


def _reach(high: float, low: float) -> float | None:
    return high - low if math.isfinite(high - low) else None


def _running(effects: LayerEffects, measured: list[Effect], places: list[str]) -> list[Any]:
    import plotly.graph_objects as go

    sums = dict.fromkeys(places, 0.0)
    for effect in measured:
        sums[_place(effect)] += effect.kl.value
    heights = [_finite(height) for height in itertools.accumulate(sums.values())]
    hover = "up to %{x}: %{y:.4g} nats<extra></extra>"
    traces: list[Any] = [
        go.Scatter(
            x=places,
            y=heights,
            mode="lines+markers",
            line={"color": _COLOURS[0], "shape": "hv"},
            marker={"size": 4},
            name="sum of single effects so far",
            hovertemplate=hover,
        )
    ]
    if math.isfinite(effects.whole.value):
        traces.append(
            go.Scatter(
                x=places,
                y=[effects.whole.value] * len(places),
                mode="lines",
                line={"color": _COLOURS[5], "dash": "dash"},
                name="the whole candidate",
                hovertemplate=f"the whole candidate: {_told(effects.whole)} nats<extra></extra>",
            )
        )
    return traces


def _dress(drawn: Any, effects: LayerEffects, places: list[str]) -> None:
    infinite = sum(math.isinf(effect.kl.value) for effect in effects.effects)
    more = f" ({infinite} infinite ones are left out)" if infinite else ""
    drawn.update_layout(
        title={"text": "KL(reference‖reference with one module of the candidate)" + more},
        font={"color": _GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 70, "r": 20, "t": 90, "b": 50},
        barmode="group",
        bargap=0.2,
        height=600,
    )
    axis = {"gridcolor": _LINES, "zeroline": False}
    drawn.update_xaxes(type="category", categoryorder="array", categoryarray=places, **axis)
    drawn.update_xaxes(title_text="kind" if effects.by == "kinds" else "layer", row=2, col=1)
    drawn.update_yaxes(title_text="nats per token", rangemode="tozero", **axis)
