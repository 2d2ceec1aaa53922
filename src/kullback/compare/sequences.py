"""Intervals that hold however often one looks, so that a comparison may stop when it knows.

An interval for a fixed number of documents misses in 5 % of the texts. Whoever looks after
each document is exposed to each of its moments of bad luck: of 2,000 simulated runs more than
a quarter miss at some time. A confidence sequence is an interval for every number of
documents, all of which hold the truth at once in 95 % of the runs, so that any rule for
stopping may be used on it.

The idea: under the truth μ the documents' Σkl − μ·positions is a random walk, and Robbins'
normal mixture bounds a walk at all times at once. Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of
Statistics 2024, arXiv 2103.06476, Theorem 2.2), show that the variance may be estimated: for
n documents,

    mean ± stderr·√((1 + 1/(nρ²))·log((1 + nρ²)/α²)).

Three things make that hold at dozens to hundreds of documents, where KL is skewed:

- In place of the normal mixture stands its Student form, valid for a Gaussian of unknown
  variance at any n (Lindon, Ham, Tingley and Bojinov, arXiv 2210.08589), with the effective
  number of documents in the exponent. It tends to the formula above.
- The lower end is set on the logarithm of the mean, as in `intervals`. The upper end goes
  out further where the documents are skewed: see `_SKEWNESS`.
- Nothing is said before `FIRST_ANSWER` effective documents.

What is assumed: documents come in random order (the n seen are as good as a random draw from
those that could have come), each whole, none passed over because it takes longer; more than
two moments are finite. It is asymptotic: documents that are so rare and so bad that none was
seen yet are not allowed for. `benchmarks/confidence_sequences.py` measures all this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kullback.compare.intervals import check_confidence, effective_clusters, leave_one_out_moves
from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.results import Estimate

__all__ = ["FIRST_ANSWER", "PLANNED_DOCUMENTS", "sequence_interval"]

PLANNED_DOCUMENTS = 100
"""The number of documents at which the sequence is tuned to be narrowest. Too large a number
costs much more than too small a one: at ten times the planned number the boundary is 7 % wider
than it could be, at a tenth of it 26 %."""

FIRST_ANSWER = 40.0
"""The effective number of documents below which there is no interval."""

_SKEWNESS = 2.0
"""How many times the sample's skewness is made up for at the upper end.

