"""What all drawings share: colours that the page names, a style, and SVG that follows the page.

Matplotlib draws them; Plotly's script alone is as large as the whole page may be. Text stays text,
and each colour below stands for a variable of the style sheet, so that a chart follows the page
into the dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kullback.errors import MissingExtra

__all__ = ["INK", "MUTED", "RULE", "P", "Q", "axes_of", "power"]

INK, MUTED, RULE, P, Q = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", P: "reference", Q: "candidate"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11.0,
    "text.color": MUTED,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
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
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "xtick.minor.visible": False,
    "mathtext.default": "regular",
    "axes.unicode_minus": True,
}
_PER_INCH = 72.0
_WIDTH, _HEIGHT = 350, 215


@contextmanager
def axes_of(name: str) -> Iterator[tuple[Any, list[str]]]:
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


def power(exponent: int) -> str:
    """A power of ten, as a tick of a logarithmic axis."""
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10"}.get(exponent, f"10{digits}")
