"""Numbers as words: an estimate as two cells of a table, to the same place, and sizes on disk."""

from __future__ import annotations

import math

from kullback.results import Estimate

__all__ = ["cells", "short", "size"]


def cells(estimate: Estimate, scale: float = 1.0, digits: int = 3) -> tuple[str, str]:
    """Value and interval to the same place; an interval that cannot be formed is ''.

    The place is that of `digits` digits of the value or two of the interval's width, whichever
    is finer, so that a ratio near 1 still shows how it differs.
    """
    value, low, high = (scale * x for x in (estimate.value, estimate.low, estimate.high))
    if not math.isfinite(value):
        return short(value), ""
    if value == low == high:
        return short(value), f"[{short(low)}, {short(high)}]"
    wanted = [digits - 1 - _magnitude(value)] if value else [digits - 1]
    if high > low and math.isfinite(high):
        wanted.append(1 - _magnitude(high - low))
    form = f",.{max(*wanted, 0)}f" if abs(value) >= 1e-4 or not value else ".2e"
    if math.isnan(low) or math.isnan(high):
        return f"{value:{form}}", ""
    # An end that is orders of magnitude away would drag its digits or its zeros along.
    ends = (
        f"{end:{form}}" if 0.01 * abs(value) <= abs(end) <= 100 * abs(value) else short(end)
        for end in (low, high)
    )
    return f"{value:{form}}", f"[{', '.join(ends)}]"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def short(value: float) -> str:
    """At most seven characters."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "–")
    if value == 0:
        return "0"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


def size(count: int | None) -> str:
    """Bytes in three digits, of the decimal units that disks are sold in.

    >>> size(144_811_072), size(999_999), size(12), size(None)
    ('145 MB', '1 MB', '12 B', '–')
    """
    if count is None:
        return "–"
    rest = float(f"{count:.3g}")
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if rest < 1000 or unit == "TB":
            return f"{rest:,.0f} {unit}" if rest >= 100 else f"{rest:.3g} {unit}"
        rest /= 1000
    raise AssertionError(count)
