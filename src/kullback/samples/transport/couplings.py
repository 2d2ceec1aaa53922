"""Couplings of draws in several dimensions: the cheapest one, or one smoothed by an entropy.

Any coupling costs no less than the cheapest, and the cheapest of the draws no less, on average,
than that of P and Q: either bounds the distance from above. Half of what the draws of one side
cost against each other is taken off for the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kullback.errors import MissingExtra

__all__ = ["Coupling", "debiased", "exact", "sinkhorn"]


class Coupling(NamedTuple):
    """The mean cost |x − y|^order, the smoothed one, and the potentials at the draws."""

    cost: float
    smoothed: float
    phi: np.ndarray
    psi: np.ndarray


Coupler = Callable[[np.ndarray, np.ndarray], Coupling]


def exact(order: float) -> Coupler:
    """The cheapest coupling, by the network simplex.

    Source: Bonneel, van de Panne, Paris & Heidrich (2011), Displacement Interpolation Using
    Lagrangian Mass Transport; implemented in POT.
    """

    def couple(x: np.ndarray, y: np.ndarray) -> Coupling:
        a, b = _uniform(len(x)), _uniform(len(y))
        cost, log = _pot().emd2(a, b, _costs(x, y, order), log=True, numItermax=10_000_000)
        return Coupling(float(cost), float(cost), log["u"], log["v"])

    return couple


def sinkhorn(order: float, regularization: float) -> Coupler:
    """The coupling whose cost plus regularization·KL(coupling‖product) is the least.

    `cost` is its plain cost, raised by as much as making its margins exact can cost.

    Source: Cuturi (2013), Sinkhorn Distances; Altschuler, Weed & Rigollet (2017), lemma 7.
    """

    def couple(x: np.ndarray, y: np.ndarray) -> Coupling:
        a, b, costs = _uniform(len(x)), _uniform(len(y)), _costs(x, y, order)
        # exp(−cost/regularization) must not underflow where mass has to go.
        method = "sinkhorn" if costs.max() < 300 * regularization else "sinkhorn_log"
        plan, log = _pot().sinkhorn(
            a, b, costs, regularization, method=method, numItermax=1_000, stopThr=1e-5,
            log=True, warn=False,
        )  # fmt: skip
        off = float(np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum())
        cost = float((plan * costs).sum())
        held = plan > 0
        entropy = float((plan[held] * np.log(plan[held] * len(x) * len(y))).sum())
        phi, psi = (regularization * np.log(log[side]) for side in ("u", "v"))
        raised = cost + off * float(costs.max())
        return Coupling(raised, cost + regularization * entropy, phi, psi)

    return couple


def debiased(x: np.ndarray, y: np.ndarray, couple: Coupler, order: float) -> tuple[float, float]:
    """The distance less what draws of one side cost, and how far a side sees: see `blindness`.

    Matchings of halves with halves of the other side and of their own.

    Source: Genevay, Peyré & Cuturi (2018), Learning Generative Models with Sinkhorn Divergences.
    """
    (xa, xb), (ya, yb) = ((side[::2], side[1::2]) for side in (x, y))
    across = (couple(xa, ya).smoothed + couple(xb, yb).smoothed) / 2
    within = [couple(a, b).smoothed for a, b in ((xa, xb), (ya, yb))]
    power = across - sum(within) / 2
    return max(power, 0.0) ** (1 / order), max(
        _blindness(a, b, cost, order) for a, b, cost in ((xa, xb, within[0]), (ya, yb, within[1]))
    )


def _blindness(a: np.ndarray, b: np.ndarray, within: float, order: float) -> float:
    """How far off a draw's match is within one side, in distances of any two draws: 0 to 1."""
    count = min(len(a), len(b))
    apart = float((np.linalg.norm(a[:count] - b[:count], axis=1) ** order).mean())
    return (max(within, 0.0) / apart) ** (1 / order) if apart else 0.0


def _uniform(n: int) -> np.ndarray:
    return np.full(n, 1 / n)


def _costs(x: np.ndarray, y: np.ndarray, order: float) -> np.ndarray:
    """|x − y|^order of every two draws [n, m], by differences: exactly 0 for equal draws."""
    squares = np.zeros((len(x), len(y)))
    for column in range(x.shape[1]):
        squares += (x[:, column, None] - y[:, column]) ** 2
    return squares if order == 2 else squares ** (order / 2)


def typical_cost(x: np.ndarray, y: np.ndarray, order: float) -> float:
    """The median cost of some pairs: the scale that a regularization is chosen by."""
    count = min(len(x), len(y))
    costs = np.linalg.norm(x[:count] - y[:count], axis=1) ** order
    return float(np.median(costs)) or float(costs.mean()) or math.ulp(1.0)


def _pot() -> Any:
    try:
        import ot
    except ImportError:
        raise MissingExtra("pot", "samples") from None
    return ot
