"""Wishart in two dimensions, from its density: quadrature for the mean of the log-determinant.

torch looks at the degrees of freedom when it makes one, which nothing can do inside vmap, so each
maker here has its own; `distributions/test_multivariate.py` varies them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import Distribution, Wishart

from distribution_cases import DistributionCase, Numbers


def wishart(df: float) -> Callable[[Tensor, Tensor], Distribution]:
    """Of scale matrix LLᵀ, L = [[a, 0], [c, b]] from (a, b) and c."""

    def make(scales: Tensor, below: Tensor) -> Distribution:
        zero = torch.zeros_like(below)
        lower = torch.stack([torch.zeros_like(scales), torch.stack([below, zero], -1)], -2)
        return Wishart(df, scale_tril=lower + scales.diag_embed())

    return make


Parameters = tuple[float, Numbers]


def scale_matrix(p: Parameters) -> Any:
    (a, b), c = p[1]
    lower = mp.matrix([[a, 0], [c, b]])
    return lower * lower.T


@functools.cache
def mean_log_chi_squared(df: Any) -> Any:
    """E log X, X ~ χ²(df), by quadrature in log X."""
    half = mp.mpf(df) / 2
    norm = mp.loggamma(half) + half * mp.log(2)
    return mp.quad(lambda t: t * mp.exp(half * t - mp.exp(t) / 2 - norm), [-60, -10, 0, 3, 7])


def mean_log_det(p: Parameters) -> Any:
    """Bartlett: det X is det V times independent χ² of n and n − 1 degrees of freedom."""
    draws = mean_log_chi_squared(p[0]) + mean_log_chi_squared(p[0] - 1)
    return mp.log(mp.det(scale_matrix(p))) + draws


def log_normalizer(df: Any, matrix: Any) -> Any:
    half = mp.mpf(df) / 2
    gammas = mp.log(mp.pi) / 2 + mp.loggamma(half) + mp.loggamma(half - mp.mpf(1) / 2)
    return half * mp.log(mp.det(2 * matrix)) + gammas


def mean_log_density(p: Parameters, q: Parameters) -> Any:
    """E log q(X) for X ~ P."""
    inverse = scale_matrix(q) ** -1 * scale_matrix(p) * p[0]
    trace = inverse[0, 0] + inverse[1, 1]
    power = (mp.mpf(q[0]) - 3) / 2 * mean_log_det(p)
    return power - trace / 2 - log_normalizer(q[0], scale_matrix(q))


def kl_from_densities(p: Parameters, q: Parameters) -> Any:
    return mean_log_density(p, p) - mean_log_density(p, q)


def renyi_by_normalizers(p: Parameters, q: Parameters, alpha: float) -> Any:
    """p^α q^(1−α) is proportional to another Wishart's density."""
    a = mp.mpf(alpha)
    df = a * p[0] + (1 - a) * q[0]
    matrix = (a * scale_matrix(p) ** -1 + (1 - a) * scale_matrix(q) ** -1) ** -1
    parts = a * log_normalizer(p[0], scale_matrix(p))
    parts += (1 - a) * log_normalizer(q[0], scale_matrix(q))
    return (log_normalizer(df, matrix) - parts) / (a - 1)


ONE, OTHER = (4.5, ([1.25, 0.75], 0.5)), (3.25, ([1.0, 1.5], -0.25))
MADE = wishart(ONE[0]), ONE[1], wishart(OTHER[0]), OTHER[1]

CASES = [
    DistributionCase("kl", *MADE, lambda p, q: kl_from_densities(ONE, OTHER)),
    *(
        DistributionCase(
            "renyi", *MADE, lambda p, q, order=order: renyi_by_normalizers(ONE, OTHER, order), order
        )
        for order in (0.5, 1.5)
    ),
    DistributionCase("entropy", *MADE, lambda p, q: -mean_log_density(ONE, ONE)),
]
