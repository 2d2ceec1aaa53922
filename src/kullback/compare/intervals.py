"""Intervals for means over positions whose neighbours are not independent.

Tokens of one document resemble each other, so the documents (or chunks) are the sample and
each position only adds to its cluster's sum. The mean Σs/Σn is a ratio over clusters; its
variance is the delete-one-cluster jackknife (CV3 of MacKinnon, Nielsen and Webb 2023), and
the quantile is Student's with one degree of freedom less than the effective number of
clusters (Σn)²/Σn² (Kish 1965), which is what unequal lengths leave of their number.

Divergences are positive and skewed to the right, and there the symmetric interval misses too
often above. `benchmarks/interval_coverage.py` compares the choices; the one made here puts
the interval on the logarithm of the mean, by the delta method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from kullback.errors import InputError
from kullback.numerics import t_quantile
from kullback.results import Estimate

__all__ = [
    "check_confidence",
    "effective_clusters",
    "exponential",
    "leave_one_out_moves",
    "positive_interval",
    "share_interval",
    "signed_interval",
    "square_root",
]


@dataclass(frozen=True)
class _RatioMean:
    value: float
    stderr: float
    multiplier: float
    positions: int
    diagnosis: str

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.stderr)


def check_confidence(confidence: float) -> None:
    """Raise `InputError` unless `confidence` lies strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise InputError(
            f"confidence must lie strictly between 0 and 1, got {confidence}: 0.95 asks for "
            "95 % intervals"
        )


def signed_interval(
    sums: np.ndarray, sizes: np.ndarray, *, confidence: float = 0.95, infinite: int = 0
) -> Estimate:
    """The mean Σsums/Σsizes, with the interval mean ± t·stderr, for a quantity of either sign.

    `sums` and `sizes` hold one entry for each cluster: the sum of the quantity over its
    positions and their number. Sizes of zero are left out. `infinite` counts the positions
    at which the quantity is +inf; `sums` then holds the finite ones only and the mean is +inf.

    >>> print(signed_interval(np.array([1.0, -1.0, 3.0]), np.array([10, 10, 10])))
    0.100 [-0.397, 0.597] (95 %)
    """
    mean = _ratio_mean(sums, sizes, confidence)
    reach = mean.multiplier * mean.stderr
    method = "delete-one-cluster jackknife, Student t"
    return _estimate(mean, mean.value - reach, mean.value + reach, confidence, method, infinite)


def positive_interval(
    sums: np.ndarray, sizes: np.ndarray, *, confidence: float = 0.95, infinite: int = 0
) -> Estimate:
    """The mean Σsums/Σsizes of a quantity ≥ 0, with the interval mean·exp(± t·stderr/mean).

    Arguments as in `signed_interval`. A mean of exactly zero, where no position differs, has
    the interval [0, 0]. Some conventions round such a quantity to below zero; a mean ≤ 0 that
    comes of it has no logarithm and gets `signed_interval`'s interval.

    >>> print(positive_interval(np.array([1.0, 2.0, 3.0, 2.0]), np.array([10, 10, 10, 10])))
    0.200 [0.104, 0.383] (95 %)
    """
    mean = _ratio_mean(sums, sizes, confidence)
    if mean.value <= 0 and not infinite:
        return signed_interval(sums, sizes, confidence=confidence)
    spread = mean.stderr / mean.value if mean.value > 0 else math.nan
    reach = math.exp(min(mean.multiplier * spread, 700.0)) if mean.has_interval else math.nan
    method = "delete-one-cluster jackknife, Student t on the log scale"
    return _estimate(mean, mean.value / reach, mean.value * reach, confidence, method, infinite)


def square_root(square: Estimate) -> Estimate:
    """The root of a mean square, with its interval; the standard error is of first order."""
    value = math.sqrt(square.value)
    return replace(
        square,
        value=value,
        low=math.sqrt(square.low),
        high=math.sqrt(square.high),
        stderr=square.stderr / (2 * value) if value else square.stderr,
        method=square.method + ", root taken",
    )


def exponential(log: Estimate) -> Estimate:
    """exp of an estimate, with its interval; the standard error is of first order.

    Makes a perplexity of a mean surprisal, and a ratio of perplexities of a mean paired
    difference, in which what both sides find hard cancels.
    """
    value = _exp(log.value)
    return replace(
        log,
        value=value,
        low=_exp(log.low),
        high=_exp(log.high),
        stderr=value * log.stderr,
        method=log.method + ", exponentiated",
    )


