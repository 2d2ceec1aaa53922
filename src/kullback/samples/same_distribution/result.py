"""What a test of P = Q answers, as a record and in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SameDistribution"]


@dataclass(frozen=True)
class SameDistribution:
    """The p-value of P = Q by permutations, and what it was made from.

    Attributes:
        p_value: how often chance alone, with the sides of the draws dealt out anew, does as much
            as was seen; at most α with probability at most α where P = Q, for every n and m.
        statistic: what was seen, larger the further apart; of `method`'s kind.
        method: which statistic.
        permutations: how many times the sides were dealt out.
        n, m: draws of each side that were given.
        diagnosis: what was left out, and why.

    Example:
        >>> print(SameDistribution(0.31, 1.2, "energy distance", 999, 50, 60))
        50 draws of P and 60 of Q can come from one distribution: p = 0.31 (energy distance)
    """

    p_value: float
    statistic: float
    method: str
    permutations: int
    n: int
    m: int
    diagnosis: str = ""

    def __str__(self) -> str:
        found = "can come" if self.p_value > 0.05 else "do not look as if they came"
        note = f"; {self.diagnosis}" if self.diagnosis else ""
        return (
            f"{self.n:,} draws of P and {self.m:,} of Q {found} from one distribution: "
            f"p = {self.p_value:.2g} ({self.method}{note})"
        )
