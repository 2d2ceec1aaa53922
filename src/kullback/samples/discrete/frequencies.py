"""A record's sum at frequencies put in for probabilities, and the two usual ways to mend its bias.

Every f-divergence is convex in both arguments, so that frequencies make it too large on average,
by ½ Σ of its curvature times the variance of a frequency, to first order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from kullback.divergences import Functional
from kullback.numerics import make_pair
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.curvature import curvatures

__all__ = ["jackknife", "miller_madow", "plain", "terms"]


def terms(record: Functional, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The record's terms, [k]."""
    return record.terms(make_pair(torch.as_tensor(p), torch.as_tensor(q), "probs", "probs")).numpy()


def plain(record: Functional, counts: Counts, concentration: float = 0.0) -> float:
    """The record's sum at the frequencies, or at posterior means; +∞ where it is."""
    return float(terms(record, *counts.frequencies(concentration)).sum())


def miller_madow(record: Functional, counts: Counts) -> float:
    """The sum less its bias of first order; for KL (k − 1)/2n + Σ p(1 − q)/(2mq).

    Source: Miller (1955), Note on the Bias of Information Estimates, eq. 11, for entropy.
    """
    total = plain(record, counts)
    both = (counts.of_p > 0) & (counts.of_q > 0)
    p, q = (side[both] for side in counts.frequencies())
    by_p, by_q = curvatures(record, p, q)
    return total - float((by_p * p * (1 - p) / counts.n + by_q * q * (1 - q) / counts.m).sum()) / 2


def jackknife(record: Functional, counts: Counts) -> float:
    """The sum less the bias that leaving out one draw at a time shows, on each side.

    Leaving out a draw changes one event's count and rescales the rest, so that all n + m sums
    are one pass over the events.

    Source: Quenouille (1956), Notes on Bias in Estimation, eq. 3.
    """
    total = plain(record, counts)
    p, q = counts.frequencies()
    less_p = _mean_without_one(counts.of_p, lambda a, at: terms(record, a, q[at]))
    less_q = _mean_without_one(counts.of_q, lambda b, at: terms(record, p[at], b))
    return total + (counts.n - 1) * (total - less_p) + (counts.m - 1) * (total - less_q)


def _mean_without_one(count: np.ndarray, term: Callable[..., np.ndarray]) -> float:
    draws = count.sum()
    drawn = np.flatnonzero(count)
    everywhere = term(count / (draws - 1), slice(None))
    fewer = term((count[drawn] - 1) / (draws - 1), drawn)
    return float(everywhere.sum() + count[drawn] @ (fewer - everywhere[drawn]) / draws)
