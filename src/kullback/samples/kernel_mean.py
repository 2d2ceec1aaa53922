"""The maximum mean discrepancy: how far apart the means of P and Q lie in a space of functions.

Every pair of draws enters through a kernel, in blocks of rows, so that memory grows with the
number of draws and not with its square. The same sums, with minus the distance for a kernel, make
the energy distance (`energy`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kullback.errors import InputError
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.draws import Draws, DrawsPair

__all__ = [
    "RowMeans",
    "estimate_of",
    "median_distance",
    "mmd",
    "pooled",
    "row_means",
    "squared_distances",
]

_BLOCK = 512
_FOR_MEDIAN = 1_000

Kernel = Callable[[np.ndarray], np.ndarray]


class RowMeans(NamedTuple):
    """For each draw the mean kernel with the other draws of its side, and with the other side's.

    A draw does not meet itself: `xx` and `yy` leave the diagonal out.
    """

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    yx: np.ndarray


def mmd(
    pair: DrawsPair,
    *,
    bandwidth: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate[float]:
    """MMD²(P, Q) = E k(X, X') + E k(Y, Y') − 2 E k(X, Y) from draws, without bias; no unit.

    k(x, y) = exp(−|x − y|²/(2·bandwidth²)): 0 for P = Q and positive otherwise, at most 2. The
    estimate is as often below 0 as above where P = Q: there its error is of the order of 1/n
    rather than 1/√n, and the interval wider than it need be.

    Args:
        pair: draws of both sides; different labels are at distance 1.
        bandwidth: in the unit of the draws; by default the median distance between draws of both
            sides together, of at most 1,000 of them.
        confidence: of the interval.
        seed: which draws the median is taken of.

    Raises:
        InputError: a bandwidth that is not positive; half or more of the draws equal, so that
            their median distance is none.

    Source: Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012), A Kernel Two-Sample Test, lemma 6;
    the variance is that of the projections, corollary 16.

    Example:
        >>> from kullback.samples.draws import draws_of
        >>> rng = np.random.default_rng(0)
        >>> found = mmd(draws_of(rng.normal(size=500), rng.normal(1.0, size=500)), bandwidth=1.0)
        >>> truth = 2 / 3**0.5 * (1 - math.exp(-1 / 6))
        >>> found.low < truth < found.high
        True
    """
    width = _checked(bandwidth, pair, seed)
    means = row_means(pair.p, pair.q, lambda squares: np.exp(squares / (-2 * width**2)))
    return estimate_of(
        means, 1.0, confidence, f"unbiased sums, Gaussian kernel of width {width:.3g}"
    )


def _checked(bandwidth: float | None, pair: DrawsPair, seed: int) -> float:
    if bandwidth is None:
        width = median_distance(pooled(pair), np.random.default_rng(seed))
        if width == 0:
            raise InputError(
                "half of the draws or more are equal, so that the median distance between them is "
                "0: give bandwidth= in the unit of the draws"
            )
        return width
    if not 0 < bandwidth < math.inf:
        raise InputError(f"bandwidth={bandwidth} must be positive and finite")
    return float(bandwidth)


def pooled(pair: DrawsPair) -> Draws:
    """The draws of P, and after them those of Q."""
    p, q = pair.p, pair.q
    return Draws(np.concatenate([p.numbers, q.numbers]), np.concatenate([p.labels, q.labels]))


def median_distance(draws: Draws, rng: np.random.Generator) -> float:
    """The median distance of two draws, of at most 1,000 of them."""
    some = draws[rng.permutation(len(draws))[:_FOR_MEDIAN]]
    squares = squared_distances(some, some)
    return math.sqrt(float(np.median(squares[np.triu_indices(len(some), 1)])))


def squared_distances(a: Draws, b: Draws) -> np.ndarray:
    """|a − b|² of every two draws, by differences: exactly 0 for equal ones; 1 for other labels."""
    squares = np.zeros((len(a), len(b)))
    for of_a, of_b in zip(a.numbers.T, b.numbers.T, strict=True):
        gaps = np.subtract.outer(of_a, of_b)
        squares += gaps * gaps
    for of_a, of_b in zip(a.labels.T, b.labels.T, strict=True):
        squares += of_a[:, None] != of_b
    return squares


def row_means(x: Draws, y: Draws, kernel: Kernel) -> RowMeans:
    """The means of `kernel(squared distances)`, a block of rows at a time."""
    own = float(kernel(np.zeros((1, 1)))[0, 0])
    n, m = len(x), len(y)
    xx, xy, yx = np.empty(n), np.empty(n), np.zeros(m)
    for first in range(0, n, _BLOCK):
        rows = slice(first, first + _BLOCK)
        xx[rows] = kernel(squared_distances(x[rows], x)).sum(1) - own
        across = kernel(squared_distances(x[rows], y))
        xy[rows] = across.sum(1)
        yx += across.sum(0)
    yy = np.concatenate(
        [
            kernel(squared_distances(y[first : first + _BLOCK], y)).sum(1) - own
            for first in range(0, m, _BLOCK)
        ]
    )
    return RowMeans(xx / (n - 1), xy / m, yy / (m - 1), yx / n)


def estimate_of(means: RowMeans, own: float, confidence: float, method: str) -> Estimate[float]:
    """E k(X, X') + E k(Y, Y') − 2 E k(X, Y), with the error of its projections; `own` is k(x, x).

    The projections of single draws hold their own noise too. That is of no weight where P and Q
    differ, and where they are the same it makes the variance up to twice what it is. Near there
    an estimate that is too low has too small an error as well, so that the upper end is reached
    from the sums that count every draw with itself: they are too large on average, by 1/n.
    """
    value = float(means.xx.mean() + means.yy.mean() - means.xy.mean() - means.yx.mean())
    n, m = len(means.xx), len(means.yy)
    of_x, of_y = means.xx - means.xy, means.yy - means.yx
    spread = 2 * math.sqrt(of_x.var(ddof=1) / n + of_y.var(ddof=1) / m)
    reach = t_quantile((1 + confidence) / 2, min(n, m) - 1) * spread
    itself = (own - float(means.xx.mean())) / n + (own - float(means.yy.mean())) / m
    return Estimate(
        value=value,
        low=value - reach,
        high=value + itself + reach,
        stderr=spread,
        confidence=confidence,
        method=method,
        evaluations=n + m,
        diagnosis=""
        if value > reach
        else "P = Q is not excluded; near it the interval is too wide",
    )
