"""Divergences from the distances to nearest neighbours, of which the bias is part of the interval.

Where draws of P have their neighbours in P near and those in Q far, P is the denser: no model, no
bins, no training. What it costs is a bias that falls slowly in many dimensions and in thin tails;
`bias` follows it down and `reach` looks where Q was never seen.
"""

from __future__ import annotations

import math

import numpy as np

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.certified import lower_bound
from kullback.samples.draws import DrawsPair
from kullback.samples.links import linked, slope
from kullback.samples.nearest_neighbor.bias import PARTS, heading_of, interval_of
from kullback.samples.nearest_neighbor.doubts import doubts
from kullback.samples.nearest_neighbor.sums import Question, question_of
from kullback.samples.reach import Reach, reach_of
from kullback.samples.scaling import SCALES, Scale, scaled

__all__ = ["nearest_neighbors"]


def nearest_neighbors(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    k: int | None = None,
    scale: Scale = "whiten",
    matched: bool = False,
) -> Estimate[float]:
    """D(P‖Q) in nats from the distances of draws to their k-th nearest, with an interval.

    The value lies between what all draws say and what that is heading to, judged by ten disjoint
    parts of the draws; the interval holds both, each with its noise. No bootstrap: resampled
    draws lie on each other.

    Args:
        pair: numeric columns only, without ties.
        target: KL both ways, Jeffreys, JS, skew, cross-entropy; Rényi, alpha and Hellinger of
            orders in (0, 1).
        confidence: of the interval.
        seed: of the order in which draws are split into parts.
        k: which neighbour; None for the 8th on the line, where noise rules, and the 4th in more
            dimensions, where bias does.
        scale: one map for both sides, which changes no divergence: "whiten" by the mean of their
            covariances, "standardize" by its diagonal, or None.
        matched: the larger of the two k-th distances as the radius on both sides, and as many
            neighbours as lie within. Less bias in few draws; it shows less of what is left.

    Raises:
        InputError: labels, ties, a side without a density, fewer than `10·(k + 2)` draws on a
            side, or a divergence that nearest neighbours do not estimate.
        MissingExtra: SciPy is not installed (on the line it is not asked for).

    Source: Wang, Kulkarni & Verdú (2009), Divergence Estimation for Multidimensional Densities
    via k-Nearest-Neighbor Distances, eq. 5 and 25; Póczos & Schneider (2011) for the powers;
    Politis & Romano (1994) for parts of the draws.

    Example:
        >>> from kullback.distributions.targets import target_of
        >>> from kullback.samples.draws import draws_of
        >>> rng = np.random.default_rng(0)
        >>> pair = draws_of(rng.normal(0, 1, 4000), rng.normal(0.5, 1.2, 4000))
        >>> found = nearest_neighbors(pair, target_of("kl"))
        >>> found.low < 0.116 < found.high, found.trusted
        (True, True)
    """
    k = _checked(pair, k, scale)
    question = question_of(target, matched)
    _check_count(pair, k, question)
    rng = np.random.default_rng(seed)
    sides = scaled(rng.permutation(pair.p.numbers), rng.permutation(pair.q.numbers), scale)
    found = heading_of(question, sides.x, sides.y, k)
    reaches = _reaches(target, sides.x, sides.y)
    interval = interval_of(found, sum(reach.may_add for reach in reaches), confidence)
    if target.record.name == "cross_entropy":
        interval = interval.moved(sides.log_unit)
    words = doubts(pair, found, interval.biased, reaches)
    value, low, high = (_linked(target, end) for end in interval[:3])
    return Estimate(
        value=value,
        low=lower_bound(pair, target, confidence, seed) if words else low,
        high=math.inf if words else high,
        stderr=interval.error * slope(target, interval.value),
        confidence=confidence,
        method=f"nearest neighbours, k={k}{' and matched radii' if matched else ''}",
        evaluations=len(pair.p) + len(pair.q),
        trusted=not words,
        diagnosis="; ".join(words),
    )


def _checked(pair: DrawsPair, k: int | None, scale: Scale) -> int:
    if pair.levels:
        raise InputError(
            f"{len(pair.levels)} of the columns hold labels, and nearest neighbours need numbers: "
            "leave them out, or take a method by classifier (plug-in, where all are labels)"
        )
    if scale not in SCALES:
        raise InputError(f"scale={scale!r} is not one of {SCALES}")
    if k is None:
        return 8 if pair.dimensions == 1 else 4
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k={k!r}: which neighbour to measure to is a whole number from 1 on")
    return k


def _check_count(pair: DrawsPair, k: int, question: Question) -> None:
    fewest = PARTS * (k + 2) * question.parts
    n = min(len(pair.p), len(pair.q))
    if n < fewest:
        raise InputError(
            f"{n} draws on a side are too few for nearest neighbours with k={k}, which split "
            f"them into {PARTS * question.parts} parts: draw at least {fewest}, or give a "
            "smaller k; the quadratic classifier goes with fewer"
        )


def _reaches(target: Target, x: np.ndarray, y: np.ndarray) -> list[Reach]:
    """How far a side goes beyond the other, for the divergences that hang on it."""
    name = target.record.name
    forward = [reach_of(x, y)] if name in ("kl", "jeffreys", "cross_entropy") else []
    backward = [reach_of(y, x)] if name in ("reverse_kl", "jeffreys") else []
    return forward + backward


def _linked(target: Target, total: float) -> float:
    """The divergence of a sum, of which only the part that the divergence can take is possible."""
    if not isinstance(target.record, Divergence):
        return total
    possible = min(max(total, 0.0), target.record.upper)
    return linked(target, possible)
