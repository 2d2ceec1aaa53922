"""A sum over events as guessed from counts, with what the guess adds to its sampling error."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Guess"]


@dataclass(frozen=True)
class Guess:
    """A sum, and the standard deviation of what was guessed in it beyond the counts.

    `excess` bounds from above how much too large the sum may be through bias that is known to
    push it up and could not be taken off.
    """

    total: float
    deviation: float = 0.0
    excess: float = 0.0

    def __add__(self, other: Guess) -> Guess:
        deviation = math.hypot(self.deviation, other.deviation)
        return Guess(self.total + other.total, deviation, self.excess + other.excess)

    def __sub__(self, other: Guess) -> Guess:
        deviation = math.hypot(self.deviation, other.deviation)
        return Guess(self.total - other.total, deviation, self.excess)
