"""A lower bound that holds with its confidence for any P and Q, however large the divergence.

Half of the draws choose an event A; the other half tell how probable it is under P and under Q,
between limits that are exact for every n. Telling apart no more than A from its complement loses
information but gains none (data processing), so that D(P‖Q) is at least the divergence of the two
coins.

Source: Clopper & Pearson (1934), Biometrika 26, for the limits; Csiszár (1967) for the lumping.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from kullback.distributions.targets import Target
from kullback.divergences import Divergence, Functional
from kullback.numerics import Pair
from kullback.samples.draws import DrawsPair
from kullback.samples.links import linked
from kullback.samples.log_ratio.models import model_of
from kullback.samples.table import Table, table_of
from kullback.samples.threads import threads_for

__all__ = ["limits", "lower_bound", "of_coins"]

_LEVELS = np.linspace(0.02, 0.98, 49)
"""Events tried: a log ratio above these quantiles of it, and their complements."""


def lower_bound(pair: DrawsPair, target: Target, confidence: float, seed: int) -> float:
    """The number that D(P‖Q) exceeds with `confidence`; −inf for what is no divergence."""
    if not isinstance(target.record, Divergence):
        return -math.inf
    table = table_of(pair, seed, folds=3)
    with threads_for(len(table.rows)):
        ratio, cut = _event(table, target.record, confidence, seed)
    above = ratio > cut
    of_p, of_q = (_count(side[:, 2], above) for side in (table.p, table.q))
    found = max(_bound(target.record, of_p, of_q, confidence), 0.0)
    return linked(target, found)


def limits(successes: float, trials: float, level: float) -> tuple[float, float]:
    """The one-sided Clopper–Pearson limits, each of confidence 1 − level."""
    from scipy.stats import beta

    low = float(beta.ppf(level, successes, trials - successes + 1)) if successes > 0 else 0.0
    rest = trials - successes
    high = float(beta.isf(level, successes + 1, rest)) if rest > 0 else 1.0
    return low, high


def of_coins(record: Functional, a: float, b: float) -> float:
    """The divergence of the coin a from the coin b, 0 < a, b < 1."""
    p, q = (torch.tensor([x, 1 - x], dtype=torch.float64) for x in (a, b))
    log_p, log_q = p.log(), q.log()
    return float(record.terms(Pair(p, q, log_p, log_q, log_q - log_p)).sum())


def _bound(
    record: Functional,
    of_p: tuple[float, float],
    of_q: tuple[float, float],
    confidence: float,
) -> float:
    """Of the coins nearest to each other within the limits of both; (successes, trials) each.

    Where P's share is the larger one, only its lower limit and Q's upper one count.
    """
    level = (1 - confidence) / 2
    (low_p, high_p), (low_q, high_q) = (limits(*side, level) for side in (of_p, of_q))
    if low_p > high_q:
        return of_coins(record, low_p, high_q)
    if high_p < low_q:
        return of_coins(record, high_p, low_q)
    return 0.0


def _event(
    table: Table, record: Functional, confidence: float, seed: int
) -> tuple[np.ndarray, float]:
    """The log ratio and the cut whose bound is best, by the first two folds alone."""
    best: tuple[float, np.ndarray, float] = (-1.0, np.zeros(len(table.rows)), 0.0)
    p, q = table.p, table.q
    for name in ("quadratic", "trees"):
        ratio = model_of(name, table, seed)(p[:, 0], q[:, 0])
        seen = ratio[(p[:, 1] > 0) | (q[:, 1] > 0)]
        for cut in np.unique(np.quantile(seen, _LEVELS)):
            of_p, of_q = (_count(side[:, 1], ratio > cut) for side in (p, q))
            found = _bound(record, of_p, of_q, confidence)
            if found > best[0]:
                best = found, ratio, float(cut)
    return best[1], best[2]


def _count(weight: np.ndarray, event: np.ndarray) -> tuple[float, float]:
    return float(weight[event].sum()), float(weight.sum())
