"""What every drawing shares: curves in even columns, round numbers on an axis, values in words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from kullback.results import Estimate

__all__ = ["in_columns", "measured", "number", "ticks"]


def in_columns(x: Tensor, y: Tensor, columns: int, *, discrete: bool) -> list[float]:
    """y over even columns from the first to the last of the rising points; +inf where it is.

    A density is averaged over each column, so that a narrow peak shows by its mass and a pole
    stays finite. Of probabilities, which stand at single points, the largest in size is taken.
    """
    points, heights = x.numpy(), y.numpy()
    edges = np.linspace(points[0], points[-1], columns + 1)
    index = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, columns - 1)
    endless = np.zeros(columns, dtype=bool)
    endless[index[np.isinf(heights)]] = True
    finite = np.where(np.isfinite(heights), heights, 0.0)
    value = np.zeros(columns)
    if discrete:
        for column, height in zip(index, finite, strict=True):
            if abs(height) > abs(value[column]):
                value[column] = height
    elif points[-1] > points[0]:
        steps = 0.5 * (finite[1:] + finite[:-1]) * np.diff(points)
        summed = np.concatenate([[0.0], np.cumsum(steps)])
        value = np.diff(np.interp(edges, points, summed)) / np.diff(edges)
    return np.where(endless, np.inf, value).tolist()


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most `most` round numbers between two others; `whole` ones only, if so.

    Example:
        >>> ticks(-0.3, 10.2, 6)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        >>> ticks(-0.3, 1.2, 6, whole=True)
        [0.0, 1.0]
    """
    if not high > low:
        return [low]
    rough = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    multiples = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(m * power for m in multiples if m * power >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def number(value: float, digits: int = 3) -> str:
    """A short number with a true minus sign.

    Example:
        >>> number(-0.12345), number(14321.0), number(3e-9), number(math.inf)
        ('−0.123', '14,321', '3e−09', '∞')
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    form = ",.0f" if 1000 <= abs(value) < 1e6 else f".{digits}g"
    return f"{value:{form}}".replace("-", "−")


def measured(value: float | Estimate[Any]) -> str:
    """A divergence in nats, with its interval where that is wide enough to be seen.

    Example:
        >>> measured(0.25), measured(Estimate(0.25, 0.2, 0.3))
        ('0.25 nats', '0.25 nats [0.2, 0.3] (95 %)')
    """
    words = f"{number(float(value), 4)} nats"
    if not isinstance(value, Estimate):
        return words
    low, high = float(value.low), float(value.high)
    if high - low > 1e-3 * abs(float(value)):
        words += f" [{number(low)}, {number(high)}] ({100 * value.confidence:g} %)"
    return words
