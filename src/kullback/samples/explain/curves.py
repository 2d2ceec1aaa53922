"""On the line: both densities, and at each x what it adds to KL(P‖Q).

Both sides are smoothed by one kernel. Smoothing P and Q alike is a channel, through which no KL
grows: the integral of the curve is of two laws that are nearer to each other than P and Q are.
Whole numbers of few kinds are counted, not smoothed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Curves", "curves_of"]

_POINTS = 512
_REACH = 8.0
_IQR_OF_NORMAL = 1.349
_MOST_WHOLE = 200


@dataclass(frozen=True)
class Curves:
    """Arrays of one length.

    Attributes:
        x: rising points; evenly spaced, or the whole numbers that were drawn.
        p, q: the densities of both sides, or the shares of each whole number.
        integrand: p log(p/q), ∞ where q = 0 < p.
        discrete: whether x are whole numbers with shares.
        bandwidth: of the kernel, a normal one; 0 where nothing was smoothed.
    """

    x: np.ndarray
    p: np.ndarray
    q: np.ndarray
    integrand: np.ndarray
    discrete: bool
    bandwidth: float


def curves_of(p: np.ndarray, q: np.ndarray) -> Curves:
    """The curves of two columns of numbers, not all of them equal.

    The bandwidth is the geometric mean of Silverman's rule for each side.

    Source: Silverman (1986), Density Estimation for Statistics and Data Analysis, eq. 3.31.
    """
    both = np.concatenate([p, q])
    kinds = np.unique(both)
    if len(kinds) <= _MOST_WHOLE and (kinds == np.round(kinds)).all():
        of_p, of_q = ((side[:, None] == kinds).mean(0) for side in (p, q))
        return Curves(kinds, of_p, of_q, _integrand(of_p, of_q), True, 0.0)
    bandwidth = math.sqrt(_silverman(p, both) * _silverman(q, both))
    low, high = _window(p, q)
    low, high = low - 3 * bandwidth, high + 3 * bandwidth
    x = np.linspace(low, high, _POINTS)
    of_p, of_q = (_smoothed(side, x, bandwidth) for side in (p, q))
    return Curves(x, of_p, of_q, _integrand(of_p, of_q), False, bandwidth)


def _silverman(side: np.ndarray, both: np.ndarray) -> float:
    """0.9 min(s, IQR/1.349) n^(−1/5); of both sides' spread where one side has none."""
    for draws in (side, both):
        first, third = np.quantile(draws, [0.25, 0.75])
        spreads = [s for s in (draws.std(), (third - first) / _IQR_OF_NORMAL) if s > 0]
        if spreads:
            return float(0.9 * min(spreads) * len(side) ** -0.2)
    raise AssertionError("a constant column is left out before")


def _window(p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Where 99.8 % of each side lie: a far draw would leave no points for the others."""
    ends = np.quantile(p, [0.001, 0.999]), np.quantile(q, [0.001, 0.999])
    return float(min(e[0] for e in ends)), float(max(e[1] for e in ends))


def _smoothed(side: np.ndarray, x: np.ndarray, bandwidth: float) -> np.ndarray:
    """The kernel's mean at x, of draws gathered into cells a quarter of the bandwidth wide."""
    low, high = x[0] - _REACH * bandwidth, x[-1] + _REACH * bandwidth
    near = side[(side >= low) & (side <= high)]
    cells, at = np.unique(np.round((near - low) / (bandwidth / 4)), return_inverse=True)
    counts = np.bincount(at.reshape(-1), minlength=len(cells))
    centres = low + cells * bandwidth / 4
    norm = len(side) * bandwidth * math.sqrt(2 * math.pi)
    parts = [
        np.exp(-0.5 * ((some[:, None] - centres) / bandwidth) ** 2) @ counts
        for some in np.array_split(x, 16)
    ]
    return np.concatenate(parts) / norm


def _integrand(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p == 0, 0.0, p * (np.log(p) - np.log(q)))
