"""Numbers as words: single ones in three digits, estimates as the terminal has them."""

from __future__ import annotations

import math

from kullback.report.cells import cells
from kullback.results import Estimate

__all__ = ["ends", "number", "percent", "value"]


def number(value: float) -> str:
    """Three digits.

    >>> number(0.01234), number(1.2e-7), number(0.0), number(math.inf), number(math.nan)
    ('0.0123', '1.20e-7', '0', '∞', '–')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    if 1e-4 <= abs(rounded) < 1e3:
        text = f"{rounded:#.3g}".rstrip(".")
    elif 1e3 <= abs(rounded) < 1e6:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−", 1) if value < 0 else text


def percent(share: float, decimals: int = 1) -> str:
    """A share in per cent.

    >>> percent(0.9341), percent(math.nan)
    ('93.4 %', '–')
    """
    return f"{100 * share:.{decimals}f} %" if math.isfinite(share) else "–"


def value(estimate: Estimate, scale: float = 1.0) -> str:
    """The value, to the place at which its interval is told."""
    return cells(estimate, scale)[0]


def ends(estimate: Estimate, scale: float = 1.0) -> str:
    """The interval in brackets, to the place of the value; nothing where there is none.

    >>> value(Estimate(0.5, 0.25, 1.0)), ends(Estimate(0.5, 0.25, 1.0))
    ('0.500', '[0.250, 1.000]')
    """
    return cells(estimate, scale)[1]
