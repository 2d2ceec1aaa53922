"""On the simplex: Dirichlet, whose KL is a Bregman divergence of log B; LogisticNormal.

`log_beta_bregman` splits it into the divergence of the mean proportions and those of the shapes,
parts that cannot be negative, where the usual formula subtracts log-gammas in the thousands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Dirichlet, LogisticNormal

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.log_beta import log_beta_bregman

__all__: list[str] = []


@closed_form(
    "kl", Dirichlet, Dirichlet, source="Penny (2001), KL-Divergences of Dirichlet Densities"
)
def _kl(p: Dirichlet, q: Dirichlet) -> Tensor:
    """lgamma(p₀) − lgamma(q₀) + Σ [lgamma(q_i) − lgamma(p_i) + (p_i − q_i)(ψ(p_i) − ψ(p₀))]."""
    return log_beta_bregman(q.concentration, p.concentration)


@closed_form("renyi", Dirichlet, Dirichlet, source="Gil et al. (2013)")
def _renyi(p: Dirichlet, q: Dirichlet, alpha: float) -> Tensor:
    """With R of concentration r = αp + (1 − α)q:

    | order | value |
    | --- | --- |
    | α < 1 | α/(1 − α)·KL(R‖P) + KL(R‖Q) |
    | α > 1 | KL(P‖Q) + KL(P‖R)/(α − 1); +inf where an r_i ≤ 0 |
    """
    one, other = wide(p.concentration, q.concentration)
    mixed = one + (1 - alpha) * (other - one)
    exists = (mixed > 0).all(-1)
    mixed = torch.where(exists[..., None], mixed, one)
    if alpha < 1:
        of_p, of_q = log_beta_bregman(one, mixed), log_beta_bregman(other, mixed)
        return alpha / (1 - alpha) * of_p + of_q
    value = log_beta_bregman(other, one) + log_beta_bregman(mixed, one) / (alpha - 1)
    return torch.where(exists, value, math.inf)


@closed_form("entropy", Dirichlet, source="Bishop (2006), Pattern Recognition, appendix B")
def _entropy(p: Dirichlet) -> Tensor:
    """Σ lgamma(p_i) − lgamma(p₀) + (p₀ − K) ψ(p₀) − Σ (p_i − 1) ψ(p_i)."""
    (a,) = wide(p.concentration)
    total = a.sum(-1)
    log_beta = torch.lgamma(a).sum(-1) - torch.lgamma(total)
    mean_logs = (total - a.shape[-1]) * torch.digamma(total)
    return log_beta + mean_logs - ((a - 1) * torch.digamma(a)).sum(-1)


@closed_form(
    "kl",
    LogisticNormal,
    LogisticNormal,
    source="Aitchison & Shen (1980), Logistic-Normal Distributions",
)
def _kl_logistic_normal(p: LogisticNormal, q: LogisticNormal) -> Tensor:
    """The divergence of the log-ratios' Normals."""
    from kullback.distributions.answers import kl_in_full

    return kl_in_full(p.base_dist, q.base_dist)
