"""Divergence through classifiers that tell the draws of P from those of Q.

Log ratios are learnt on some of the draws and read off the others (cross-fitting); several models
are weighed into one calibrated log ratio g. The divergence of the laws of g is no more than that of
P and Q, and what is still missing is seen by learning from half as much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.certified import lower_bound
from kullback.samples.doubts import doubts_of, unseen
from kullback.samples.draws import DrawsPair
from kullback.samples.links import linked, slope
from kullback.samples.log_ratio.functional import Mixture
from kullback.samples.log_ratio.models import MODELS
from kullback.samples.log_ratio.out_of_fold import OutOfFold, Predicted, out_of_fold
from kullback.samples.log_ratio.stacking import stacked
from kullback.samples.table import table_of

__all__ = ["Reading", "check_answers", "classifier", "estimate_of", "reading_of"]

_STILL_MISSING = 2.0
"""What more draws would add, by what the second half of them added: once that much where the error
goes as 1/n, which is put into the value, 2.4 times where it goes as n^−½."""


def classifier(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    models: Sequence[str] = MODELS,
) -> Estimate:
    """An f-divergence, or a function of one, by cross-fitted classifiers.

    Args:
        pair: the draws.
        target: the divergence; total variation is read off as the classifier's bound.
        confidence: of the interval.
        seed: of the folds and of the models.
        models: which of "quadratic", "splines", "kernel" and "trees" to weigh.

    Source: van der Laan, Polley & Hubbard (2007) for the weighing; Chernozhukov et al. (2018),
    Double/debiased machine learning, for the cross-fitting.
    """
    check_answers(target)
    found = out_of_fold(table_of(pair, seed), models, seed)
    return estimate_of(reading_of(found, target), pair, target, confidence, seed)


def check_answers(target: Target) -> None:
    """Raises `InputError` for what is no f-divergence nor a function of one."""
    if not isinstance(target.record, Divergence):
        raise InputError(
            f"{target.name!r} needs a density: classifiers see ratios only; give a distribution "
            "with log_prob for Q, or ask for a divergence such as 'kl'"
        )


@dataclass(frozen=True)
class Reading:
    """What the classifiers say of a divergence before it is judged.

    Attributes:
        value: of the record's sum, before the target's link and without what is missing.
        missing: what learning from all rather than half of the draws added, at least 0.
        stderr: of `value`.
        models: whose log ratios were weighed.
    """

    value: float
    missing: float
    stderr: float
    models: tuple[str, ...]


def reading_of(found: OutOfFold, target: Target) -> Reading:
    """The record's sum, its error and its tails from log ratios out of fold."""
    record = target.record
    weights = found.weight_p, found.weight_q
    full, half = (_mixture(part, weights) for part in (found.full, found.half))
    value = full.value(record)
    n, m = (float(w.sum()) for w in weights)
    on_p, on_q = full.variances(record)
    # Where P = Q the influences vanish, and what is left is the square of a mean.
    second_order = 0.5 * (1 / n + 1 / m) ** 2
    return Reading(
        value=value,
        missing=max(value - half.value(record), 0.0),
        stderr=math.sqrt(on_p / n + on_q / m + second_order),
        models=found.names,
    )


def estimate_of(
    reading: Reading, pair: DrawsPair, target: Target, confidence: float, seed: int
) -> Estimate:
    """The interval about a reading, or a lower bound where it is in doubt."""
    z = float(torch.special.ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64)))
    low = reading.value - z * reading.stderr
    doubts = doubts_of(reading, pair, target)
    if doubts:
        return _doubted(reading, pair, target, confidence, seed, doubts)
    widening = _STILL_MISSING * reading.missing + unseen(pair, target)
    high = reading.value + z * reading.stderr + widening
    best = min(reading.value + reading.missing, _upper(target))
    return Estimate(
        value=linked(target, best),
        # No divergence is below 0: an interval ends where the divergence does.
        low=linked(target, max(low, 0.0)),
        high=linked(target, min(high, _upper(target))),
        stderr=reading.stderr * slope(target, best),
        confidence=confidence,
        method=_method(reading),
        evaluations=len(pair.p) + len(pair.q),
    )


def _doubted(
    reading: Reading,
    pair: DrawsPair,
    target: Target,
    confidence: float,
    seed: int,
    doubts: Sequence[str],
) -> Estimate:
    low = lower_bound(pair, target, confidence, seed)
    best = linked(target, min(reading.value + reading.missing, _upper(target)))
    return Estimate(
        # What is certain is a better guess than what is less.
        value=max(best, low),
        low=low,
        high=linked(target, _upper(target)),
        confidence=confidence,
        method=_method(reading),
        evaluations=len(pair.p) + len(pair.q),
        trusted=False,
        diagnosis="; ".join(doubts),
    )


def _method(reading: Reading) -> str:
    return f"cross-fitted classifiers ({', '.join(reading.models)})"


def _mixture(found: Predicted, weights: tuple[np.ndarray, np.ndarray]) -> Mixture:
    return Mixture.of(stacked(found, *weights), weights)


def _upper(target: Target) -> float:
    assert isinstance(target.record, Divergence)
    return float(target.record.upper)
