"""The most different regions: a shallow tree grown on one half of the draws, counted on the other.

The tree may look for differences as it likes, since the draws that are counted in its leaves had
no part in it. Its leaves are a partition, and the divergence of the two rows of shares is at most
that of P and Q (data processing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.errors import MissingExtra
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.certified import limits
from kullback.samples.explain.columns import Column
from kullback.samples.explain.conditions import leaves_of, scaled, scales_of

__all__ = ["Region", "partition_kl", "regions_of"]

_DEPTH = 3
_SMALLEST_LEAF = 0.03
_FEWEST_IN_LEAF = 5


@dataclass(frozen=True)
class Region:
    """A region, how much of each side lies in it, and what it adds to the KL.

    Attributes:
        condition: which draws it has, such as "x0 > 1.2 and x3 ≤ 0.4".
        share_p: of the counted draws of P.
        share_q: of those of Q.
        contribution: p log(p/q) − p + q of the two shares, in nats; never negative.
    """

    condition: str
    share_p: Estimate[float]
    share_q: Estimate[float]
    contribution: Estimate[float]


def regions_of(
    columns: tuple[Column, ...], confidence: float, seed: int
) -> tuple[tuple[Region, ...], Estimate[float]]:
    """The leaves, the largest contribution first, and the KL of the partition.

    The regions' intervals hold together with the confidence: each share has an exact interval
    (Clopper & Pearson 1934) of one part in 2·leaves of the risk, and a contribution's ends are
    those of the box of its two shares. Half a draw is added to every leaf on each side
    (Krichevsky & Trofimov 1981) in the contributions, not in the shares, so that a leaf without
    a counted draw of Q does not say ∞; the ends do, where nothing speaks against it.
    """
    chance = np.random.default_rng(seed)
    scales = scales_of(columns)
    sides = [scaled(columns, side, scales) for side in ("p", "q")]
    halves = [_halves(len(side), chance) for side in sides]
    grown = [side[half[0]] for side, half in zip(sides, halves, strict=True)]
    tree = _grow(grown[0], grown[1], seed)
    counted = [tree.apply(side[half[1]]) for side, half in zip(sides, halves, strict=True)]
    leaves = leaves_of(tree.tree_, columns, scales)
    counts = np.array([[(leaf == x.index).sum() for x in leaves] for leaf in counted])
    totals = counts.sum(1)
    smooth = _smoothed(counts)
    level = (1 - confidence) / (4 * len(leaves))
    found = [
        _region(leaf.condition, counts[:, i], totals, smooth[:, i], level, confidence)
        for i, leaf in enumerate(leaves)
    ]
    found.sort(key=lambda region: region.contribution.value, reverse=True)
    return tuple(found), partition_kl(counts, confidence)


def partition_kl(counts: np.ndarray, confidence: float) -> Estimate[float]:
    """KL of the shares of regions that were fixed beforehand, from counts [2, regions].

    The error has a part of first order, of log(p/q) on P and of p/q on Q, and one of second
    order, which is all that is left where P = Q: there 2·KL/(1/n + 1/m) is χ² of one degree less
    than there are regions. The interval is centred where the mean of that is taken off.
    """
    n, m = (int(total) for total in counts.sum(1))
    p, q = _smoothed(counts)
    ratio = p / q
    value = math.fsum(_term(*shares) for shares in zip(p, q, strict=True))
    first = _variance(p, np.log(ratio)) / n + _variance(q, ratio) / m
    half, rounds = 0.5 * (counts.shape[1] - 1), 1 / n + 1 / m
    stderr = math.sqrt(first + half * rounds**2)
    reach = t_quantile((1 + confidence) / 2, min(n, m) - 1) * stderr
    centre = value - half * rounds
    return Estimate(
        value,
        max(centre - reach, 0.0),
        max(centre + reach, value),
        stderr,
        confidence,
        f"counts in {counts.shape[1]} regions, a lower bound of the whole KL",
        n + m,
    )


def _variance(shares: np.ndarray, values: np.ndarray) -> float:
    mean = float(shares @ values)
    return float(shares @ (values - mean) ** 2)


def _smoothed(counts: np.ndarray) -> np.ndarray:
    return (counts + 0.5) / (counts.sum(1, keepdims=True) + 0.5 * counts.shape[1])


def _halves(count: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = chance.permutation(count)
    return order[: count // 2], order[count // 2 :]


def _grow(p: np.ndarray, q: np.ndarray, seed: int) -> Any:
    try:
        from sklearn.tree import DecisionTreeClassifier
    except ImportError:
        raise MissingExtra("scikit-learn", "samples") from None
    fewest = max(_FEWEST_IN_LEAF, math.ceil(_SMALLEST_LEAF * (len(p) + len(q))))
    tree = DecisionTreeClassifier(
        criterion="log_loss",
        max_depth=_DEPTH,
        min_samples_leaf=fewest,
        class_weight="balanced",
        random_state=seed,
    )
    return tree.fit(np.concatenate([p, q]), np.repeat([1, 0], [len(p), len(q)]))


def _region(
    condition: str,
    counts: np.ndarray,
    totals: np.ndarray,
    smooth: np.ndarray,
    level: float,
    confidence: float,
) -> Region:
    shares = []
    for count, total in zip(counts, totals, strict=True):
        low, high = limits(float(count), float(total), level)
        value = float(count / total)
        stderr = math.sqrt(value * (1 - value) / total)
        shares.append(Estimate(value, low, high, stderr, confidence, "Clopper–Pearson", int(total)))
    p, q = shares
    contribution = Estimate(
        _term(*smooth),
        _nearest(p, q),
        max(_term(p.high, q.low), _term(p.low, q.high)),
        confidence=confidence,
        method="from the intervals of both shares",
        evaluations=int(totals.sum()),
    )
    return Region(condition, p, q, contribution)


def _nearest(p: Estimate[float], q: Estimate[float]) -> float:
    """The least term in the box of both shares, which is 0 where they may be equal."""
    if p.low > q.high:
        return _term(p.low, q.high)
    return _term(p.high, q.low) if p.high < q.low else 0.0


def _term(p: float, q: float) -> float:
    """p log(p/q) − p + q."""
    if p == 0:
        return q
    return math.inf if q == 0 else p * math.log(p / q) - p + q
