"""When an estimate from samples is not to be leaned on, and why, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.samples.draws import Draws, DrawsPair
from kullback.samples.reach import Reach, reach_of

if TYPE_CHECKING:
    from kullback.samples.classifier import Reading

__all__ = ["doubts_of", "share_beyond", "unseen"]

_BEYOND, _BEYOND_DRAWS = 0.02, 60
"""A larger share of one side beyond the other's draws than this and so many draws: out of reach."""
_EXTREME = 3
"""Beyond the third draw from either end, so that one stray draw is no reach."""
_WIDE, _LARGE = 0.5, 0.5
"""An error above this share of the value, or of so many nats: too few draws for the divergence."""
_UNSEEN, _UNSEEN_HEAVIER, _NEGLIGIBLE = 1.5, 0.5, 0.02
"""What draws beyond the others may add in secret: by the error that is told, and in nats."""
_HEAVIER, _SEEN = 1.0, 2
"""Heavier by so many standard errors of the tails' shapes, with so many draws beyond the others."""
_ATOM, _ON_ATOMS = 5, 0.02
"""A value drawn so often is one of positive probability, and this share of draws is no accident."""
_UNLEARNT = 0.5
"""Where more of the value came with the second half of the draws, much more is to come."""


def doubts_of(reading: Reading, pair: DrawsPair, target: Target) -> list[str]:
    """Why the reading is in doubt; nothing where it is not."""
    doubts: list[Callable[[], str]] = [
        lambda: _out_of_reach(pair, target),
        lambda: _on_atoms(pair, target),
        lambda: _farther(reading, pair, target),
        lambda: _too_wide(reading, pair),
        lambda: _still_learning(reading, pair),
    ]
    return [said for said in (doubt() for doubt in doubts) if said]


def _sides(pair: DrawsPair, target: Target) -> Iterator[tuple[str, str, Draws, Draws]]:
    """Whose density in whose place a divergence grows with beyond all bounds, and their draws."""
    assert isinstance(target.record, Divergence)
    if math.isfinite(target.record.upper):
        return
    if target.record.name != "reverse_kl":
        yield "P", "Q", pair.p, pair.q
    if target.record.name in ("reverse_kl", "jeffreys"):
        yield "Q", "P", pair.q, pair.p


def _out_of_reach(pair: DrawsPair, target: Target) -> str:
    for one, other, draws, reached in _sides(pair, target):
        for name, beyond in _beyond(draws, reached):
            if beyond > _BEYOND + _BEYOND_DRAWS / len(draws):
                return (
                    f"{beyond:.1%} of the draws of {one} lie where {other} has next to none "
                    f"({name}): how improbable they are under {other} is extrapolated, and the "
                    "divergence may be infinite"
                )
    return ""


def _on_atoms(pair: DrawsPair, target: Target) -> str:
    """Draws on a value that the other side never has, of data that are not discrete."""
    counts = {"P": pair.atoms.of_p, "Q": pair.atoms.of_q}
    for one, other, draws, _ in _sides(pair, target):
        own, theirs = counts[one], counts[other]
        alone = own[(own >= _ATOM) & (theirs == 0)].sum() / len(draws)
        if alone > _ON_ATOMS:
            return (
                f"{alone:.1%} of the draws of {one} stand on values that occur {_ATOM} times or "
                f"more and that {other} never has: if these are points of positive probability, "
                "the divergence is infinite"
            )
    return ""


def _farther(reading: Reading, pair: DrawsPair, target: Target) -> str:
    for one, other, draws, reach in _reaches(pair, target):
        heavier = reach.heavier > _HEAVIER
        least = max((_UNSEEN_HEAVIER if heavier else _UNSEEN) * reading.stderr, _NEGLIGIBLE)
        if reach.share * len(draws) >= _SEEN and reach.may_add > least:
            tail = ", with the heavier tail" if heavier else ""
            return (
                f"{reach.share:.2%} of the draws of {one} lie farther out than all of {other}'s"
                f"{tail}: how small the other density is there was not seen, and the divergence "
                "may be much larger"
            )
    return ""


def unseen(pair: DrawsPair, target: Target) -> float:
    """What draws of one side beyond all of the other's may add to the divergence, in nats."""
    return sum(reach.may_add for *_, reach in _reaches(pair, target))


def _reaches(pair: DrawsPair, target: Target) -> Iterator[tuple[str, str, Draws, Reach]]:
    for one, other, draws, reached in _sides(pair, target):
        # What stands still on the other side has no tail to compare with.
        if np.ptp(reached.numbers, axis=0).any():
            yield one, other, draws, reach_of(*_scaled(draws.numbers, reached.numbers))


def _scaled(*sides: np.ndarray) -> list[np.ndarray]:
    """Both sides in units of their common spread, by way of sizes whose squares are numbers."""
    largest = np.abs(np.concatenate(sides)).max(axis=0)
    sized = [side / np.where(largest > 0, largest, 1.0) for side in sides]
    spread = np.concatenate(sized).std(axis=0)
    return [side / np.where(spread > 0, spread, 1.0) for side in sized]


def _beyond(draws: Draws, reached: Draws) -> Iterator[tuple[str, float]]:
    """Column by column, the share of `draws` that the other side does not reach."""
    for index, (a, b) in enumerate(zip(draws.numbers.T, reached.numbers.T, strict=True)):
        yield f"column {index} of the numbers", share_beyond(a, b)
    for index, (a, b) in enumerate(zip(draws.labels.T, reached.labels.T, strict=True)):
        yield f"column {index} of the labels", float(np.mean(~np.isin(a, b)))


def share_beyond(a: np.ndarray, b: np.ndarray) -> float:
    """The share of `a` beyond the third draws of `b` from its ends."""
    if len(b) <= 2 * _EXTREME:
        return 0.0
    ordered = np.partition(b, [_EXTREME - 1, len(b) - _EXTREME])
    return float(np.mean((a < ordered[_EXTREME - 1]) | (a > ordered[len(b) - _EXTREME])))


def _too_wide(reading: Reading, pair: DrawsPair) -> str:
    if not reading.stderr > max(_WIDE * reading.value, _WIDE * _LARGE):
        return ""
    return (
        f"the divergence is too large for {len(pair.p)} and {len(pair.q)} draws: a few draws of Q "
        "among those of P carry the answer"
    )


def _still_learning(reading: Reading, pair: DrawsPair) -> str:
    if not (reading.missing > _UNLEARNT * reading.value and reading.value > 3 * reading.stderr):
        return ""
    return (
        f"half of the draws gave {reading.value - reading.missing:.3g}, all of them "
        f"{reading.value:.3g}: {pair.dimensions} dimensions are too many for {len(pair.p)} and "
        f"{len(pair.q)} draws"
    )
