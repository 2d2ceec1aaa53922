"""Statistics of two sides under every dealing-out of the sides, many at once.

Column 0 is what was seen, the other columns are dealt out at random. All are computed alike, so
that what is equal is equal up to rounding, and within that counts against rejection.
"""

from __future__ import annotations

import numpy as np

__all__ = ["dealt", "energy_on_line", "largest", "mean_ranks", "p_value", "quadratic"]

_ROUNDING = 1e-9
"""Far above the rounding of a sum of 10⁸ terms, far below what tells statistics apart."""


def dealt(n: int, m: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Which of the n + m draws are P's: 1 and 0, [n + m, 1 + permutations]."""
    sides = np.zeros((1 + permutations, n + m))
    sides[:, :n] = 1.0
    sides[1:] = rng.permuted(sides[1:], axis=1)
    return sides.T


def p_value(statistics: np.ndarray) -> float:
    """(1 + how many permutations reach what was seen)/(1 + permutations).

    Source: Phipson & Smyth (2010), Permutation P-values Should Never Be Zero.
    """
    seen, others = statistics[0], statistics[1:]
    slack = _ROUNDING * float(np.abs(statistics).max())
    return (1 + int((others >= seen - slack).sum())) / len(statistics)


def largest(statistics: list[np.ndarray]) -> np.ndarray:
    """The largest of several statistics, each in its own standard deviations over all columns.

    What was seen is one column among equals where P = Q, so that the level stays what it was.
    """
    standard = []
    for values in statistics:
        spread = values.std()
        centred = values - values.mean()
        standard.append(centred / spread if spread > 0 else centred)
    return np.max(standard, axis=0)


def quadratic(kernel: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Mean kernel within P plus within Q less twice across, for each column of `sides`.

    With w = 1/n for the draws of P and −1/m for those of Q it is wᵀ·kernel·w.
    """
    n = sides[:, 0].sum()
    weights = sides / n - (1 - sides) / (len(sides) - n)
    found = np.einsum("ib,ib->b", weights, kernel @ weights)
    # Of a constant kernel nothing but rounding is left, which is no difference.
    found[np.abs(found) < 1e-12 * np.abs(kernel).max()] = 0.0
    return found


def energy_on_line(values: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The energy distance of `values` [N] for each column: 2∫(F − G)² from running sums."""
    where = np.argsort(values)
    gaps = np.diff(values[where])
    n = sides[:, 0].sum()
    found = np.empty(sides.shape[1])
    for column in range(len(found)):
        of_p = sides[where, column]
        climbed = np.cumsum(of_p / n - (1 - of_p) / (len(of_p) - n))[:-1]
        found[column] = 2 * (gaps @ (climbed * climbed))
    return found


def mean_ranks(scores: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """How often a draw of P scores above one of Q, ties by half, for each column: the AUC."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    n = sides[:, 0].sum()
    m = len(scores) - n
    return (ranks @ sides - n * (n + 1) / 2) / (n * m)
