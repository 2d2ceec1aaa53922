"""A `CollapseReport` as a Plotly figure: each dimension's KL, and what their sum is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kullback.distributions.picture.drawing.svg import BLUE, ORANGE
from kullback.errors import MissingExtra

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from kullback.training.vae.collapse import CollapseReport

__all__ = ["figure"]

_GREY, _PALE, _LINES = "#808080", "rgba(128,128,128,0.45)", "rgba(128,128,128,0.25)"


def figure(report: CollapseReport) -> Figure:
    """Bars of the KL of each dimension by falling KL, and beside them the split with its errors."""
    try:
        from plotly.subplots import make_subplots
    except ImportError:
        raise MissingExtra("plotly", "plot") from None
    import plotly.graph_objects as go

    drawn: Any = make_subplots(rows=1, cols=2, column_widths=[0.64, 0.36], horizontal_spacing=0.12)
    order = report.kl.argsort(descending=True, stable=True).tolist()
    rank = {dimension: place for place, dimension in enumerate(order)}
    for name, wanted, colour in (("active", True, BLUE), ("inactive", False, ORANGE)):
        chosen = [d for d in order if bool(report.active[d]) is wanted]
        drawn.add_trace(
            go.Bar(
                x=[rank[d] for d in chosen],
                y=[float(report.kl[d]) for d in chosen],
                customdata=[[d, float(report.variance_of_means[d])] for d in chosen],
                name=name,
                marker_color=colour,
                hovertemplate="dimension %{customdata[0]}<br>KL %{y:.4g} nats<br>variance of its "
                "means %{customdata[1]:.4g}<extra></extra>",
            ),
            row=1,
            col=1,
        )
    parts = (report.mutual_information, report.aggregate_kl)
    drawn.add_trace(
        go.Bar(
            x=["E KL(q(z|x)‖p)", "I(x; z)", "KL(q(z)‖p)"],
            y=[report.rate, *(float(part) for part in parts)],
            error_y={
                "array": [None, *(_reach(part.high, part.value) for part in parts)],
                "arrayminus": [None, *(_reach(part.value, part.low) for part in parts)],
                "color": _GREY,
            },
            marker_color=_PALE,
            showlegend=False,
            hovertemplate="%{x}: %{y:.4g} nats<extra></extra>",
        ),
        row=1,
        col=2,
    )
    _dress(drawn, report, order)
    return drawn


def _reach(upper: float, lower: float) -> float:
    return upper - lower if math.isfinite(upper - lower) else 0.0


def _dress(drawn: Any, report: CollapseReport, order: list[int]) -> None:
    """Greys that hold on white and on black, no background, room for what there is to say."""
    active = int(report.active.sum())
    title = f"{active} of {len(order)} dimensions active, KL {report.rate:.4g} nats"
    drawn.update_layout(
        title={"text": title, "font": {"size": 16}},
        font={"color": _GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 60, "r": 20, "t": 80, "b": 50},
        height=380,
    )
    drawn.update_traces(marker_line_width=0)
    drawn.update_xaxes(showgrid=False, zeroline=False)
    drawn.update_yaxes(
        gridcolor=_LINES,
        zerolinecolor=_GREY,
        rangemode="tozero",
        # A collapsed latent has micronats: 8×10⁻⁷, and not "800n".
        exponentformat="power",
    )
    drawn.update_yaxes(title_text="nats", row=1, col=1)
    labels = {"tickmode": "array", "tickvals": list(range(len(order))), "ticktext": order}
    few = labels if len(order) <= 40 else {"showticklabels": False}
    drawn.update_xaxes(title_text="dimension, by falling KL", row=1, col=1, **few)
