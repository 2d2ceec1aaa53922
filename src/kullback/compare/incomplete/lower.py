"""The least KL(P‖Q) that what is known of P and of Q allows.

KL(P‖Q) is convex in both, so the least over two boxes with Σp = Σq = 1 has a Lagrangian dual,
and by weak duality *every* pair of multipliers (μ, β) gives a bound that holds:

    KL ≥ 1 + log μ − β + Σ min over the box of [ p log(p/(μq)) − p + βq ].

Events that neither side lists are joined into one, which by data processing only lowers KL.
Which multipliers are best follows from the stationary points: an event that only Q lists gets
p = μq as far as its box reaches, one that only P lists q = p/β, and what neither lists needs
μ = β. Without rounding the bound is then the least value itself. It is never below what lumping
all events but those that both list gives.

Source: Boyd and Vandenberghe, Convex Optimization (2004), sections 3.2.6 and 5.1.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kullback.compare.incomplete.knowledge import Boxes

__all__ = ["bregman", "lower_bound"]

# exp(14) times the 1e-16 of float64 is what cancels in the dual, 1e-10; the bound is weaker
# than it could be where the unlisted masses differ by more than this factor of a million.
_REACH = 14.0
_STEPS = 50


def bregman(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """p log(p/q) − p + q, event by event: never negative, 0 where equal, inf where only q is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        d = np.log(q) - np.log(p)
        near = p * (np.expm1(d) - d)
        value = np.where(np.abs(d) < 1, near, q - p - p * d)
    return np.where(p > 0, value, q)


def lower_bound(p: Boxes, q: Boxes, others: float) -> float:
    """The bound, in nats; `others` is how many events neither side lists (inf: not known)."""
    (p_least, p_most), (q_least, q_most) = p.elsewhere(others), q.elsewhere(others)
    sides = (
        np.append(p.low, p_least),
        np.append(p.high, p_most),
        np.append(q.low, q_least),
        np.append(q.high, q_most),
    )
    mu, beta = _multipliers(p, q, p_most > 0 and q_most > 0)
    return max(_dual(1.0, 1.0, *sides), _dual(mu, beta, *sides))


def _dual(
    mu: float,
    beta: float,
    p_low: np.ndarray,
    p_high: np.ndarray,
    q_low: np.ndarray,
    q_high: np.ndarray,
) -> float:
    # Scaling a cell up moves its term by β − μ, so the least lies on the lower or the upper
    # two edges of its box, and on each edge at the stationary point or at an end.
    p_edge, q_edge = (p_low, q_low) if beta >= mu else (p_high, q_high)
    along_q = np.clip(p_edge / beta, q_low, q_high)
    along_p = np.clip(mu * q_edge, p_low, p_high)
    first = bregman(p_edge, mu * along_q) + (beta - mu) * along_q
    second = bregman(along_p, mu * q_edge) + (beta - mu) * q_edge
    constant = float(bregman(np.array(1.0), np.array(mu)))
    # Masses of one, μ and β cancel; what float64 loses of them goes outward.
    slack = 64 * np.finfo(np.float64).eps * (mu + beta) if (mu, beta) != (1.0, 1.0) else 0.0
    return float(np.minimum(first, second).sum()) - constant - (beta - mu) - slack


def _multipliers(p: Boxes, q: Boxes, has_rest: bool) -> tuple[float, float]:
    """μ and β at which the masses of the stationary point add up, from the middles of boxes."""
    weights_q = _middle(q)[q.listed & ~p.listed]
    weights_p = _middle(p)[p.listed & ~q.listed]
    rest_p, rest_q = (p.rest_low + p.rest_high) / 2, (q.rest_low + q.rest_high) / 2

    def left_of_p(mu: float) -> float:
        return rest_p - float(np.clip(mu * weights_q, p.floor, p.ceiling).sum())

    def left_of_q(beta: float) -> float:
        return rest_q - float(np.clip(weights_p / beta, q.floor, q.ceiling).sum())

    mu = _crossing(left_of_p, -_REACH, _REACH) if len(weights_q) else _REACH
    beta = _crossing(lambda x: -left_of_q(x), -_REACH, _REACH) if len(weights_p) else -_REACH
    if has_rest and mu > beta:
        # What neither side lists takes part: p = μq there, with one multiplier for both.
        both = _crossing(lambda x: left_of_p(x) - x * left_of_q(x), beta, mu)
        return math.exp(both), math.exp(both)
    if not len(weights_q) or not len(weights_p):
        # The multiplier of a side that has nothing to choose is free; equal ones cancel least.
        one = math.exp(mu if len(weights_q) else beta) if len(weights_q) + len(weights_p) else 1.0
        return one, one
    return math.exp(mu), math.exp(beta)


def _middle(side: Boxes) -> np.ndarray:
    return (side.low + side.high) / 2


def _crossing(decreasing: Callable[[float], float], low: float, high: float) -> float:
    """The logarithm at which `decreasing` goes through zero, or the end it does not reach it by."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if decreasing(math.exp(middle)) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
