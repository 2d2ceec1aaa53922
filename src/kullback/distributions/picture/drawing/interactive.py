"""A `Picture` as a Plotly figure: the same two panels, to zoom into and to read numbers off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from kullback.distributions.picture.drawing.columns import measured
from kullback.distributions.picture.drawing.svg import BLUE, ORANGE
from kullback.errors import MissingExtra

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from kullback.distributions.picture.explain import Picture

__all__ = ["figure"]

_GREY, _LINES = "#808080", "rgba(128,128,128,0.25)"
_HOVER = (
    "x = %{x:.4g}<br>p = %{customdata[0]:.4g}, q = %{customdata[1]:.4g}<br>"
    "log p/q = %{customdata[2]:.4g}<br>p·log p/q = %{customdata[3]:.4g}<br>"
    "share of KL up to here %{customdata[4]:.1%}"
)


def figure(picture: Picture) -> Figure:
    """P and Q above, the shaded integrand below, over one axis."""
    try:
        from plotly.subplots import make_subplots
    except ImportError:
        raise MissingExtra("plotly", "plot") from None
    import plotly.graph_objects as go

    drawn: Any = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    curves = (picture.p, picture.q, picture.log_ratio, picture.integrand, picture.cumulative)
    x, told = picture.x.numpy(), torch.stack(curves, -1).numpy()
    integrand = torch.where(picture.integrand.isfinite(), picture.integrand, 0.0)
    hover = _HOVER if 0 < float(picture.kl) < torch.inf else _HOVER.partition("<br>share")[0]
    sides = [
        (f"P = {picture.p_name}", picture.p, BLUE, 1),
        (f"Q = {picture.q_name}", picture.q, ORANGE, 1),
        ("adds to KL(P‖Q)", integrand.clamp_min(0.0), BLUE, 2),
        ("takes back", integrand.clamp_max(0.0), ORANGE, 2),
    ]
    for place, (name, curve, colour, row) in enumerate(sides):
        y = curve.numpy()
        kind: dict[str, Any] = {
            "name": name,
            "customdata": told,
            "hovertemplate": hover + "<extra></extra>",
        }
        kind["showlegend"] = row == 1
        trace = (
            go.Bar(x=x, y=y, marker_color=colour, **_beside(place), **kind)
            if picture.discrete
            else go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": colour, "width": 2},
                fill="tozeroy",
                fillcolor=_pale(colour, 0.12 if row == 1 else 0.45),
                **kind,
            )
        )
        drawn.add_trace(trace, row=row, col=1)
    _hatch(drawn, picture)
    _dress(drawn, picture)
    return drawn


def _beside(trace: int) -> dict[str, float]:
    """Where the bar of an integer stands: P's left of Q's, the integrand's in the middle."""
    return {"offset": (-0.4, 0.0, -0.35, -0.35)[trace], "width": 0.4 if trace < 2 else 0.7}


def _hatch(drawn: Any, picture: Picture) -> None:
    """Marks where the integrand is infinite, from the first such x to the last of each run."""
    endless = picture.integrand.isinf()
    edges = torch.cat([endless[:1], endless[1:] != endless[:-1], endless[-1:]]).nonzero()[:, 0]
    for first, last in edges.reshape(-1, 2).tolist():
        half = 0.35 if picture.discrete else 0.0
        drawn.add_vrect(
            x0=float(picture.x[first]) - half,
            x1=float(picture.x[last - 1]) + half,
            fillcolor=_pale(BLUE, 0.25),
            line_width=0,
            annotation={"text": "∞", "font": {"size": 24}, "yanchor": "middle", "y": 0.5},
            annotation_position="top",
            row=2,
            col=1,
        )


def _dress(drawn: Any, picture: Picture) -> None:
    """Greys that hold on white and on black, no background, room for what there is to say."""
    drawn.update_layout(
        title={"text": f"KL(P‖Q) = {measured(picture.kl)}", "font": {"size": 16}},
        font={"color": _GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 60, "r": 20, "t": 70, "b": 40},
        bargap=0.25,
        height=480,
    )
    drawn.update_xaxes(gridcolor=_LINES, zeroline=False, title_text="x", row=2, col=1)
    drawn.update_xaxes(gridcolor=_LINES, zeroline=False, row=1, col=1)
    measure = "probability" if picture.discrete else "density"
    drawn.update_yaxes(gridcolor=_LINES, zerolinecolor=_GREY, title_text=measure, row=1, col=1)
    drawn.update_yaxes(
        gridcolor=_LINES, zerolinecolor=_GREY, title_text="p · log(p/q)", row=2, col=1
    )


def _pale(colour: str, strength: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"
