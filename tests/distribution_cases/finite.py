"""Pairs of which one side has few events: what the sum over them answers, without a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    MixtureSameFamily,
    NegativeBinomial,
    OneHotCategorical,
    Poisson,
)

import oracle
from distribution_cases import DistributionCase, Numbers

Row = list[Any]


def bernoulli_row(p: Any) -> Row:
    return [1 - mp.mpf(p), mp.mpf(p)]


def logit_row(x: Any) -> Row:
    return oracle.softmax([0, x])


def binomial_row(n: int, p: Any) -> Row:
    p = mp.mpf(p)
    return [mp.binomial(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def row(values: Sequence[float]) -> Row:
    return [mp.mpf(x) for x in values]


def poisson_row(rate: Any, count: int = 120) -> Row:
    """Far enough for the small rates of this table: the rest is below 1e-100."""
    return [mp.exp(-mp.mpf(rate)) * mp.mpf(rate) ** k / mp.factorial(k) for k in range(count)]


def negative_binomial_row(r: Any, p: Any, count: int) -> Row:
    r, p = mp.mpf(r), mp.mpf(p)
    weight, weights = (1 - p) ** r, []
    for k in range(count):
        weights.append(weight)
        weight *= p * (k + r) / (k + 1)
    return weights


def geometric_row(p: Any, count: int = 1200) -> Row:
    return negative_binomial_row(1, 1 - mp.mpf(p), count)


def enumerated(
    measure: Callable[..., Any], row_p: Callable[..., Row], row_q: Callable[..., Row], *order: float
) -> Callable[[Numbers, Numbers], Any]:
    """`measure` of the two rows, written out over the same events."""

    def truth(p: Numbers, q: Numbers) -> Any:
        one, other = row_p(*p), row_q(*q)
        width = max(len(one), len(other))
        one += [mp.mpf(0)] * (width - len(one))
        other += [mp.mpf(0)] * (width - len(other))
        return measure(one, other, *order)

    return truth


def entropy_of(row_p: Callable[..., Row]) -> Callable[[Numbers, Numbers], Any]:
    return lambda p, q: oracle.entropy(row_p(*p))


def five(p: Any) -> Binomial:
    return Binomial(5, p)


def three(p: Any) -> Binomial:
    return Binomial(3, p)


def two_failures(p: Any) -> NegativeBinomial:
    return NegativeBinomial(2, p)


def of_three(p: Any) -> Row:
    return binomial_row(3, p)


def of_five(p: Any) -> Row:
    return binomial_row(5, p)


def of_two_failures(p: Any) -> Row:
    return negative_binomial_row(2, p, 300)


def mixed(weights: Any, probs: Any) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(weights), Binomial(3, probs))


def mixed_row(weights: Sequence[float], probs: Sequence[float]) -> Row:
    parts = [binomial_row(3, p) for p in probs]
    return [
        mp.fsum(mp.mpf(w) * part[k] for w, part in zip(weights, parts, strict=True))
        for k in range(4)
    ]


def kl(make_p: Any, p: Numbers, row_p: Any, make_q: Any, q: Numbers, row_q: Any) -> Any:
    return DistributionCase("kl", make_p, p, make_q, q, enumerated(oracle.kl, row_p, row_q))


FOUR = ([0.5, 0.125, 0.25, 0.125],)
SKEWED = ([0.125, 0.125, 0.25, 0.5],)
PARTS = ([0.25, 0.75], [0.25, 0.625])

CASES = [
    kl(Bernoulli, (0.25,), bernoulli_row, Poisson, (0.75,), poisson_row),
    kl(Bernoulli, (0.25,), bernoulli_row, Geometric, (0.5,), geometric_row),
    kl(three, (0.25,), of_three, Poisson, (1.5,), poisson_row),
    kl(three, (0.25,), of_three, two_failures, (0.375,), of_two_failures),
    kl(Categorical, FOUR, row, Poisson, (1.5,), poisson_row),
    kl(three, (0.25,), of_three, five, (0.375,), of_five),
    kl(mixed, PARTS, mixed_row, Poisson, (1.5,), poisson_row),
    kl(mixed, PARTS, mixed_row, Categorical, FOUR, row),
    DistributionCase(
        "js", Bernoulli, (0.25,), Bernoulli, (0.75,), enumerated(oracle.js, *[bernoulli_row] * 2)
    ),
    DistributionCase("js", Categorical, FOUR, Categorical, SKEWED, enumerated(oracle.js, row, row)),
    DistributionCase(
        "js", three, (0.25,), Poisson, (1.5,), enumerated(oracle.js, of_three, poisson_row)
    ),
    DistributionCase(
        "total_variation",
        OneHotCategorical,
        FOUR,
        OneHotCategorical,
        SKEWED,
        enumerated(oracle.total_variation, row, row),
    ),
    DistributionCase(
        "total_variation",
        five,
        (0.25,),
        Poisson,
        (1.5,),
        enumerated(oracle.total_variation, of_five, poisson_row),
    ),
    DistributionCase("entropy", five, (0.25,), five, (0.25,), entropy_of(of_five)),
]
