"""A bound on the distance in space from one direction.

A projection brings nothing further apart, so that the distance along any line bounds the distance
in space from below, at the rate of one dimension, whatever the dimension is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kullback.samples.transport.held_out import bounds, halves, held_out, potentials

__all__ = ["along_one", "random_directions"]

_TRIED = 32


class Along(NamedTuple):
    """What is seen along a line, no more than the distance on average, and its error."""

    crossed: float
    spread: float

    def low(self, quantile: float) -> float:
        """What the distance exceeds; 0 where nothing is seen."""
        return max(self.crossed - quantile * self.spread, 0.0)


def along_one(x: np.ndarray, y: np.ndarray, order: float, rng: np.random.Generator) -> Along:
    """Each half of the draws chooses the direction that the other is measured along.

    The error is the larger one of the two directions, of all draws.
    """
    (xa, xb), (ya, yb) = halves(x, rng), halves(y, rng)
    tried = random_directions(x.shape[1], _TRIED, rng)
    lines = [_best(a, b, order, tried) for a, b in ((xa, ya), (xb, yb))]
    first, second = lines
    of_first = held_out(xa @ first, ya @ first, xb @ first, yb @ first, order)
    of_second = held_out(xb @ second, yb @ second, xa @ second, ya @ second, order)
    spread = max(bounds(x @ line, y @ line, order, rng).spread for line in lines)
    return Along((of_first + of_second) / 2, spread)


def _best(x: np.ndarray, y: np.ndarray, order: float, tried: np.ndarray) -> np.ndarray:
    """The direction [d, 1] along which these draws are furthest apart, of some that stand out."""
    between = x.mean(0) - y.mean(0)
    _, axes = np.linalg.eigh(np.cov(x, rowvar=False) - np.cov(y, rowvar=False))
    lines = np.column_stack([tried, axes[:, [0, -1]], between])
    length = np.linalg.norm(lines, axis=0)
    lines = lines[:, length > 0] / length[length > 0]
    _, _, powers = potentials(x @ lines, y @ lines, order)
    return lines[:, [int(powers.argmax())]]


def random_directions(dimensions: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions [dimensions, count], uniform on the sphere."""
    lines = rng.standard_normal((dimensions, count))
    return lines / np.linalg.norm(lines, axis=0)
