"""LKJCholesky: an exponential family in its concentration, a product of Betas row by row.

The squared last entry of row k = 1 … d − 1 is Beta(b_k, k/2) with b_k = η + (d − 1 − k)/2, and
b_k + k/2 the same for all rows; the direction of the rest of the row is uniform.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import LKJCholesky

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import lgamma_bregman

__all__: list[str] = []

SOURCE = "Lewandowski, Kurowicka & Joe (2009), section 3.2"


@closed_form("kl", LKJCholesky, LKJCholesky, source=SOURCE)
def _kl(p: LKJCholesky, q: LKJCholesky) -> Tensor:
    """Σ_k KL(Beta(b_k, k/2)‖Beta(b'_k, k/2))."""
    one, other = wide(p.concentration, q.concentration)
    return _of_concentrations(one, other, p.dim)


def _of_concentrations(p: Tensor, q: Tensor, size: int) -> Tensor:
    offsets, last = _offsets(size, p)
    p, q = p[..., None], q[..., None]
    # digamma's slope falls, so each difference of the two is positive.
    rows = lgamma_bregman(q + offsets, p + offsets) - lgamma_bregman(q + last, p + last)
    return rows.sum(-1)


def _offsets(size: int, like: Tensor) -> tuple[Tensor, float]:
    """b_k − η for every row, and b_k + k/2 − η."""
    rows = torch.arange(1, size, dtype=like.dtype, device=like.device)
    return (size - 1 - rows) / 2, (size - 1) / 2


@closed_form(
    "renyi", LKJCholesky, LKJCholesky, source=f"{SOURCE}; van Erven & Harremoës (2014), theorem 30"
)
def _renyi(p: LKJCholesky, q: LKJCholesky, alpha: float) -> Tensor:
    """With R of concentration ρ = αη + (1 − α)η':

    | order | value |
    | --- | --- |
    | α < 1 | α/(1 − α)·KL(R‖P) + KL(R‖Q) |
    | α > 1 | KL(P‖Q) + KL(P‖R)/(α − 1); +inf where ρ ≤ 0 |
    """
    one, other = wide(p.concentration, q.concentration)
    mixed = one + (1 - alpha) * (other - one)
    exists = mixed > 0
    mixed = torch.where(exists, mixed, one)
    if alpha < 1:
        of_p = _of_concentrations(mixed, one, p.dim)
        return alpha / (1 - alpha) * of_p + _of_concentrations(mixed, other, p.dim)
    value = _of_concentrations(one, other, p.dim)
    value = value + _of_concentrations(one, mixed, p.dim) / (alpha - 1)
    return torch.where(exists, value, math.inf)


@closed_form("entropy", LKJCholesky, source=SOURCE)
def _entropy(p: LKJCholesky) -> Tensor:
    """−Σ_k 2(b_k − 1)·E log L_kk + log of the normaliser, over the entries below the diagonal."""
    (eta,) = wide(p.concentration)
    offsets, last = _offsets(p.dim, eta)
    shape, total = eta[..., None] + offsets, (eta + last)[..., None]
    mean_logs = torch.digamma(shape) - torch.digamma(total)
    log_gammas = torch.lgamma(shape) - torch.lgamma(total)
    # A row of k entries inside the unit ball: π^(k/2) Γ(b_k)/Γ(b_k + k/2).
    log_pi = p.dim * (p.dim - 1) / 4 * math.log(math.pi)
    return (log_gammas - (shape - 1) * mean_logs).sum(-1) + log_pi
