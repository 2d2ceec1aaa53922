"""Gaussians in two dimensions, in every way of holding one, against sums over a grid.

For a Gaussian times a polynomial the trapezoidal rule on a wide grid is exact to the last bits,
so that both the divergence and the Rényi integral are taken from the densities themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from distribution_cases import DistributionCase, Numbers


def full(loc: Tensor, scales: Tensor, below: Tensor) -> Distribution:
    """The factor [[a, 0], [c, b]] from (a, b) and c."""
    lower = torch.zeros_like(scales)
    lower = torch.stack([lower, torch.stack([below, torch.zeros_like(below)], -1)], -2)
    return MultivariateNormal(loc, scale_tril=lower + scales.diag_embed())


def from_covariance(loc: Tensor, root: Tensor) -> Distribution:
    identity = torch.eye(2, dtype=root.dtype)
    return MultivariateNormal(loc, covariance_matrix=root @ root.mT + identity)


def from_precision(loc: Tensor, root: Tensor) -> Distribution:
    identity = torch.eye(2, dtype=root.dtype)
    return MultivariateNormal(loc, precision_matrix=root @ root.mT + identity)


def low_rank(loc: Tensor, columns: Tensor, variance: Tensor) -> Distribution:
    return LowRankMultivariateNormal(loc, columns, variance)


def independent(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 1)


Held = tuple[Callable[..., Distribution], Numbers]

ONE: dict[str, Held] = {
    "full": (full, ([0.5, -1.0], [1.25, 0.75], 0.5)),
    "low_rank": (low_rank, ([0.25, 0.5], [[0.5], [-1.0]], [1.5, 0.75])),
    "independent": (independent, ([0.5, -0.25], [0.75, 1.5])),
}
OTHER: dict[str, Held] = {
    "full": (full, ([-0.25, 0.5], [1.5, 1.0], -0.25)),
    "low_rank": (low_rank, ([1.0, -0.5], [[1.0, 0.5], [0.25, -0.5]], [1.0, 1.25])),
    "independent": (independent, ([-0.5, 0.5], [1.25, 1.0])),
}
COVARIANCE: Held = (from_covariance, ([0.5, -1.0], [[1.0, 0.5], [-0.25, 0.75]]))
PRECISION: Held = (from_precision, ([0.25, 0.5], [[0.5, -0.5], [1.0, 0.25]]))

GRID = np.linspace(-24.0, 24.0, 481)
POINTS = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), -1).reshape(-1, 2)
CELL = (GRID[1] - GRID[0]) ** 2


def moments(held: Held) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, from the numbers as each way of holding them is defined."""
    make, numbers = held
    loc, *rest = (np.array(x, dtype=float) for x in numbers)
    if make is full:
        (a, b), c = rest
        lower = np.array([[a, 0.0], [c, b]])
        return loc, lower @ lower.T
    if make is low_rank:
        return loc, rest[0] @ rest[0].T + np.diag(rest[1])
    if make is independent:
        return loc, np.diag(rest[0] ** 2)
    matrix = rest[0] @ rest[0].T + np.eye(2)
    return loc, matrix if make is from_covariance else np.linalg.inv(matrix)


def log_density(held: Held) -> np.ndarray:
    loc, covariance = moments(held)
    gap = POINTS - loc
    form = (gap @ np.linalg.inv(covariance) * gap).sum(-1)
    return -0.5 * form - 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))


def kl_on_grid(p: Held, q: Held) -> float:
    log_p, log_q = log_density(p), log_density(q)
    return float((np.exp(log_p) * (log_p - log_q)).sum() * CELL)


def renyi_on_grid(p: Held, q: Held, alpha: float) -> float:
    power = np.exp(alpha * log_density(p) + (1 - alpha) * log_density(q)).sum() * CELL
    return float(np.log(power) / (alpha - 1))


def entropy_on_grid(p: Held) -> float:
    log_p = log_density(p)
    return float(-(np.exp(log_p) * log_p).sum() * CELL)


def wasserstein_by_roots(p: Held, q: Held) -> Any:
    """√(‖δ‖² + tr(S + T − 2 (S^½ T S^½)^½)), with matrix roots."""
    (loc_p, one), (loc_q, other) = ((m, mp.matrix(c.tolist())) for m, c in map(moments, (p, q)))
    root = mp.sqrtm(one)
    between = mp.sqrtm(root * other * root)
    trace = mp.fsum(one[i, i] + other[i, i] - 2 * between[i, i] for i in range(2))
    return mp.sqrt(float(((loc_p - loc_q) ** 2).sum()) + mp.re(trace))


def row(divergence: str, p: Held, q: Held, alpha: float | None = None) -> DistributionCase:
    truths: dict[str, Callable[..., Any]] = {
        "kl": lambda *_: kl_on_grid(p, q),
        "renyi": lambda *_: renyi_on_grid(p, q, alpha or 0.5),
        "entropy": lambda *_: entropy_on_grid(p),
        "wasserstein": lambda *_: wasserstein_by_roots(p, q),
    }
    return DistributionCase(divergence, *p, *q, truths[divergence], alpha)


PAIRS = [
    (ONE[one], OTHER[other])
    for one, other in itertools.product(ONE, OTHER)
    if (one, other) != ("independent", "independent")
]

CASES = [
    *(row("kl", *pair) for pair in PAIRS),
    *(row("renyi", *pair, alpha=0.3) for pair in PAIRS),
    *(row("renyi", *pair, alpha=1.25) for pair in PAIRS[:2]),
    *(row("wasserstein", *pair) for pair in PAIRS),
    *(row("kl", *pair) for pair in [(COVARIANCE, PRECISION), (PRECISION, COVARIANCE)]),
    *(row("entropy", held, held) for held in (ONE["full"], PRECISION)),
]
