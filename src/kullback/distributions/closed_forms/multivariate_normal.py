"""Gaussians in several dimensions, however they are held: full, low-rank, or independent.

Each is read as a location and a triangular factor of its covariance, Q's is made the unit, and
what is left of P's is squared term by term. Pairs without a full matrix on either side, in many
dimensions, go to `low_rank`, which never forms one.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from kullback.distributions.closed_forms.low_rank import is_low_rank, kl_of_low_rank
from kullback.distributions.closed_forms.shared.factors import scale_factor
from kullback.distributions.closed_forms.shared.structure import simplified
from kullback.distributions.dispatch import Declined, closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import (
    diagonal,
    factor_divergence,
    geometric_factor,
    safe_root,
    solve_lower,
)

__all__: list[str] = []

KINDS = MultivariateNormal, LowRankMultivariateNormal, Independent
PAIRS = [pair for pair in itertools.product(KINDS, KINDS) if pair != (Independent, Independent)]


class Gaussian(NamedTuple):
    """N(loc, factor·factorᵀ), wide; the batch shape of `factor` may be smaller than that of `loc`.

    `factor` is lower triangular, or None where it is diagonal.
    """

    loc: Tensor
    scale: Tensor
    factor: Tensor | None

    @property
    def full(self) -> Tensor:
        return self.scale.diag_embed() if self.factor is None else self.factor

    def whiten(self, x: Tensor) -> Tensor:
        """factor⁻¹ x, for a matrix x."""
        return x / self.scale[..., None] if self.factor is None else solve_lower(self.factor, x)


def gaussian(p: Distribution) -> Gaussian:
    """P as a `Gaussian`; declines what is none."""
    if isinstance(p, MultivariateNormal):
        factor = scale_factor(p)
        return Gaussian(wide(p.loc)[0], diagonal(factor), factor)
    if isinstance(p, LowRankMultivariateNormal):
        columns, variance = wide(p._unbroadcasted_cov_factor, p._unbroadcasted_cov_diag)
        root = variance.sqrt()[..., None]
        identity = torch.eye(root.shape[-2], dtype=root.dtype, device=root.device)
        # The identity bounds the eigenvalues from below: Rasmussen & Williams (2006), 3.4.3.
        inner = identity + (columns / root) @ (columns / root).mT
        factor = root * torch.linalg.cholesky(inner)
        return Gaussian(wide(p.loc)[0], diagonal(factor), factor)
    base: Any = simplified(p)
    flat = isinstance(base, Independent) and base.reinterpreted_batch_ndims == 1
    if flat and isinstance(base.base_dist, Normal):
        loc, scale = wide(base.base_dist.loc, base.base_dist.scale)
        return Gaussian(loc, scale, None)
    raise Declined("the Independent is not of Normals, over one dimension")


class Whitened(NamedTuple):
    """P as Q sees it: A = Lq⁻¹Lp without its diagonal, P's and Q's scales, z = Lq⁻¹(μp − μq)."""

    lower: Tensor
    y: Tensor
    x: Tensor
    z: Tensor

    @property
    def relative(self) -> Tensor:
        """A, with its diagonal."""
        return self.lower.tril(-1) + (self.y / self.x).diag_embed()


def whitened(p: Gaussian, q: Gaussian) -> Whitened:
    # From the difference of the factors, so that A is exactly diagonal where they are equal.
    lower = q.whiten(p.full - q.full)
    return Whitened(lower, p.scale, q.scale, q.whiten((p.loc - q.loc)[..., None]))


def _half_square(z: Tensor) -> Tensor:
    """½ ‖z‖² of column vectors."""
    return 0.5 * z.square().sum((-2, -1))


def _kl(p: Distribution, q: Distribution) -> Tensor:
    """½ Σ_{i>j} A_ij² + Σ [(A_ii² − 1)/2 − log A_ii] + ½ ‖Lq⁻¹(μp − μq)‖², A = Lq⁻¹ Lp."""
    if is_low_rank(p, q):
        return kl_of_low_rank(p, q)
    lower, y, x, z = whitened(gaussian(p), gaussian(q))
    return factor_divergence(lower, y, x) + _half_square(z)


def _renyi(p: Distribution, q: Distribution, alpha: float) -> Tensor:
    """With R of precision αΣp⁻¹ + (1 − α)Σq⁻¹, of the covariances alone:

    | order | value |
    | --- | --- |
    | α < 1 | α/(1 − α)·KL(R‖P) + KL(R‖Q) |
    | α > 1 | KL(P‖Q) + KL(P‖R)/(α − 1); +inf where R does not exist |

    and of the means ½ α δᵀ(αΣq + (1 − α)Σp)⁻¹δ.
    """
    view = whitened(gaussian(p), gaussian(q))
    relative = view.relative
    inverse, exists = geometric_factor(relative, alpha)
    one = torch.ones_like(view.x)
    if alpha < 1:
        identity = torch.eye(relative.shape[-1], dtype=relative.dtype, device=relative.device)
        mixture = solve_lower(inverse, identity)
        root = diagonal(inverse)
        of_p = factor_divergence(mixture, one, root)
        covariances = alpha / (1 - alpha) * of_p + factor_divergence(
            relative @ mixture, view.y / view.x, root
        )
    else:
        of_mixture = factor_divergence(inverse, diagonal(inverse), one)
        covariances = factor_divergence(*view[:3]) + of_mixture / (alpha - 1)
    # The same spectrum as that matrix: both are positive definite, or neither.
    mixed, _ = geometric_factor(relative.mT, alpha)
    reach = torch.linalg.solve_triangular(mixed.mT, view.z, upper=True)
    value = covariances + alpha * _half_square(reach)
    return torch.where(exists, value, math.inf)


def _wasserstein(p: Distribution, q: Distribution) -> Tensor:
    """√(‖μp − μq‖² + ‖Lp − Lq O‖²), O the rotation nearest to LqᵀLp: Bures' distance."""
    one, other = gaussian(p), gaussian(q)
    left, right = one.full, other.full
    gap = (left - right @ _nearest_rotation(right.mT @ left)).square().sum((-2, -1))
    same = (left == right).all((-2, -1))
    # Equal covariances are 0 apart, whatever the rotation was rounded to.
    bures = torch.where(same, (left - right).square().sum((-2, -1)), gap)
    return safe_root((one.loc - other.loc).square().sum(-1) + bures)


