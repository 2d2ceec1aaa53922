"""How often each event was drawn from P and from Q: all that an estimate from counts looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kullback.samples.draws import DrawsPair

__all__ = ["Counts", "counts_of"]


@dataclass(frozen=True)
class Counts:
    """The counts of the k events that were seen on either side, float64 [k]."""

    of_p: np.ndarray
    of_q: np.ndarray

    @property
    def n(self) -> float:
        """How many draws of P there are."""
        return float(self.of_p.sum())

    @property
    def m(self) -> float:
        """How many draws of Q there are."""
        return float(self.of_q.sum())

    def swapped(self) -> Counts:
        """The same counts read the other way round."""
        return Counts(self.of_q, self.of_p)

    def frequencies(self, concentration: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(count + c)/(draws + k·c) on each side: the posterior means under Dirichlet(c, …, c)."""
        return tuple(
            (count + concentration) / (count.sum() + concentration * len(count))
            for count in (self.of_p, self.of_q)
        )

    @property
    def missed(self) -> float:
        """The share of P's draws whose event was never drawn from Q."""
        return float(self.of_p[self.of_q == 0].sum() / self.n)

    @property
    def alone(self) -> float:
        """Good–Turing's share of P that was not drawn: the events drawn once, over n.

        Source: Good (1953), The Population Frequencies of Species, eq. 9.
        """
        return float((self.of_p == 1).sum() / self.n)


def counts_of(pair: DrawsPair) -> Counts:
    """The counts of the distinct rows of a pair."""
    atoms = pair.atoms
    return Counts(atoms.of_p.astype(np.float64), atoms.of_q.astype(np.float64))
