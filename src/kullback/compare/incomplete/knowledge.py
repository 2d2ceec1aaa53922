"""What one side's log says about one position: boxes for probabilities that it does not tell.

A log lists a few events with their log-probabilities, printed to some precision. Of every other
event it says two things: it is no more probable than the least of the top k, and all of them
together have what is left of one. Both become intervals here, and everything that is proved
later is proved for every distribution inside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kullback.errors import InputError

__all__ = ["Boxes", "Knowledge", "boxes"]

# Sums of exp of a million float64 log-probabilities are off by less.
_ARITHMETIC = 1e-14
# What is off by more than this is no matter of arithmetic, and refused.
_SUM_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Knowledge:
    """One side at one position, over the events that either side lists.

    `log_probs` (float64 [events]) is NaN where this side lists nothing. No unlisted event has a
    log-probability above `threshold` (0 where that is not known either) or below `floor`
    (−inf where nothing holds them up). Each listed number is right to within `rounding`, in nats.
    """

    log_probs: np.ndarray
    threshold: float = 0.0
    floor: float = -math.inf
    rounding: float = 0.0


class Boxes(NamedTuple):
    """Intervals that hold a side's probabilities.

    `low` and `high` (float64 [events]) are those of the events, of which `listed` are listed;
    `rest_low` and `rest_high` bound the mass that all `missing` unlisted events have together
    (inf: nobody knows how many), each of which lies in [`floor`, `ceiling`].
    """

    low: np.ndarray
    high: np.ndarray
    listed: np.ndarray
    missing: float
    rest_low: float
    rest_high: float
    floor: float
    ceiling: float

    def elsewhere(self, others: float) -> tuple[float, float]:
        """The mass that `others` events have together which neither side lists."""
        if not others:
            return 0.0, 0.0
        least = others * self.floor if self.floor else 0.0
        return min(least, self.rest_high), min(others * self.ceiling, self.rest_high)


def boxes(side: Knowledge, vocabulary: int | None, name: str) -> Boxes:
    """The intervals that `side` implies, with `vocabulary` events in all (None: not known).

    Raises `InputError` where no distribution fits, with `name` in front of what is wrong.
    """
    listed = ~np.isnan(side.log_probs)
    logs = side.log_probs[listed]
    low = np.exp(logs - side.rounding)
    high = np.minimum(np.exp(logs + side.rounding), 1.0)
    missing = math.inf if vocabulary is None else vocabulary - len(logs)
    _check_sums(float(low.sum()), float(high.sum()), missing, side.rounding, name)
    # Masses are never negative, whatever rounding leaves of one.
    rest_low = max(0.0, 1.0 - float(high.sum()) - _ARITHMETIC) if missing else 0.0
    rest_high = max(0.0, 1.0 - float(low.sum()) + _ARITHMETIC) if missing else 0.0
    ceiling = min(math.exp(min(0.0, side.threshold + side.rounding)), rest_high)
    if missing * ceiling < rest_low - _SUM_SLACK if ceiling else rest_low > _SUM_SLACK:
        raise InputError(
            f"{name}: {_unlisted(missing, ceiling)} cannot have the {rest_low:.3g} that "
            f"the listed ones leave: the vocabulary is larger than {vocabulary}, "
            "or the list is not of the most probable"
        )
    floor = math.exp(side.floor)
    if math.isfinite(missing) and missing:
        floor = max(floor, rest_low - (missing - 1) * ceiling)
    if missing and floor > ceiling + _SUM_SLACK:
        raise InputError(
            f"{name}: a floor of {floor:.3g} lies above the {ceiling:.3g} that an unlisted event "
            "can have at most: lower the floor"
        )
    floor = min(floor, ceiling)
    lows, highs = np.full(len(listed), floor), np.full(len(listed), ceiling)
    lows[listed], highs[listed] = low, high
    return Boxes(lows, highs, listed, missing, rest_low, rest_high, floor, ceiling)


def _unlisted(missing: float, ceiling: float) -> str:
    if missing == 1:
        return f"the one unlisted event of at most {ceiling:.3g}"
    return f"{missing} unlisted events of at most {ceiling:.3g} each"


def _check_sums(low: float, high: float, missing: float, rounding: float, name: str) -> None:
    if missing < 0:
        raise InputError(f"{name}: more events are listed than the vocabulary has")
    if low > 1 + _SUM_SLACK:
        raise InputError(
            f"{name}: the listed probabilities add up to at least {low:.8g}, with {rounding:g} "
            "nats of rounding each: they are not of one distribution, or rounded more coarsely"
        )
    if not missing and high < 1 - _SUM_SLACK:
        raise InputError(
            f"{name}: all events are listed and add up to {high:.8g} at most, not to 1: the row is "
            "not normalised, or rounded more coarsely than said"
        )
