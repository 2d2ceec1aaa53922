"""Bounds on a Wasserstein distance on the line, or along many directions at once.

Draws are further apart than what they were drawn from: the distance of the draws has a mean above
the truth, so it bounds from above. From below, by duality: whoever fixes beforehand how to weigh
the gaps between quantiles sees, on average, no more than the distance. So one half of the draws
chooses the weights, the other half is weighed with them, and the two change places; where P = Q
the choice is chance and its mean is 0. Both bounds close in on the truth as it departs from 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Bounds", "bounds", "halves", "held_out", "potentials", "spread_of"]


class Bounds(NamedTuple):
    """The distance of all draws; the mean of what the halves see; the error of either.

    `power_spread` is the standard error of the `order`-th power of `plug_in`, `spread` that of
    the distance. `phi` and `psi` are the potentials at the draws of P and of Q; their variances
    make the errors.
    """

    plug_in: float
    crossed: float
    spread: float
    power_spread: float
    phi: np.ndarray
    psi: np.ndarray

    @property
    def middle(self) -> float:
        """Halfway between what is too much on average and what is too little."""
        return (self.plug_in + max(self.crossed, 0.0)) / 2

    def low(self, quantile: float) -> float:
        """What the distance exceeds; 0 where nothing is seen."""
        if self.plug_in == 0:
            return 0.0
        return max(self.crossed - quantile * self.spread, 0.0)

    def high(self, quantile: float, order: float) -> float:
        """What the distance stays below."""
        return (self.plug_in**order + quantile * self.power_spread) ** (1 / order)


def bounds(x: np.ndarray, y: np.ndarray, order: float, rng: np.random.Generator) -> Bounds:
    """Bounds of (mean of W_order^order)^(1/order) over the columns of x [n, L] and y [m, L].

    With several columns, the mean over all directions of which these are a random choice.
    """
    phi, psi, powers = potentials(x, y, order)
    plug_in = float(powers.mean()) ** (1 / order)
    (xa, xb), (ya, yb) = halves(x, rng), halves(y, rng)
    crossed = (held_out(xa, ya, xb, yb, order) + held_out(xb, yb, xa, ya, order)) / 2
    # Directions drawn at random stand for all there are.
    by_chance = powers.std(ddof=1) / math.sqrt(len(powers)) if len(powers) > 1 else 0.0
    power_spread = math.hypot(spread_of(phi, psi), by_chance)
    spread = power_spread / (order * plug_in ** (order - 1)) if plug_in else math.inf
    return Bounds(plug_in, crossed, spread, power_spread, phi, psi)


def halves(draws: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of the rows."""
    where = rng.permutation(len(draws))
    half = len(draws) // 2
    return draws[where[:half]], draws[where[half:]]


def spread_of(phi: np.ndarray, psi: np.ndarray) -> float:
    """The standard error of mean φ + mean ψ."""
    return math.sqrt(phi.var(ddof=1) / len(phi) + psi.var(ddof=1) / len(psi))


def held_out(xa: np.ndarray, ya: np.ndarray, xb: np.ndarray, yb: np.ndarray, order: float) -> float:
    """How far apart `xb` and `yb` are, weighed as suits `xa` and `ya`; means over the columns.

    Its expectation is no more than W_order (order 1: exactly so, by a function of slope ±1 that
    is fixed given the first half; beyond, by Hölder's inequality between the quantile functions).
    """
    if order == 1:
        return _by_function(xa, ya, xb, yb)
    xa, ya, xb, yb = (np.sort(side, axis=0) for side in (xa, ya, xb, yb))
    upper = _levels(len(xb), len(yb))
    width = np.diff(upper, prepend=0.0)
    middle = upper - width / 2
    gaps_a, gaps_b = (
        x[_ranks(middle, len(x))] - y[_ranks(middle, len(y))] for x, y in ((xa, ya), (xb, yb))
    )
    scale = np.abs(gaps_a).max()
    if scale == 0:
        return 0.0
    sizes = np.abs(gaps_a) / scale
    weights = np.sign(gaps_a) * sizes ** (order - 1)
    norm = float((width @ sizes**order).mean()) ** ((order - 1) / order)
    return float((width @ (weights * gaps_b)).mean()) / norm


def _by_function(xa: np.ndarray, ya: np.ndarray, xb: np.ndarray, yb: np.ndarray) -> float:
    """mean f(xb) − mean f(yb) with f' the sign of G − F in the first half, flat outside of it."""
    n, m = len(xa), len(ya)
    total = 0.0
    steps = np.concatenate([np.full(n, -m), np.full(m, n)])
    for column in range(xa.shape[1]):
        knots = np.concatenate([xa[:, column], ya[:, column]])
        where = np.argsort(knots)
        knots = knots[where]
        slopes = np.sign(np.cumsum(steps[where]))[:-1]
        f = np.concatenate([[0.0], np.cumsum(slopes * np.diff(knots))])
        of_x, of_y = (np.interp(side[:, column], knots, f) for side in (xb, yb))
        total += float(of_x.mean() - of_y.mean())
    return total / xa.shape[1]


def potentials(
    x: np.ndarray, y: np.ndarray, order: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """φ at the draws x and ψ at y, means over the columns, and W_order^order of each column.

    φ(x) + ψ(y) ≤ |x − y|^order, with equality where the coupling joins: how the cost of the
    coupling moves when draws move, which is what its variance is made of.

    Source: del Barrio, Gordaliza & Loubes (2019), A Central Limit Theorem for Lp Transportation
    Cost on the Real Line, theorem 2.1.
    """
    n, m = len(x), len(y)
    # Where both sides step at one level, x goes first: y's partner is the one that x went to.
    of_x, of_y = -((-np.arange(1, n) * m) // n) - 1, np.arange(1, m) * n // m
    phi, psi, powers = np.zeros(n), np.zeros(m), np.empty(x.shape[1])
    upper = _levels(n, m)
    width = np.diff(upper, prepend=0.0)
    middle = upper - width / 2
    ranks = _ranks(middle, n), _ranks(middle, m)
    for column in range(x.shape[1]):
        where = np.argsort(x[:, column]), np.argsort(y[:, column])
        xs, ys = x[where[0], column], y[where[1], column]
        powers[column] = width @ np.abs(xs[ranks[0]] - ys[ranks[1]]) ** order
        phi[where[0]] += _climbed(xs, ys[of_x], order)
        psi[where[1]] += _climbed(ys, xs[of_y], order)
    count = x.shape[1]
    return phi / count, psi / count, powers


def _climbed(own: np.ndarray, partners: np.ndarray, order: float) -> np.ndarray:
    """The potential at sorted draws: what each costs more than the last, at the level between."""
    costs = np.abs(own[1:] - partners) ** order - np.abs(own[:-1] - partners) ** order
    return np.concatenate([[0.0], np.cumsum(costs)])


def _levels(n: int, m: int) -> np.ndarray:
    """The levels at which one side's quantile function steps, in order, to 1."""
    if n == m:
        return np.arange(1, n + 1) / n
    return np.unique(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n])) / n / m


def _ranks(levels: np.ndarray, n: int) -> np.ndarray:
    return np.minimum((levels * n).astype(np.int64), n - 1)
