"""A certified interval of KL(P‖Q) at one position, from logs that list only some events.

Nothing is renormalised and nothing guessed: the interval holds for every pair of distributions
that agrees with what the logs say, and hence for the true one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kullback.compare.incomplete.knowledge import Boxes, Knowledge, boxes
from kullback.compare.incomplete.lower import bregman, lower_bound
from kullback.compare.incomplete.upper import greatest, upper_bound
from kullback.errors import InputError

__all__ = ["Bounds", "kl_bounds"]


class Bounds(NamedTuple):
    """What is certain of one position, in nats.

    KL(P‖Q) lies in [`low`, `high`]; `high` is +inf where nothing bounds it. The KL of what both
    sides list, everything else being one event, lies in [`listed_low`, `listed_high`], which is
    one number where nothing was rounded. `rest_p` and `rest_q` are the masses that either side
    does not list, at most.
    """

    low: float
    high: float
    listed_low: float
    listed_high: float
    rest_p: float
    rest_q: float


def kl_bounds(p: Knowledge, q: Knowledge, *, vocabulary: int | None = None) -> Bounds:
    """The interval that KL(P‖Q) certainly lies in, in nats, at one position.

    Args:
        p: what is known of P, over the events that either side lists.
        q: what is known of Q, over the same events.
        vocabulary: how many events there are in all; without it nobody is known to list all.

    Raises:
        InputError: the two are not over the same events, or no distribution fits one of them.

    Source: the lower bound is the dual of a convex programme, the upper one its greatest corner
    (Boyd and Vandenberghe 2004); that joining events lowers KL is the data processing inequality
    (Cover and Thomas 2006, theorem 2.7.1 and section 2.8).

    Example:
        P lists two events of five, Q all five:

        >>> import numpy as np
        >>> p = Knowledge(np.log([0.5, 0.3, np.nan, np.nan, np.nan]), threshold=np.log(0.3))
        >>> q = Knowledge(np.log([0.4, 0.3, 0.1, 0.1, 0.1]))
        >>> bounds = kl_bounds(p, q, vocabulary=5)
        >>> f"{bounds.low:.4f} {bounds.high:.4f}"
        '0.0305 0.2502'
    """
    if p.log_probs.shape != q.log_probs.shape or p.log_probs.ndim != 1:
        raise InputError(
            f"both sides must be one row over the same events, got shapes {p.log_probs.shape} and "
            f"{q.log_probs.shape}: put NaN where a side lists nothing"
        )
    # What neither lists is one cell, however many entries the caller has for it.
    listed = ~(np.isnan(p.log_probs) & np.isnan(q.log_probs))
    p, q = (replace(side, log_probs=side.log_probs[listed]) for side in (p, q))
    others = math.inf if vocabulary is None else vocabulary - len(p.log_probs)
    if others < 0:
        raise InputError(f"{len(p.log_probs)} events are listed, of a vocabulary of {vocabulary}")
    P, Q = boxes(p, vocabulary, "the reference"), boxes(q, vocabulary, "the candidate")
    listed_low, listed_high = _listed(P, Q)
    high = upper_bound(P, Q, others)
    # Both are right to 1e-10 of arithmetic, which may turn them round where they meet.
    low = min(max(listed_low, lower_bound(P, Q, others)), high)
    return Bounds(low, high, listed_low, listed_high, P.rest_high, Q.rest_high)


def _listed(p: Boxes, q: Boxes) -> tuple[float, float]:
    both = p.listed & q.listed
    cells = [
        np.append(edge[both], rest)
        for side in (p, q)
        for edge, rest in zip((side.low, side.high), _outside(side, both), strict=True)
    ]
    p_low, p_high, q_low, q_high = cells
    # The points of two intervals that are nearest to each other: equal where these overlap.
    nearest = bregman(np.clip(q_low, p_low, p_high), np.clip(p_low, q_low, q_high))
    return float(nearest.sum()), greatest(*cells)


def _outside(side: Boxes, both: np.ndarray) -> tuple[float, float]:
    """The mass of everything but `both`, as an interval."""
    if both.all() and not side.missing:
        return 0.0, 0.0
    least = side.low[side.listed & ~both].sum() + side.rest_low
    most = side.high[side.listed & ~both].sum() + side.rest_high
    return float(least), float(min(most, 1.0))
