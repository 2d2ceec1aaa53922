"""Whether two sets of draws come from one distribution: p-values that hold for every size.

Where P = Q the sides of the draws can be dealt out anew and nothing changes. What was seen is
compared with what chance does then, for statistics that see other things: the energy distance,
kernels of three widths, and a classifier.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kullback.errors import InputError
from kullback.samples.draws import Draws, DrawsPair, draws_of
from kullback.samples.kernel_mean import median_distance, pooled, squared_distances
from kullback.samples.same_distribution.classified import classified
from kullback.samples.same_distribution.permuted import (
    dealt,
    energy_on_line,
    largest,
    p_value,
    quadratic,
)
from kullback.samples.same_distribution.result import SameDistribution

__all__ = ["same_distribution"]

_METHODS = ("auto", "classifier", "mmd", "energy")
_MATRIX = 3_000
"""The most draws of both sides together whose distances are held in one matrix."""
_WIDTHS = (0.25, 0.5, 1.0)


def same_distribution(
    x: Any, y: Any, *, method: str = "auto", permutations: int = 999, seed: int = 0
) -> SameDistribution:
    """The p-value of P = Q from draws x of P and y of Q, by permutations: exact for every n and m.

    The p-value is at most α with a probability of at most α where P = Q, whatever P is. A large
    one says that these draws do not tell P from Q, not that they are equal: how far apart they
    are at most, an estimate with its interval says.

    Args:
        x, y: tensors, arrays, lists or data frames, [n] or [n, d]; numbers or labels. Numbers
            are put in standard units of both sides together; different labels are at distance 1.
        method: "energy", "mmd" (the largest of Gaussian kernels of a quarter, half and all of
            the median distance), "classifier" (learns from one half, is tested on the other), or
            "auto": twice the smaller p-value of the classifier and of the largest of energy
            and kernels, at most 1.
        permutations: how many; p-values are multiples of 1/(1 + permutations).
        seed: of permutations, halves, and which draws are left out of matrices beyond 3,000.

    Raises:
        InputError: an unknown method, or fewer than 19 permutations.
        ShapeError, NonFiniteError, DtypeError: as for estimates from draws.
        MissingExtra: scikit-learn is not installed and the classifier is asked for.

    Source: Székely & Rizzo (2004), Testing for Equal Distributions in High Dimension; Gretton et
    al. (2012), A Kernel Two-Sample Test; Hemerik & Goeman (2018), Exact Testing with Random
    Permutations, for the level.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=80), rng.normal(1.0, size=90)
        >>> found = same_distribution(x, y, method="energy")
        >>> found.p_value
        0.001
        >>> print(same_distribution(x, x[::2], method="energy"))
        80 draws of P and 40 of Q can come from one distribution: p = 1 (energy distance)
    """
    if method not in _METHODS:
        raise InputError(f"method={method!r} is not one of {_METHODS}")
    whole = isinstance(permutations, (int, np.integer)) and not isinstance(permutations, bool)
    if not whole or permutations < 19:
        raise InputError(
            f"permutations={permutations!r}: at least 19, so that a p-value can be 0.05"
        )
    pair = draws_of(x, y)
    rng = np.random.default_rng(seed)
    if method == "classifier":
        return _by_classifier(pair, permutations, rng)
    found = _by_distances(pair, method, permutations, rng)
    if method != "auto":
        return found
    other = _by_classifier(pair, permutations, rng)
    first = min(found, other, key=lambda answer: answer.p_value)
    return SameDistribution(
        p_value=min(2 * first.p_value, 1.0),
        statistic=first.statistic,
        method=f"{first.method}; twice the smaller p-value of two tests",
        permutations=permutations,
        n=first.n,
        m=first.m,
        diagnosis=found.diagnosis,
    )


def _by_classifier(
    pair: DrawsPair, permutations: int, rng: np.random.Generator
) -> SameDistribution:
    found = classified(pair.p, pair.q, permutations, rng)
    return SameDistribution(
        p_value(found),
        float(found[0]),
        "area under the curve of a classifier on held-out draws",
        permutations,
        len(pair.p),
        len(pair.q),
    )


def _by_distances(
    pair: DrawsPair, method: str, permutations: int, rng: np.random.Generator
) -> SameDistribution:
    n, m = len(pair.p), len(pair.q)
    line = pair.dimensions == 1 and not pair.levels
    kept, diagnosis = pair, ""
    if n + m > _MATRIX and not (line and method == "energy"):
        kept = _thinned(pair, rng)
        diagnosis = f"of {len(kept.p):,} and {len(kept.q):,} of the draws, at random"
    draws = _standard(pooled(kept))
    sides = dealt(len(kept.p), len(kept.q), permutations, rng)
    statistics = []
    if method == "energy" and line:
        statistics.append(energy_on_line(draws.numbers[:, 0], sides))
    else:
        squares = squared_distances(draws, draws)
        if method in ("auto", "energy"):
            statistics.append(quadratic(-np.sqrt(squares), sides))
        if method in ("auto", "mmd"):
            width = median_distance(draws, rng) or 1.0
            statistics += [
                quadratic(np.exp(squares / (-2 * (share * width) ** 2)), sides) for share in _WIDTHS
            ]
    found = statistics[0] if len(statistics) == 1 else largest(statistics)
    names = {
        "energy": "energy distance",
        "mmd": "largest of Gaussian kernels of three widths",
        "auto": "largest of energy distance and Gaussian kernels of three widths",
    }
    return SameDistribution(
        p_value(found), float(found[0]), names[method], permutations, n, m, diagnosis
    )


def _thinned(pair: DrawsPair, rng: np.random.Generator) -> DrawsPair:
    """At most 3,000 draws in all: half of each side, or all of a side that has fewer."""
    n, m = len(pair.p), len(pair.q)
    of_p = max(min(n, _MATRIX // 2), min(n, _MATRIX - m))
    of_q = min(m, _MATRIX - of_p)
    p, q = pair.p[rng.permutation(n)[:of_p]], pair.q[rng.permutation(m)[:of_q]]
    return DrawsPair(p, q, pair.levels, pair.categorical)


def _standard(draws: Draws) -> Draws:
    """Numbers in standard units of all draws, which does not depend on their sides."""
    centred = draws.numbers - draws.numbers.mean(0)
    spread = centred.std(0)
    spread[spread == 0] = 1.0
    return Draws(centred / spread, draws.labels)
