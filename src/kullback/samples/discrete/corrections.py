"""Which correction stands behind which name, and which is best for which divergence."""

from __future__ import annotations

from collections.abc import Callable

from kullback.divergences import TOTAL_VARIATION, Functional
from kullback.errors import InputError
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.frequencies import jackknife, miller_madow, plain
from kullback.samples.discrete.guesses import Guess
from kullback.samples.discrete.kinked import total_variation
from kullback.samples.discrete.logarithms import LOGARITHMIC, chao_shen, series
from kullback.samples.discrete.powers import order_of, power

__all__ = ["CORRECTIONS", "best_guess", "guess_of"]

CORRECTIONS: dict[str, Callable[[Functional, Counts, float], Guess]] = {
    "miller_madow": lambda record, counts, _: Guess(miller_madow(record, counts)),
    "jackknife": lambda record, counts, _: Guess(jackknife(record, counts)),
    "jeffreys": lambda record, counts, _: Guess(plain(record, counts, 0.5)),
    "dirichlet": lambda record, counts, c: Guess(plain(record, counts, c)),
    "chao_shen": lambda record, counts, _: chao_shen(_logarithmic(record, "chao_shen"), counts),
    "zhang_grabchak": lambda record, counts, _: series(
        _logarithmic(record, "zhang_grabchak"), counts, tail=False
    ),
}


_LEFT_OVER = 12.0
"""What bias the jackknife leaves, as a share of what it takes off, stays below this many times the
undrawn mass, in the measurements, up to a tenth undrawn."""


def best_guess(record: Functional, counts: Counts) -> Guess:
    """The sum by what came closest for this divergence on pairs whose truth is known.

    | divergence | by |
    | --- | --- |
    | KL, reverse KL, Jeffreys, cross-entropy | the digamma series with its tail |
    | χ², alpha and Rényi of an order outside [0, 1] | falling factorials |
    | total variation | the frequencies, less the rise at the kink |
    | all others | the jackknife |
    """
    if record.name in LOGARITHMIC:
        return series(record.name, counts)
    if record is TOTAL_VARIATION:
        return total_variation(counts)
    found = order_of(record)
    if found is not None:
        return power(*found, counts)
    total = jackknife(record, counts)
    taken_off = abs(plain(record, counts) - total)
    crowd = max(counts.alone, counts.swapped().alone)
    return Guess(total, _LEFT_OVER * crowd * taken_off)


def guess_of(
    record: Functional, counts: Counts, correction: str | None, concentration: float
) -> Guess:
    """The sum by the correction of that name."""
    if correction is None:
        return Guess(plain(record, counts))
    return CORRECTIONS[correction](record, counts, concentration)


def _logarithmic(record: Functional, correction: str) -> str:
    if record.name not in LOGARITHMIC:
        raise InputError(
            f"correction={correction!r} is for {sorted(LOGARITHMIC)}, not for {record.name!r}: "
            'use "auto" or "jackknife"'
        )
    return record.name
