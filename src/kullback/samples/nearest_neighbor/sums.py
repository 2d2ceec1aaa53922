"""From distances to divergences: which sums over draws nearest neighbours can estimate.

With ρ and ν the distances from a draw of P to its k-th nearest among the n − 1 others of P and
among the m of Q, log p/q there is d·log(ν/ρ) + log(m/(n − 1)), up to noise that averages out. KL
is its mean; the mean of its powers is known up to a factor that k gives; and where the second
side is a mixture of both, draws of the mixture are made of draws of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kullback.distributions.targets import Target
from kullback.errors import InputError, MissingExtra
from kullback.samples.nearest_neighbor.distances import to_neighbors, within_matched

__all__ = ["Found", "Question", "digamma", "question_of"]

# Beyond so many neighbours within a matched radius, so many are what is counted.
_MOST_MATCHED = 64


class Found(NamedTuple):
    """A sum's estimate, the least its standard error can be, and how many draws touch others."""

    value: float
    error: float
    touching: int


class Question(NamedTuple):
    """What is asked of a pair of draws [n, d] and [m, d].

    `ask(x, y, k)` gives the sum of the target's terms, from rows in random order; `parts` is into
    how many they are split on the way.
    """

    ask: Callable[[np.ndarray, np.ndarray, int], Found]
    parts: int = 1


def question_of(target: Target, matched: bool) -> Question:
    """The sum of `target`, or `InputError` where nearest neighbours have none."""
    record = target.record
    if record.name == "cross_entropy":
        return Question(_cross_entropy)
    known = record.formula_id
    name, parameter, factor = known or ("", 0.0, 1.0)
    kl = _matched_kl if matched else _kl
    if name == "kl":
        return Question(kl)
    if name == "reverse_kl":
        return Question(lambda x, y, k: kl(y, x, k))
    if name == "jeffreys":
        return Question(lambda x, y, k: _added(kl(x, y, k), kl(y, x, k)))
    if name == "js":
        return Question(_to_mixtures(kl, parameter, factor), parts=2)
    if name == "skew":
        return Question(_to_mixture(kl, parameter), parts=2)
    if name == "reverse_skew":
        return Question(lambda x, y, k: _to_mixture(kl, parameter)(y, x, k), parts=2)
    if name == "alpha" and not matched:
        return Question(_alpha(parameter, factor))
    raise InputError(
        f"nearest neighbours do not estimate {target.name!r}"
        f"{' with matched radii' if name == 'alpha' else ''}: they do KL both ways, Jeffreys, "
        "JS and skew, and Rényi, alpha and Hellinger of orders between 0 and 1; the methods by "
        "classifier do the others"
    )


def _kl(x: np.ndarray, y: np.ndarray, k: int) -> Found:
    """KL(P‖Q). Source: Wang, Kulkarni & Verdú (2009), eq. 5 and 17."""
    ratios, touching = _log_ratios(x, y, k)
    return Found(float(ratios.mean()), _efficient_error(ratios, len(y), k), touching)


def _efficient_error(ratios: np.ndarray, m: int, k: int) -> float:
    """The least standard error there can be: of log p/q over P, and of p/q over Q, χ²(P‖Q)/m."""
    if k == 1:
        return _error(ratios)
    chi_squared = float(np.exp(ratios).mean()) * (k - 1) / k - 1
    return math.hypot(_error(ratios), math.sqrt(max(chi_squared, 0.0) / m))


def _matched_kl(x: np.ndarray, y: np.ndarray, k: int) -> Found:
    """KL(P‖Q) with the larger radius for both sides, and as many neighbours as lie within.

    Source: Wang, Kulkarni & Verdú (2009), eq. 25 to 29.
    """
    n, m = len(x), len(y)
    found = within_matched(x, y, k, min(max(_MOST_MATCHED, k), n - 1, m))
    ratios = x.shape[1] * (np.log(found.other) - np.log(found.own)) + math.log(m / (n - 1))
    ratios += digamma(found.count_own) - digamma(found.count_other)
    return Found(float(ratios.mean()), _error(ratios), found.touching)


def _alpha(order: float, factor: float) -> Callable[[np.ndarray, np.ndarray, int], Found]:
    """factor·(∫ p^α q^(1−α) − 1)/(α(α − 1)) for 0 < α < 1.

    Source: Póczos & Schneider (2011), On the Estimation of α-Divergences, eq. 4.
    """
    scale = factor / (order * (order - 1))

    def ask(x: np.ndarray, y: np.ndarray, k: int) -> Found:
        ratios, touching = _log_ratios(x, y, k)
        log_factor = 2 * math.lgamma(k) - math.lgamma(k - order + 1) - math.lgamma(k + order - 1)
        powers = np.exp((order - 1) * ratios + log_factor)
        return Found(scale * (float(powers.mean()) - 1), abs(scale) * _error(powers), touching)

    return ask


def _cross_entropy(x: np.ndarray, y: np.ndarray, k: int) -> Found:
    """−E log q in the units that the draws come in."""
    found = to_neighbors(x, y, k)
    d, m = x.shape[1], len(y)
    log_ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
    values = d * np.log(found.other) + math.log(m) + log_ball - float(digamma(k))
    return Found(float(values.mean()), _error(values), found.touching)


def _to_mixture(
    kl: Callable[[np.ndarray, np.ndarray, int], Found], weight: float
) -> Callable[[np.ndarray, np.ndarray, int], Found]:
    """KL(P‖wP + (1 − w)Q): one half of the draws of P against a mixture of the other halves."""

    def ask(x: np.ndarray, y: np.ndarray, k: int) -> Found:
        return kl(x[::2], _mixed(x[1::2], y[1::2], weight), k)

    return ask


def _to_mixtures(
    kl: Callable[[np.ndarray, np.ndarray, int], Found], weight: float, factor: float
) -> Callable[[np.ndarray, np.ndarray, int], Found]:
    def ask(x: np.ndarray, y: np.ndarray, k: int) -> Found:
        mixture = _mixed(x[1::2], y[1::2], weight)
        of_p, of_q = kl(x[::2], mixture, k), kl(y[::2], mixture, k)
        value = factor * (weight * of_p.value + (1 - weight) * of_q.value)
        error = factor * math.hypot(weight * of_p.error, (1 - weight) * of_q.error)
        return Found(value, error, of_p.touching + of_q.touching)

    return ask


def _mixed(x: np.ndarray, y: np.ndarray, weight: float) -> np.ndarray:
    """As many draws of wP + (1 − w)Q as there are, each side's evenly spread over its rows."""
    total = min(len(x) / weight if weight else math.inf, len(y) / (1 - weight))
    parts = [
        side[np.linspace(0, len(side) - 1, round(share * total)).astype(np.int64)]
        for side, share in ((x, weight), (y, 1 - weight))
    ]
    return np.concatenate(parts)


def _log_ratios(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, int]:
    found = to_neighbors(x, y, k)
    n, m = len(x), len(y)
    ratios = x.shape[1] * (np.log(found.other) - np.log(found.own))
    return ratios + math.log(m / (n - 1)), found.touching


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _added(one: Found, two: Found) -> Found:
    error = math.hypot(one.error, two.error)
    return Found(one.value + two.value, error, one.touching + two.touching)


def digamma(counts: np.ndarray | int) -> np.ndarray:
    """ψ, by SciPy."""
    try:
        from scipy import special
    except ModuleNotFoundError:
        raise MissingExtra("scipy", "samples") from None
    return special.digamma(counts)
