"""When counts do not carry an answer, in words: mass that one side never drew, or hardly."""

from __future__ import annotations

import math

import numpy as np

from kullback.divergences import Functional
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.frequencies import terms
from kullback.samples.discrete.guesses import Guess
from kullback.samples.discrete.powers import order_of
from kullback.samples.discrete.spread import Spread

__all__ = ["doubts_about"]

# P's mass where Q has not drawn, over Q's own mass there by Good–Turing: beyond this, P lives where
# Q hardly does, and no draws of Q say whether at all. A Dirichlet(1) pair comes to 11.
_MOST_RATIO = 12.0

# So many draws a side may just have missed, when none of its events was drawn only once.
_FEW = 2

# More of the mass undrawn than this, and most of an estimate would be extrapolation: below it
# the intervals of the measurements held.
_MOST_UNDRAWN = 0.1


def doubts_about(record: Functional, counts: Counts, guess: Guess, spread: Spread) -> str:
    """Why the estimate should not be trusted; empty where it should."""
    found = []
    if _is_infinite(record, 1.0, 0.0):
        found += _beyond(counts, "P", "Q")
    if _is_infinite(record, 0.0, 1.0):
        found += _beyond(counts.swapped(), "Q", "P")
    if not found:
        found += _undrawn(counts, "P") + _undrawn(counts.swapped(), "Q")
    by_power = order_of(record) is not None
    if not found and by_power and guess.deviation > spread.deviation(Guess(guess.total)):
        found.append(
            f"{guess.deviation:.2g} of the estimate is a guess about events that one side has "
            "hardly drawn, more than all draws leave open otherwise: draw more"
        )
    return "; ".join(found)


def _is_infinite(record: Functional, p: float, q: float) -> bool:
    return math.isinf(float(terms(record, np.array([p]), np.array([q]))[0]))


def _beyond(counts: Counts, here: str, there: str) -> list[str]:
    """Doubts about what `here` has where `there` has drawn nothing."""
    own = (counts.of_q == 1).sum()
    missed, explained = counts.missed, float(own + _FEW) / counts.m
    if missed > _MOST_RATIO * explained:
        return [
            f"{missed:.2%} of the draws of {here} are events that {there} never drew, which by "
            f"{there}'s own draws has about {explained:.2g} of its mass there: the divergence may "
            "be infinite"
        ]
    if missed > _MOST_UNDRAWN:
        return [
            f"{missed:.0%} of the draws of {here} are events that {there} never drew: too few "
            f"draws of {there} for so many events"
        ]
    return []


def _undrawn(counts: Counts, here: str) -> list[str]:
    if counts.alone <= _MOST_UNDRAWN:
        return []
    return [
        f"about {counts.alone:.0%} of the mass of {here} is still undrawn (events drawn once, "
        "Good–Turing): too few draws for so many events"
    ]
