"""How far an estimate from counts may be off: errors of first and second order, in one interval.

Where P ≠ Q the delta method holds: the variance is that of f′(u) over P's draws and that of
f(u) − u f′(u) over Q's, u = p/q. It vanishes with the divergence θ, as ρ·θ, and at P = Q the law is
that of a sum of squares, of variance V₂. So the interval is all θ with (θ̂ − θ)² ≤ z²(V₂ + ρθ), as
Wilson's is for a proportion, and it holds at both ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kullback.divergences import TOTAL_VARIATION, Divergence, Functional
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.curvature import curvatures, influences
from kullback.samples.discrete.frequencies import plain
from kullback.samples.discrete.guesses import Guess

__all__ = ["Spread", "spread_of"]

# Frequencies of events that one side has not met must not be 0 in a variance: Jeffreys' prior.
_JEFFREYS = 0.5


@dataclass(frozen=True)
class Spread:
    """The variance of an estimate of θ, as `base` + `growth`·θ."""

    base: float
    growth: float

    def deviation(self, guess: Guess) -> float:
        """The standard deviation at the estimate."""
        return math.sqrt(self.base + guess.deviation**2 + self.growth * max(guess.total, 0.0))

    def interval(self, guess: Guess, confidence: float) -> tuple[float, float]:
        """All θ ≥ 0 that the estimate does not speak against."""
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        # An estimate without bias may come out below 0, where no θ is.
        center = max(guess.total, 0.0)
        middle = center + z**2 * self.growth / 2
        reach = z * math.sqrt(self.deviation(guess) ** 2 + (z * self.growth) ** 2 / 4)
        return max(middle - reach - guess.excess, 0.0), middle + reach


def spread_of(record: Functional, counts: Counts) -> Spread:
    """The spread of a record's sum.

    Source: for KL, Zhang & Grabchak (2014), theorem 2; in general van der Vaart (1998), Asymptotic
    Statistics, theorem 3.1, and section 20.1.1 for the second order.
    """
    p, q = counts.frequencies(_JEFFREYS)
    on_p, on_q = influences(record, p, q)
    first = _variance(on_p, p) / counts.n + _variance(on_q, q) / counts.m
    if not isinstance(record, Divergence) or record is TOTAL_VARIATION:
        # Neither vanishes to second order where P = Q.
        return Spread(first, 0.0)
    by_p, _ = curvatures(record, p, q)
    noise = by_p * (p / counts.n + (p / q) ** 2 * q / counts.m)
    second = float((noise**2).sum()) / 2 * (1 - 1 / len(p))
    total = plain(record, counts, _JEFFREYS)
    if total == 0:
        return Spread(second, 2 * _curvature_at_one(record) * (1 / counts.n + 1 / counts.m))
    return Spread(second, first / total)


def _variance(value: np.ndarray, weight: np.ndarray) -> float:
    center = float(weight @ value)
    return float(weight @ (value - center) ** 2)


def _curvature_at_one(record: Functional) -> float:
    return float(curvatures(record, np.ones(1), np.ones(1))[0][0])
