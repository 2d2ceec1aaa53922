"""`method="auto"`: what suits the data, held against a method that sees other things.

Categories are counted. Numbers go to classifiers, those with many ties to both. Where two methods
that answer differ by more than their errors, the difference is an error of the model and the
interval holds both.
"""

from __future__ import annotations

import math
from dataclasses import replace

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.classifier import check_answers, estimate_of, reading_of
from kullback.samples.copies import copied_share, without_copies
from kullback.samples.discrete import plug_in
from kullback.samples.draws import FEW, DrawsPair
from kullback.samples.log_ratio.models import MODELS
from kullback.samples.log_ratio.out_of_fold import out_of_fold
from kullback.samples.second_look import looked_at_twice
from kullback.samples.table import table_of

__all__ = ["auto"]

_TIED = 0.5
"""From this share of draws that occur more than once on, the data are discrete."""
_COPIED = 0.05
"""A larger share of draws that look like copies is no accident."""


def auto(pair: DrawsPair, target: Target, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """D(P‖Q) by the method that the data ask for."""
    copied = copied_share(pair)
    if copied > _COPIED:
        return _of_copies(pair, target, copied, confidence, seed)
    if not pair.p.numbers.shape[1]:
        return plug_in(pair, target, confidence=confidence, seed=seed)
    if pair.tied < _TIED:
        check_answers(target)
        found = out_of_fold(table_of(pair, seed), MODELS, seed)
        first = estimate_of(reading_of(found, target), pair, target, confidence, seed)
        return looked_at_twice(first, pair, target, confidence, seed)
    return _of_discrete(pair, target, confidence, seed)


def _of_copies(
    pair: DrawsPair, target: Target, copied: float, confidence: float, seed: int
) -> Estimate:
    """Each row once, and no interval: what copies stand for is not known."""
    once = without_copies(pair)
    said = (
        f"{copied:.0%} of the draws of a side are copies of others of that side, which the other "
        "side never has: if rows were doubled by mistake, pass each once; if a chain stood still, "
        "thin it; draws of a bootstrap tell no more than what they were drawn from"
    )
    if min(len(once.p), len(once.q)) < FEW:
        raise InputError(f"{said}; fewer than {FEW} different ones are left")
    found = auto(once, target, confidence=confidence, seed=seed)
    diagnosis = "; ".join(filter(None, [said, found.diagnosis]))
    return replace(
        found, low=0.0, high=math.inf, stderr=math.nan, trusted=False, diagnosis=diagnosis
    )


def _of_discrete(pair: DrawsPair, target: Target, confidence: float, seed: int) -> Estimate:
    """Numbers with ties: their order may tell more than their counts, or nothing.

    A model that counts each value by itself is tried beside those that go by the order. Unless
    those do better, values are categories.
    """
    counted = plug_in(pair, target, confidence=confidence, seed=seed)
    if not isinstance(target.record, Divergence):
        return counted
    found = out_of_fold(table_of(pair, seed), (*MODELS, "atoms"), seed)
    if "atoms" in found.names:
        return counted
    smooth = estimate_of(reading_of(found, target), pair, target, confidence, seed)
    return _agreed(smooth, counted)


def _agreed(first: Estimate, other: Estimate) -> Estimate:
    """`first`, its interval stretched to the other's value where the two do not meet."""
    if not (first.trusted and other.trusted):
        return first if first.trusted or not other.trusted else other
    apart = abs(first.value - other.value)
    if apart <= 2 * math.hypot(first.stderr, other.stderr):
        return first
    return replace(
        first,
        low=min(first.low, other.value),
        high=max(first.high, other.value),
        diagnosis=f"{other.method} says {other.value:.3g}: the interval holds both",
    )
