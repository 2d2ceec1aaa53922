"""LKJCholesky in three dimensions, by quadrature over the rows' radii.

The density is proportional to Π L_ii^(2η − 2 + d − i) over the entries below the diagonal, so row
i is independent of the others, and a function of its radius in d = i − 1 dimensions.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import Distribution, LKJCholesky

from distribution_cases import DistributionCase, Numbers

SIZE = 3


def lkj(concentration: Tensor) -> Distribution:
    return LKJCholesky(SIZE, concentration)


def over_ball(dims: int, function: Any) -> Any:
    """∫ f(√(1 − r²)) over the unit ball, with r = sin t."""
    surface = 2 * mp.pi ** (mp.mpf(dims) / 2) / mp.gamma(mp.mpf(dims) / 2)
    at = lambda t: mp.sin(t) ** (dims - 1) * mp.cos(t) * function(mp.cos(t))  # noqa: E731
    return surface * mp.quad(at, [0, mp.pi / 4, mp.pi / 2])


def power(eta: Any, row: int) -> Any:
    return 2 * mp.mpf(eta) - 2 + SIZE - row


def log_density(eta: Any, row: int) -> Any:
    """The log-density of a row as a function of its last entry."""
    norm = mp.log(over_ball(row - 1, lambda last: last ** power(eta, row)))
    return lambda last: power(eta, row) * mp.log(last) - norm


def kl_by_rows(p: Numbers, q: Numbers) -> Any:
    total = mp.mpf(0)
    for row in range(2, SIZE + 1):
        one, other = log_density(p[0], row), log_density(q[0], row)
        total += over_ball(row - 1, lambda x, a=one, b=other: mp.exp(a(x)) * (a(x) - b(x)))
    return total


def entropy_by_rows(p: Numbers, q: Numbers) -> Any:
    total = mp.mpf(0)
    for row in range(2, SIZE + 1):
        one = log_density(p[0], row)
        total -= over_ball(row - 1, lambda x, a=one: mp.exp(a(x)) * a(x))
    return total


def renyi_by_rows(p: Numbers, q: Numbers, alpha: float) -> Any:
    a, total = mp.mpf(alpha), mp.mpf(0)
    for row in range(2, SIZE + 1):
        one, other = log_density(p[0], row), log_density(q[0], row)
        mixed = lambda x, one=one, other=other: mp.exp(a * one(x) + (1 - a) * other(x))  # noqa: E731
        total += mp.log(over_ball(row - 1, mixed)) / (a - 1)
    return total


ONE, OTHER = (1.5,), (2.75,)

CASES = [
    DistributionCase("kl", lkj, ONE, lkj, OTHER, kl_by_rows),
    DistributionCase("entropy", lkj, ONE, lkj, ONE, entropy_by_rows),
    *(
        DistributionCase(
            "renyi",
            *(lkj, ONE, lkj, OTHER),
            lambda p, q, alpha=alpha: renyi_by_rows(p, q, alpha),
            alpha,
        )
        for alpha in (0.5, 1.25)
    ),
]
