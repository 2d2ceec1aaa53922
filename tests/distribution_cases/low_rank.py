"""Low-rank Gaussians in many dimensions, against the full matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, Normal

from distribution_cases import DistributionCase, Numbers
from distribution_cases.multivariate_normal import ONE, row

DIMENSIONS = 256
_WAVES = np.arange(DIMENSIONS)


def vectors(numbers: Any) -> Any:
    """Vectors of many entries from a few numbers each, exact in float32: ramps in eighths."""
    ramps = torch.as_tensor(_WAVES % 8).to(numbers) / 8
    return numbers[..., None] * (1 + ramps)


def low_rank(loc: Tensor, columns: Tensor, variance: Tensor) -> Distribution:
    flips = torch.as_tensor((-1.0) ** _WAVES).to(columns)
    wide = vectors(columns) * torch.stack([torch.ones_like(flips), flips])
    return LowRankMultivariateNormal(vectors(loc), wide.mT, vectors(variance))


def independent(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(vectors(loc), vectors(scale)), 1)


def moments(p: Numbers) -> tuple[np.ndarray, np.ndarray]:
    ramp = 1 + (_WAVES % 8) / 8
    if len(p) == 2:
        return p[0] * ramp, np.diag((p[1] * ramp) ** 2)
    columns = np.stack([p[1][0] * ramp, p[1][1] * ramp * (-1.0) ** _WAVES], -1)
    return p[0] * ramp, columns @ columns.T + np.diag(p[2] * ramp)


def kl_of_matrices(p: Numbers, q: Numbers) -> float:
    (loc_p, one), (loc_q, other) = moments(p), moments(q)
    gap = loc_p - loc_q
    log_det = np.linalg.slogdet(other)[1] - np.linalg.slogdet(one)[1]
    trace = np.trace(np.linalg.solve(other, one)) - DIMENSIONS
    return float(0.5 * (trace + log_det + gap @ np.linalg.solve(other, gap)))


P, Q = (0.5, [0.25, 0.5], 1.5), (0.25, [0.5, -0.25], 1.0)
DIAGONAL = (0.25, 1.25)

CASES = [
    DistributionCase("kl", low_rank, P, low_rank, Q, kl_of_matrices),
    DistributionCase("kl", low_rank, P, independent, DIAGONAL, kl_of_matrices),
    DistributionCase("kl", independent, DIAGONAL, low_rank, Q, kl_of_matrices),
    # P's variances are a hundredth of Q's, where the formula is another.
    DistributionCase("kl", low_rank, (0.5, [0.25, 0.5], 0.0078125), low_rank, Q, kl_of_matrices),
    row("entropy", ONE["low_rank"], ONE["low_rank"]),
]