def share_interval(hits: np.ndarray, sizes: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """The share Σhits/Σsizes, with Wilson's interval on the effective number of positions.

    That number is share·(1 − share)/variance with the jackknife's variance, at most Σsizes,
    and Student's quantile takes the normal's place (Korn and Graubard 1998; Dean and Pagano
    2015). Where every position agrees, or none, the clustering cannot be seen: the positions
    then count as independent, and the estimate is marked as not to be trusted.

    >>> print(share_interval(np.array([9, 10, 8, 10]), np.array([10, 10, 10, 10])))
    0.925 [0.649, 0.988] (95 %)
    """
    mean = _ratio_mean(hits, sizes, confidence)
    share, total = mean.value, mean.positions
    method = "Wilson on the effective sample size of the delete-one-cluster jackknife"
    if not mean.has_interval:
        return _estimate(mean, math.nan, math.nan, confidence, method, 0)
    variance = mean.stderr**2
    effective = min(share * (1 - share) / variance, total) if variance else float(total)
    low, high = _wilson(share, effective, mean.multiplier)
    if 0 < share < 1:
        return _estimate(mean, low, high, confidence, method, 0)
    return Estimate(
        value=share,
        low=low,
        high=high,
        stderr=mean.stderr,
        confidence=confidence,
        method=method,
        evaluations=total,
        trusted=False,
        diagnosis=f"{'all' if share else 'none'} of {total:,} positions: the interval takes "
        "them as independent, since no cluster differs from another",
    )


def effective_clusters(sizes: np.ndarray) -> float:
    """(Σn)²/Σn², the number of equally long clusters that would weigh as much (Kish 1965).

    >>> effective_clusters(np.array([100, 100, 100]))
    3.0
    >>> round(effective_clusters(np.array([1000, 10, 10])), 2)
    1.04
    """
    sizes = np.asarray(sizes, np.float64)
    total = float(sizes.sum())
    return total**2 / float((sizes**2).sum()) if total else 0.0


def leave_one_out_moves(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How far leaving out each cluster moves the mean Σsums/Σsizes, [clusters]; two at least.

    It is (mean·n_g − s_g)/(N − n_g): written so, and not as a difference of two nearly equal
    means, nothing cancels.
    """
    total = float(sizes.sum())
    return (float(sums.sum()) / total * sizes - sums) / (total - sizes)


def _ratio_mean(sums: np.ndarray, sizes: np.ndarray, confidence: float) -> _RatioMean:
    kept = np.asarray(sizes) > 0
    sums = np.asarray(sums, np.float64)[kept]
    sizes = np.asarray(sizes, np.float64)[kept]
    clusters, total = len(sizes), float(sizes.sum())
    if not clusters:
        return _RatioMean(math.nan, math.nan, math.nan, 0, "no positions")
    value = float(sums.sum()) / total
    if clusters < 2:
        words = "one cluster of positions only: no interval can be formed, use more text"
        return _RatioMean(value, math.nan, math.nan, int(total), words)
    moves = leave_one_out_moves(sums, sizes)
    stderr = math.sqrt((clusters - 1) / clusters * float((moves**2).sum()))
    # One degree is the least for which the quantile is finite enough to print.
    degrees = max(effective_clusters(sizes) - 1, 1.0)
    return _RatioMean(value, stderr, t_quantile((1 + confidence) / 2, degrees), int(total), "")


def _estimate(
    mean: _RatioMean, low: float, high: float, confidence: float, method: str, infinite: int
) -> Estimate:
    value, stderr, diagnosis = mean.value, mean.stderr, mean.diagnosis
    trusted = mean.has_interval
    if infinite:
        share = infinite / mean.positions if mean.positions else math.nan
        diagnosis = f"infinite at {infinite:,} of {mean.positions:,} positions ({share:.3g})"
        value = low = high = math.inf
        stderr, trusted = math.nan, True
    return Estimate(
        value=value,
        low=low,
        high=high,
        stderr=stderr,
        confidence=confidence,
        method=method,
        evaluations=mean.positions,
        trusted=trusted,
        diagnosis=diagnosis,
    )


def _wilson(share: float, number: float, quantile: float) -> tuple[float, float]:
    shrink = 1 + quantile**2 / number
    middle = share + quantile**2 / (2 * number)
    reach = quantile * math.sqrt(share * (1 - share) / number + quantile**2 / (4 * number**2))
    # At share 0 and 1 one end is that share itself, which rounding would miss.
    low = 0.0 if share == 0 else (middle - reach) / shrink
    return low, 1.0 if share == 1 else (middle + reach) / shrink


def _exp(value: float) -> float:
    # NaN, an end that is not known, has to stay one.
    return math.inf if value >= 709.0 else math.exp(value)
