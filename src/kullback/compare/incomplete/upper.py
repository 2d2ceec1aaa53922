"""The greatest KL(P‖Q) that what is known of P and of Q allows.

KL is convex, so its greatest value sits at corners. Where Q is known in full, P's unlisted mass
does most harm on the events that Q thinks least of, each filled up to the threshold: a greedy
filling. Where Q's log is cut off, its unlisted events may be as improbable as they like and the
greatest KL is +inf, unless P has nothing there or something holds Q up: a floor that was given,
or a vocabulary so small that the threshold alone leaves each unlisted event some mass.
"""

from __future__ import annotations

import math

import numpy as np

from kullback.compare.incomplete.knowledge import Boxes
from kullback.compare.incomplete.lower import bregman

__all__ = ["greatest", "upper_bound"]


def upper_bound(p: Boxes, q: Boxes, others: float) -> float:
    """The bound, in nats; `others` is how many events neither side lists (inf: not known)."""
    both, only_p, only_q = p.listed & q.listed, p.listed & ~q.listed, q.listed & ~p.listed
    harm = p.high[only_p].any() or (others > 0 and p.rest_high > 0)
    if q.missing and not q.floor and harm:
        return math.inf
    shared = greatest(p.low[both], p.high[both], q.low[both], q.high[both])
    # Σp = Σq = 1, so that −p + q may be added to each term; the mass of q is summed by itself.
    total = shared + float(q.high[only_q].sum()) + q.rest_high
    if only_p.any() and p.high[only_p].any():
        ends = [_plain(end[only_p], q.floor) for end in (p.low, p.high)]
        total += float(np.maximum(*ends).sum())
    if p.missing and p.rest_high:
        total += _filled(p, q.low[only_q], q.floor, others)
    return total


def greatest(p_low: np.ndarray, p_high: np.ndarray, q_low: np.ndarray, q_high: np.ndarray) -> float:
    """Σ of the greatest p log(p/q) − p + q in each box, which a corner attains."""
    corners = [bregman(p, q) for p in (p_low, p_high) for q in (q_low, q_high)]
    return float(np.max(corners, axis=0).sum())


def _plain(p: np.ndarray, floor: float) -> np.ndarray:
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / floor) - p, 0.0)


def _filled(p: Boxes, listed_by_q: np.ndarray, floor: float, others: float) -> float:
    """The greatest Σ x log(x/q) − x over P's unlisted events.

    With mass r, ⌊r/t⌋ of them are at the threshold t and one has the remainder, in the order of
    Q from the least. Over an interval of masses the greatest value is at an end, or where every
    event is full; filling one more event pays as long as log(t/q) > 1.
    """
    t = p.ceiling
    needed = math.floor(p.rest_high / t) + 2
    hidden = np.full(int(min(others, needed)) if floor else 0, floor)
    candidates = np.concatenate([listed_by_q, hidden])
    if len(candidates) > needed:
        candidates = np.partition(candidates, needed - 1)[:needed]
    with np.errstate(divide="ignore"):
        gains = math.log(t) - np.log(np.sort(candidates))
    full = np.concatenate([[0.0], np.cumsum(t * gains)])
    best = int(np.count_nonzero(gains > 1))
    least, most = math.ceil(p.rest_low / t), math.floor(p.rest_high / t)
    masses = [p.rest_low, p.rest_high]
    if least <= most:
        masses += [t * min(max(best, least), most)]
    return max(_at_mass(mass, t, gains, full) for mass in masses)


def _at_mass(mass: float, t: float, gains: np.ndarray, full: np.ndarray) -> float:
    filled = min(math.floor(mass / t), len(gains))
    remainder = mass - filled * t
    value = float(full[filled]) - mass
    if remainder > 0 and filled < len(gains):
        value += remainder * (float(gains[filled]) + math.log(remainder / t))
    return value