Once would be right to second order if the population's were known (Hall 1992, "On the removal
of skewness by transformation"). A sample from a heavy tail shows too little of it. Twice was
chosen by the misses measured in `benchmarks/confidence_sequences.py`."""

_METHOD = (
    "asymptotic confidence sequence over documents (Waudby-Smith et al. 2024, Theorem 2.2), "
    "Student mixture, delete-one-document jackknife; log scale, widened above for skewness"
)


def sequence_interval(
    sums: np.ndarray,
    sizes: np.ndarray,
    *,
    confidence: float = 0.95,
    planned: float = PLANNED_DOCUMENTS,
    infinite: int = 0,
) -> Estimate:
    """The mean Σsums/Σsizes of a quantity ≥ 0, with an interval that allows for looking often.

    A function of the documents finished so far and of nothing else: not of their order, of
    earlier looks or of who read which. A run that was resumed or spread over processes gets
    the same numbers. (Intersecting with earlier intervals would be valid too, and narrower
    by little; but the answer would depend on when one looked, and could be empty.)

    Args:
        sums: the sum of the quantity over the positions of each document, shape [documents],
            in the quantity's unit; with `infinite`, over the finite ones.
        sizes: the number of positions of each; documents without any are left out.
        confidence: with which all intervals of the run hold at once.
        planned: the number of documents at which the interval is to be narrowest, chosen
            before the first look.
        infinite: at how many positions the quantity is +inf; then the mean is.

    Returns:
        The estimate in the quantity's unit. Below `FIRST_ANSWER` effective documents it has
        no interval, and where no document differs from another it is marked as not to be
        trusted; `diagnosis` says so.

    Raises:
        ShapeError: `sums` and `sizes` are not vectors of one length.
        NonFiniteError: a sum is NaN or infinite.
        InputError: a size, `confidence` or `planned` is out of range.

    >>> rng = np.random.default_rng(0)
    >>> sizes = rng.integers(200, 400, size=100)
    >>> sums = sizes * 0.02 * rng.lognormal(sigma=0.5, size=100)
    >>> print(sequence_interval(sums, sizes))
    0.0226 [0.0195, 0.0265] (95 %)
    >>> print(sequence_interval(sums[:20], sizes[:20]))
    0.0218 (no interval: 20 documents, which weigh like 19.3 equally long ones: 40 are needed)
    """
    check_confidence(confidence)
    sums, sizes = _checked(sums, sizes, planned)
    if not len(sizes):
        return _no_answer(math.nan, confidence, 0, "no positions")
    if infinite:
        words = f"infinite at {infinite:,} of {int(sizes.sum()):,} positions"
        return Estimate(
            *(math.inf,) * 3,
            confidence=confidence,
            method=_METHOD,
            evaluations=int(sizes.sum()),
            diagnosis=words,
        )
    walk = _walk(sums, sizes)
    if walk.effective < FIRST_ANSWER:
        words = (
            f"{walk.documents} documents, which weigh like {walk.effective:.1f} equally long "
            f"ones: {FIRST_ANSWER:g} are needed"
        )
        return _no_answer(walk.value, confidence, walk.positions, words)
    multiplier = _multiplier(walk.documents, walk.effective, 1 - confidence, planned)
    if math.isinf(multiplier):
        words = f"too few documents yet for a sequence planned for {planned:g}"
        return _no_answer(walk.value, confidence, walk.positions, words)
    low, high = _ends(walk, multiplier)
    return Estimate(
        value=walk.value,
        low=low,
        high=high,
        stderr=walk.stderr,
        confidence=confidence,
        method=_METHOD,
        evaluations=walk.positions,
        trusted=walk.stderr > 0,
        diagnosis="" if walk.stderr else "no document differs from another: their spread is unseen",
    )


@dataclass(frozen=True)
class _Walk:
    value: float
    stderr: float
    skewness: float  # of the estimate, about that of a document over √documents
    documents: int
    effective: float
    positions: int


def _checked(sums: np.ndarray, sizes: np.ndarray, planned: float) -> tuple[np.ndarray, np.ndarray]:
    sums, sizes = np.asarray(sums, np.float64), np.asarray(sizes, np.float64)
    if sums.ndim != 1 or sums.shape != sizes.shape:
        raise ShapeError(
            "sums and sizes are vectors with one entry for each document, got shapes "
            f"{sums.shape} and {sizes.shape}"
        )
    if not np.isfinite(sums).all():
        place = int(np.flatnonzero(~np.isfinite(sums))[0])
        raise NonFiniteError(
            f"the sum of document {place} is {sums[place]}: leave infinite positions out of the "
            "sums and pass their number as `infinite`"
        )
    if not (np.isfinite(sizes) & (sizes >= 0)).all():
        bad = sizes[~(np.isfinite(sizes) & (sizes >= 0))][0]
        raise InputError(f"the positions of a document are counted from 0, got {bad:g}")
    if not 1 <= planned < math.inf:
        raise InputError(f"planned is a number of documents, at least 1, got {planned}")
    return sums[sizes > 0], sizes[sizes > 0]


def _walk(sums: np.ndarray, sizes: np.ndarray) -> _Walk:
    documents, total = len(sizes), float(sizes.sum())
    value = float(sums.sum()) / total
    stderr = skewness = 0.0
    if documents > 1:
        # With the sign turned: a document above the mean is positive.
        moves = -leave_one_out_moves(sums, sizes)
        length = math.sqrt(float((moves * moves).sum()))
        stderr = math.sqrt((documents - 1) / documents) * length
        if length:
            moves /= length
            skewness = float((moves * moves * moves).sum())
    return _Walk(value, stderr, skewness, documents, effective_clusters(sizes), int(total))


def _multiplier(documents: int, effective: float, alpha: float, planned: float) -> float:
    """The boundary in standard errors; infinite while the mixture cannot exclude anything.

    With r = 1 + nρ² and k = (r/α²)^(1/m) it is √((m − 1)(k − 1)/(1 − k/r)), for n documents
    that weigh like m.
    """
    growth = 1 + documents * _mixture_at_plan(alpha) / planned
    odds = 2 * math.log(1 / alpha) + math.log(growth)
    factor = math.exp(odds / effective)
    if factor >= growth:
        return math.inf
    return math.sqrt((effective - 1) * math.expm1(odds / effective) / (1 - factor / growth))


def _mixture_at_plan(alpha: float) -> float:
    """The nρ² that makes √((1 + 1/(nρ²))·log((1 + nρ²)/α²)) smallest: x = log((1 + x)/α²).

    That is −1 − W₋₁(−α²/e) with Lambert's W. The iteration contracts by 1/(1 + x) a step.
    """
    x = 1.0
    for _ in range(200):
        x, before = math.log1p(x) - 2 * math.log(alpha), x
        if abs(x - before) <= 1e-14 * x:
            break
    return x


def _ends(walk: _Walk, multiplier: float) -> tuple[float, float]:
    spread = walk.stderr / walk.value if walk.value > 0 else 0.0
    # Skewness g of the estimate bends the studentised mean T to T + g·T²/3; the logarithm
    # undoes a bend of spread/2. Upwards the larger of both is undone.
    bend = max(spread, _SKEWNESS * 2 / 3 * walk.skewness)
    high = walk.value + walk.stderr * _stretched(multiplier, bend)
    if walk.value > 0:
        return walk.value * math.exp(-multiplier * spread), high
    return walk.value - walk.stderr * multiplier, high


def _stretched(reach: float, bend: float) -> float:
    return math.expm1(min(bend * reach, 700.0)) / bend if bend > 0 else reach


def _no_answer(value: float, confidence: float, positions: int, diagnosis: str) -> Estimate:
    return Estimate(
        value=value,
        low=math.nan,
        high=math.nan,
        confidence=confidence,
        method=_METHOD,
        evaluations=positions,
        trusted=False,
        diagnosis=diagnosis,
    )
