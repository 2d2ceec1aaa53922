"""Divergence on the line by counting in bins, at quantiles that other draws have set.

Counting loses: the divergence of a partition is never more than the whole (data processing). So
bins are refined until that changes little, and the interval reaches beyond the finest by twice
what the last refinement added, for tails give way slowly. Quantiles from the draws that are
counted would flatter; each half is counted in the bins of the other.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from kullback.distributions.targets import Target
from kullback.divergences import TOTAL_VARIATION, Divergence
from kullback.errors import InputError
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.binning.counts import Level, counts_of, level_of
from kullback.samples.certified import lower_bound
from kullback.samples.draws import DrawsPair
from kullback.samples.reach import reach_of

__all__ = ["quantile_bins"]

_FEWEST = 80
# A refinement that adds less than this many standard errors is the last.
_SETTLED = 0.25
# Draws in bins that had too few of the other side may add so many nats more each.
_JOINED_NATS = 1.0


def quantile_bins(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    bins: int | None = None,
) -> Estimate[float]:
    """D(P‖Q) in nats of draws on the line, counted in bins at quantiles of both sides together.

    Args:
        pair: one numeric column.
        target: any divergence but total variation, whose corner biases counts where P is near Q,
            and the cross-entropy, which needs a density.
        confidence: of the interval.
        seed: of the halves that set each other's bins.
        bins: how many, a power of two from 4 on; None refines until little changes, up to the
            root of the number of draws.

    Raises:
        InputError: more than one column, labels, fewer than 80 draws on a side, or another
            divergence.

    Source: Wang, Kulkarni & Verdú (2005), Divergence Estimation of Continuous Distributions Based
    on Data-Dependent Partitions, section III; the bias of counts by the grouped jackknife,
    Quenouille (1956), their error by the delta method.

    Example:
        >>> from kullback.distributions.targets import target_of
        >>> from kullback.samples.draws import draws_of
        >>> rng = np.random.default_rng(0)
        >>> pair = draws_of(rng.normal(0, 1, 4000), rng.normal(1, 1, 4000))
        >>> found = quantile_bins(pair, target_of("kl"))
        >>> found.low < 0.5 < found.high, found.trusted
        (True, True)
    """
    record = _checked(pair, target, bins)
    x, y = pair.p.numbers[:, 0], pair.q.numbers[:, 0]
    n = min(len(x), len(y))
    finest = bins or max(8, 1 << round(math.log2(math.sqrt(n))))
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(x), rng.permutation(y)
    halves = [counts_of(x[i::2], y[i::2], x[1 - i :: 2], y[1 - i :: 2], finest) for i in range(2)]
    sizes = [finest >> j for j in range(int(math.log2(finest)) - 1)][::-1]
    levels = [level_of(record, halves, finest // size) for size in sizes]
    at = len(levels) - 1 if bins else _settled(levels)
    step = max(levels[at].value - levels[at - 1].value, 0.0) if at else levels[at].value
    return _estimate(pair, target, record, levels[at], step, confidence, seed)


def _checked(pair: DrawsPair, target: Target, bins: int | None) -> Divergence:
    if pair.levels or pair.dimensions != 1:
        raise InputError(
            f"bins at quantiles take one numeric column, not {pair.dimensions} with "
            f"{len(pair.levels)} of labels: nearest neighbours take several, the methods by "
            "classifier take labels too"
        )
    record = target.record
    if not isinstance(record, Divergence) or record is TOTAL_VARIATION:
        raise InputError(
            f"bins at quantiles do not estimate {target.name!r}: for total variation take a "
            "method by classifier, for the cross-entropy nearest neighbours"
        )
    n = min(len(pair.p), len(pair.q))
    if n < _FEWEST:
        raise InputError(
            f"{n} draws on a side are too few for bins: draw at least {_FEWEST}, or take the "
            "quadratic classifier"
        )
    if bins is not None and (bins < 4 or bins & (bins - 1) or bins > n // 4):
        raise InputError(f"bins={bins!r} has to be a power of two from 4 to {n // 4}")
    return record


def _settled(levels: list[Level]) -> int:
    for index in range(1, len(levels)):
        step = levels[index].value - levels[index - 1].value
        if abs(step) < _SETTLED * math.sqrt(levels[index].variance):
            return index
    return len(levels) - 1


def _estimate(
    pair: DrawsPair,
    target: Target,
    record: Divergence,
    level: Level,
    step: float,
    confidence: float,
    seed: int,
) -> Estimate[float]:
    n = min(len(pair.p), len(pair.q))
    error = math.sqrt(level.variance)
    noise = t_quantile((1 + confidence) / 2, n - 1) * error
    reaches = [] if math.isfinite(record.upper) else [reach_of(pair.p.numbers, pair.q.numbers)]
    if target.name in ("reverse_kl", "jeffreys"):
        reaches.append(reach_of(pair.q.numbers, pair.p.numbers))
    beyond = sum(reach.may_add for reach in reaches) + _JOINED_NATS * level.joined
    words = _doubts(level, step, beyond, error, n)
    value, low, high = (
        float(target.link(torch.tensor(min(max(end, 0.0), record.upper), dtype=torch.float64)))
        for end in (
            level.value + step,
            level.value - noise,
            level.value + 2 * step + noise + beyond,
        )
    )
    return Estimate(
        value=value,
        low=lower_bound(pair, target, confidence, seed) if words else low,
        high=math.inf if words else high,
        stderr=error,
        confidence=confidence,
        method=f"{level.bins} bins at quantiles",
        evaluations=len(pair.p) + len(pair.q),
        trusted=not words,
        diagnosis="; ".join(words),
    )


def _doubts(level: Level, step: float, beyond: float, error: float, n: int) -> list[str]:
    words = []
    if beyond > 1.5 * error:
        words.append(
            "one side has draws where the other has hardly any, and no bins tell how small its "
            f"density is there: that may add {beyond:.2g} and more"
        )
    if step > 0.4 * level.value + 2 * error:
        words.append(
            f"every refinement still adds: the last one {step:.2g} to {level.value:.2g}, with "
            f"{level.bins} bins for {n} draws"
        )
    if level.value > 0.5 * math.log(n):
        words.append(
            f"the divergence is too large for {n} draws: bins tell no ratio of densities beyond "
            f"{n}, and the value of {level.value:.2g} is an underestimate"
        )
    return words
