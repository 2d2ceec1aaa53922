"""Triangular factors of covariances: how one looks from another, and how far apart they are.

With A = Lq⁻¹ Lp the factor of P's covariance in the coordinates where Q's is the identity, every
divergence of two covariances is a function of A alone. Built from Lp − Lq and squared entry by
entry, it cannot be negative, and vanishes only where the two are equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.special import scale_divergence

__all__ = [
    "diagonal",
    "factor_divergence",
    "geometric_factor",
    "off_diagonal_square",
    "solve_lower",
]


def diagonal(matrix: Tensor) -> Tensor:
    """The diagonal, in the last dimension."""
    return matrix.diagonal(dim1=-2, dim2=-1)


def off_diagonal_square(lower: Tensor) -> Tensor:
    """Σ_{i>j} A_ij² of a lower triangular A."""
    return lower.tril(-1).square().sum((-2, -1))


def solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    """L⁻¹ R for a lower triangular L; batches broadcast.

    Leading batch dimensions that only R has are solved as further columns, so that one factor
    beside many right-hand sides is never copied.
    """
    while 2 < factor.dim() <= right.dim() and factor.shape[0] == 1:
        factor = factor.squeeze(0)
    extra = right.dim() - factor.dim()
    if extra <= 0:
        return torch.linalg.solve_triangular(factor, right, upper=False)
    first, last = tuple(range(extra)), tuple(range(-1 - extra, -1))
    columns = right.movedim(first, last)
    solved = torch.linalg.solve_triangular(factor, columns.flatten(-1 - extra), upper=False)
    return solved.unflatten(-1, columns.shape[-1 - extra :]).movedim(last, first)


def factor_divergence(lower: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """½ (tr AAᵀ − log det AAᵀ − n) ≥ 0 for a lower triangular A whose diagonal is y/x.

    The diagonal comes as the two numbers whose ratio it is, so that nothing is lost where they
    are nearly equal; that of `lower` is not read.

    Source: James & Stein (1961), Estimation with Quadratic Loss, section 5 (there without the ½).
    """
    return 0.5 * off_diagonal_square(lower) + scale_divergence(y, x).sum(-1)


def geometric_factor(relative: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The inverse factor B of a geometric mixture of two covariances, and where it exists.

    With the precision α·I + (1 − α)·AᵀA, A = `relative`, the mixture has the covariance
    B⁻¹B⁻ᵀ, B lower triangular: seen from P, for A seen from Q. Beyond α = 1 that matrix may not
    be positive definite; there B is the identity and the mask is False.

    Source: van Erven & Harremoës (2014), theorem 30, whose minimum it attains.
    """
    identity = torch.eye(relative.shape[-1], dtype=relative.dtype, device=relative.device)
    precision = identity + (1 - alpha) * (relative.mT @ relative - identity)
    # Turned about, Cholesky gives an upper times a lower triangular matrix.
    turned = precision.flip((-2, -1))
    exists = torch.linalg.cholesky_ex(turned.detach()).info == 0
    turned = torch.where(exists[..., None, None], turned, identity)
    return torch.linalg.cholesky(turned).flip((-2, -1)).mT, exists