def _nearest_rotation(matrix: Tensor) -> Tensor:
    """The orthogonal polar factor, with derivatives that need no gaps between singular values.

    At a singular value decomposition held fixed, the factor is U exp(Ω) Vᵀ with Ω_ij = K_ij /
    (s_i + s_j) to first order in the antisymmetric K: enough for two derivatives of a distance
    that the factor minimises.
    """
    u, s, vh = torch.linalg.svd(matrix.detach())
    inner = u.mT @ matrix @ vh.mT
    turn = (inner - inner.mT) / (s[..., :, None] + s[..., None, :])
    identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    return u @ (identity + turn + 0.5 * (turn @ turn)) @ vh


for _p, _q in PAIRS:
    closed_form("kl", _p, _q, source="Rasmussen & Williams (2006), eq. A.23")(_kl)
    closed_form("renyi", _p, _q, source="Gil et al. (2013), Rényi divergence measures")(_renyi)
    closed_form("wasserstein", _p, _q, source="Gelbrich (1990), theorem 2.1")(_wasserstein)


@closed_form("entropy", MultivariateNormal, source="Cover & Thomas (2006), theorem 8.4.1")
def _entropy(p: MultivariateNormal) -> Tensor:
    """½ n log 2πe + ½ log det Σ."""
    half_log_det = diagonal(scale_factor(p)).log().sum(-1)
    unit = 0.5 * p.event_shape[0] * math.log(2 * math.pi * math.e)
    return (unit + half_log_det).expand(p.batch_shape)
