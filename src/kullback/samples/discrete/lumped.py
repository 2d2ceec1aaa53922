"""A certified lower bound: events lumped into a few groups, and what their counts prove.

Lumping never raises an f-divergence. The groups are chosen on one half of the draws, by p̂/q̂; on
the other half each group's share has an interval by Clopper and Pearson, and all of them hold at
once. A divergence is convex, so that over all shares within the intervals it is above its tangent
at any ratio, and the least of a tangent is found by filling up the cheapest groups first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.errors import MissingExtra
from kullback.samples.discrete.counts import Counts, counts_of
from kullback.samples.draws import DrawsPair

__all__ = ["lumped_lower_bound"]

_GROUPS = (2, 3, 5, 8)


def lumped_lower_bound(
    pair: DrawsPair, target: Target, confidence: float = 0.95, seed: int = 0
) -> float:
    """A number that is below D(P‖Q) with the given probability, at the least; 0 if none is found.

    Source: Clopper & Pearson (1934); Csiszár (1967) for the lumping.
    """
    if not isinstance(target.record, Divergence):
        return 0.0
    chosen, held = _halves(pair, seed)
    order = np.argsort(np.divide(*chosen.frequencies(0.5)), kind="stable")
    best, best_groups = 0.0, None
    for groups in (_cut(chosen, order, number) for number in _GROUPS):
        bound = _bound(target.record, _lump(chosen, groups), confidence)
        if bound > best:
            best, best_groups = bound, groups
    if best_groups is None:
        return 0.0
    total = _bound(target.record, _lump(held, best_groups), confidence)
    return float(target.link(torch.tensor(total, dtype=torch.float64)))


def _halves(pair: DrawsPair, seed: int) -> tuple[Counts, Counts]:
    rng = np.random.default_rng(seed)
    k = len(counts_of(pair).of_p)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for codes in (pair.atoms.x, pair.atoms.y):
        mixed = rng.permutation(codes)
        for part, half in zip(parts, np.array_split(mixed, 2), strict=True):
            part.append(np.bincount(half, minlength=k).astype(np.float64))
    return Counts(*parts[0]), Counts(*parts[1])


def _cut(counts: Counts, order: np.ndarray, number: int) -> np.ndarray:
    """The group of each event: runs of `order` with about equal shares of both sides' draws."""
    p, q = counts.frequencies()
    below = np.cumsum((p + q)[order]) / 2
    groups = np.empty(len(order), np.int64)
    groups[order] = np.minimum((below * number).astype(np.int64), number - 1)
    return groups


def _lump(counts: Counts, groups: np.ndarray) -> Counts:
    number = int(groups.max()) + 1
    of_p, of_q = (
        np.bincount(groups, side, minlength=number) for side in (counts.of_p, counts.of_q)
    )
    return Counts(of_p, of_q)


def _bound(record: Divergence, counts: Counts, confidence: float) -> float:
    """The least divergence of shares that lie in all of their intervals."""
    risk = (1 - confidence) / (4 * len(counts.of_p))
    low_p, high_p = _clopper_pearson(counts.of_p, risk)
    low_q, high_q = _clopper_pearson(counts.of_q, risk)
    found = 0.0
    for u in _ratios(counts, (low_p, high_p), (low_q, high_q)):
        at = torch.as_tensor(u).requires_grad_()
        value = record.generator(at)
        (slope,) = torch.autograd.grad(value.sum(), at)
        on_p, on_q = slope.numpy(), (value - at * slope).detach().numpy()
        found = max(found, _least(on_p, low_p, high_p) + _least(on_q, low_q, high_q))
    return found


Ends = tuple[np.ndarray, np.ndarray]


def _ratios(counts: Counts, p: Ends, q: Ends) -> Iterator[np.ndarray]:
    """Where to lay the tangent: at the ratio nearest to 1 that is not ruled out, and beyond."""
    sure = np.ones_like(p[0])
    np.divide(p[0], q[1], out=sure, where=p[0] > q[1])
    np.divide(p[1], q[0], out=sure, where=p[1] < q[0])
    likely = np.divide(*counts.frequencies(0.5))
    for share in (0.0, 0.25, 0.5, 0.75):
        yield sure ** (1 - share) * likely**share


def _least(cost: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The least Σ cost·share over shares within [low, high] that sum to 1."""
    order = np.argsort(cost, kind="stable")
    room = (high - low)[order]
    left = 1 - low.sum()
    taken = np.minimum(room, np.maximum(left - (np.cumsum(room) - room), 0.0))
    return float(cost @ low + cost[order] @ taken)


def _clopper_pearson(count: np.ndarray, risk: float) -> Ends:
    """Ends that a share is beyond with probability `risk` each, at the most."""
    try:
        from scipy.special import betaincinv
    except ImportError:
        raise MissingExtra("scipy", "samples") from None
    rest = count.sum() - count
    low = np.where(count > 0, betaincinv(np.where(count > 0, count, 1), rest + 1, risk), 0.0)
    high = np.where(rest > 0, betaincinv(count + 1, np.where(rest > 0, rest, 1), 1 - risk), 1.0)
    return low, high
