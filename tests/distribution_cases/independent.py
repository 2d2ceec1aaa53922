"""Independent: sums of one-dimensional quadratures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import Distribution, Independent, LogNormal, Normal

from distribution_cases import DistributionCase, Numbers, integral
from distribution_cases.normal import (
    entropy_by_quadrature,
    kl_by_quadrature,
    log_normal_density,
    wasserstein_by_quantiles,
)


def once(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 1)


def log_once(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(LogNormal(loc, scale), 1)


def twice(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 2)


def nested(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Independent(Normal(loc, scale), 1), 1)


def of_parts(truth: Callable[[Numbers, Numbers], Any]) -> Callable[[Numbers, Numbers], Any]:
    """The sum of `truth` over the entries of the parameters."""

    def summed(p: Numbers, q: Numbers) -> Any:
        return mp.fsum(truth(*pair) for pair in zip(parts(p), parts(q), strict=True))

    return summed


def parts(p: Numbers) -> list[Numbers]:
    """(loc, scale) of every entry, however deep."""
    if not isinstance(p[0], list):
        return [p]
    return [part for inner in zip(*p, strict=True) for part in parts(inner)]


def renyi_by_quadrature(p: Numbers, q: Numbers, alpha: float = 0.5) -> Any:
    points = [-40, -10, -3, 0, 3, 10, 40]
    return integral(log_normal_density(*p), log_normal_density(*q), points, alpha)


ONE, OTHER = ([0.5, -1.0], [1.5, 0.75]), ([-0.25, 0.5], [1.0, 1.25])
DEEP, OTHER_DEEP = (([[0.5, -1.0]], [[1.5, 0.75]])), (([[-0.25, 0.5]], [[1.0, 1.25]]))

CASES = [
    DistributionCase("kl", once, ONE, once, OTHER, of_parts(kl_by_quadrature)),
    DistributionCase("kl", log_once, ONE, log_once, OTHER, of_parts(kl_by_quadrature)),
    DistributionCase("kl", nested, DEEP, twice, OTHER_DEEP, of_parts(kl_by_quadrature)),
    DistributionCase("renyi", once, ONE, once, OTHER, of_parts(renyi_by_quadrature), 0.5),
    DistributionCase("entropy", nested, DEEP, nested, DEEP, of_parts(entropy_by_quadrature)),
    DistributionCase(
        "wasserstein",
        *(once, ONE, once, OTHER),
        lambda p, q: mp.sqrt(of_parts(lambda a, b: wasserstein_by_quantiles(a, b) ** 2)(p, q)),
    ),
]
