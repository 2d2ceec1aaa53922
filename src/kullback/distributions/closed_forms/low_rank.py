"""Gaussians of covariance D + WWᵀ in many dimensions, without ever forming that matrix.

The determinant lemma and Woodbury's identity leave matrices of the size of the rank. As usually
written they subtract large numbers; here every term is a product of two differences, of D or of
W, so that equal sides are exactly 0 apart and nearly equal ones keep their digits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, Normal

from kullback.distributions.closed_forms.shared.structure import simplified
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import diagonal, factor_divergence, itakura_saito, solve_lower

__all__ = ["is_low_rank", "kl_of_low_rank"]

# Below, a full factor costs little, and its divergence is a sum of squares whatever the rank.
_DIMENSIONS = 256


class LowRank(NamedTuple):
    """N(loc, diag(variance) + columns·columnsᵀ), wide; batch shapes as given."""

    loc: Tensor
    columns: Tensor
    variance: Tensor


def is_low_rank(p: Distribution, q: Distribution) -> bool:
    """Whether both sides are diagonal plus a low rank, in so many dimensions that it pays."""
    size = p.event_shape.numel()
    ranks = [_rank(p), _rank(q)]
    return size >= _DIMENSIONS and None not in ranks and 4 * sum(map(int, ranks)) <= size


def _rank(p: Distribution) -> Any:
    if isinstance(p, LowRankMultivariateNormal):
        return p._unbroadcasted_cov_factor.shape[-1]
    return None if _normals(p) is None else 0


def _normals(p: Distribution) -> Any:
    """The Normals of an Independent of Normals over one dimension; None if P is something else."""
    flat: Any = simplified(p)
    one = isinstance(flat, Independent) and flat.reinterpreted_batch_ndims == 1
    return flat.base_dist if one and isinstance(flat.base_dist, Normal) else None


def _low_rank(p: Any) -> LowRank:
    if isinstance(p, LowRankMultivariateNormal):
        return LowRank(*wide(p.loc, p._unbroadcasted_cov_factor, p._unbroadcasted_cov_diag))
    loc, scale = wide(_normals(p).loc, _normals(p).scale)
    return LowRank(loc, scale.new_zeros(*scale.shape, 0), scale.square())


def _capacitance(p: LowRank) -> Tensor:
    """The Cholesky factor of C = I + Wᵀ D⁻¹ W."""
    weighted = p.columns / p.variance[..., None]
    rank = p.columns.shape[-1]
    identity = torch.eye(rank, dtype=weighted.dtype, device=weighted.device)
    return torch.linalg.cholesky(identity + weighted.mT @ p.columns)


def kl_of_low_rank(p: Distribution, q: Distribution) -> Tensor:
    """KL(P‖Q) = ½ [tr Σq⁻¹Σp − n − log det Σq⁻¹Σp] + ½ zᵀΣq⁻¹z, in O(n·rank²)."""
    one, other = _aligned(_low_rank(p), _low_rank(q))
    factor = _capacitance(other)
    # Differences of D⁻¹ take digits where P's is far the larger; there the plain form keeps them.
    far = (one.variance.detach() < other.variance.detach() / 16).any(-1)
    unlike = far[..., None]
    tame = one._replace(variance=torch.where(unlike, other.variance, one.variance))
    covariances = torch.where(far, _far(one, other, factor), _near(tame, other, factor))
    return covariances + 0.5 * _square(other, factor, (one.loc - other.loc)[..., None])


def _near(p: LowRank, q: LowRank, factor: Tensor) -> Tensor:
    """Of the covariances, with δ = Wp − Wq, ρ = Dp/Dq − 1 and N = Cq⁻¹(Cp − Cq):

    ½ Σ [ρ − log(1 + ρ)] + ½ [tr N − log det(I + N)] + ½ tr Σq⁻¹δδᵀ + ½ tr Cq⁻¹B, where B is
    δᵀDq⁻¹ρWp + WqᵀDq⁻¹ρδ − WpᵀDq⁻¹ρ²/(1 + ρ)Wp − δᵀDq⁻¹δ: what the first two leave over.
    """
    inverse = 1 / q.variance[..., None]
    step = p.columns - q.columns
    rho = (p.variance - q.variance)[..., None] * inverse
    shrunk = rho / p.variance[..., None]
    square = step.mT @ (inverse * step)
    cross = step.mT @ (inverse * q.columns)
    change = cross + cross.mT + square - p.columns.mT @ (shrunk * p.columns)
    inner = _whitened(factor, change)
    identity = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
    ratio = torch.linalg.cholesky(identity + 0.5 * (inner + inner.mT))
    root = diagonal(ratio)
    left_over = (
        step.mT @ (inverse * rho * p.columns)
        + q.columns.mT @ (inverse * rho * step)
        - p.columns.mT @ (shrunk * rho * p.columns)
        - square
    )
    second = diagonal(_whitened(factor, left_over)).sum(-1) + _square(q, factor, step)
    variances = itakura_saito(p.variance, q.variance).sum(-1)
    return 0.5 * (variances + second) + factor_divergence(ratio, root, torch.ones_like(root))


def _far(p: LowRank, q: LowRank, factor: Tensor) -> Tensor:
    """Of the covariances, as written."""
    weighted = solve_lower(factor, (q.columns / q.variance[..., None]).mT)
    precisions = 1 / q.variance - weighted.square().sum(-2)
    trace = (p.variance * precisions).sum(-1) + _square(q, factor, p.columns)
    log_ratio = diagonal(_capacitance(p)).log().sum(-1) - diagonal(factor).log().sum(-1)
    log_det = (p.variance.log() - q.variance.log()).sum(-1) + 2 * log_ratio
    return 0.5 * (trace - p.variance.shape[-1] - log_det)


def _whitened(factor: Tensor, matrix: Tensor) -> Tensor:
    """L⁻¹ matrixᵀ L⁻ᵀ."""
    return solve_lower(factor, solve_lower(factor, matrix).mT)


def _square(q: LowRank, factor: Tensor, x: Tensor) -> Tensor:
    """tr(xᵀ Σ⁻¹ x) as the least squares it is: ‖x − Wy‖² weighted by D⁻¹, and ‖y‖²."""
    projected = solve_lower(factor, q.columns.mT @ (x / q.variance[..., None]))
    y = torch.linalg.solve_triangular(factor.mT, projected, upper=True)
    rest = x - q.columns @ y
    weighted = rest.square() / q.variance[..., None]
    return weighted.sum((-2, -1)) + y.square().sum((-2, -1))


def _aligned(p: LowRank, q: LowRank) -> tuple[LowRank, LowRank]:
    """The same two, with columns of equal number, P's turned to be as near to Q's as they can.

    A rotation of the columns leaves WWᵀ as it is, so it is a constant to autograd.
    """
    rank = max(p.columns.shape[-1], q.columns.shape[-1])
    p, q = (_padded(side, rank) for side in (p, q))
    weighted = q.columns / q.variance[..., None]
    u, _, vh = torch.linalg.svd((p.columns.mT @ weighted).detach())
    turned = p.columns @ (u @ vh)
    closer = _distance(turned, q) < _distance(p.columns, q)
    return p._replace(columns=torch.where(closer[..., None, None], turned, p.columns)), q


def _padded(p: LowRank, rank: int) -> LowRank:
    missing = rank - p.columns.shape[-1]
    return p._replace(columns=torch.nn.functional.pad(p.columns, (0, missing)))


def _distance(columns: Tensor, q: LowRank) -> Tensor:
    step = (columns - q.columns).detach()
    return (step.square() / q.variance.detach()[..., None]).sum((-2, -1))


@closed_form("entropy", LowRankMultivariateNormal, source="Cover & Thomas (2006), theorem 8.4.1")
def _entropy(p: LowRankMultivariateNormal) -> Tensor:
    """½ n log 2πe + ½ Σ log D_i + ½ log det C."""
    parts = _low_rank(p)
    half_log_det = 0.5 * parts.variance.log().sum(-1) + diagonal(_capacitance(parts)).log().sum(-1)
    unit = 0.5 * p.event_shape[0] * math.log(2 * math.pi * math.e)
    return (unit + half_log_det).expand(p.batch_shape)
