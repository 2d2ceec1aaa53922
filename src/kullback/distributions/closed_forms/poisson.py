"""Poisson: the divergences of two rates."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Poisson

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.divergences import alpha as alpha_record
from kullback.numerics import generalized_kl, make_pair

__all__: list[str] = []


@closed_form("kl", Poisson, Poisson, source="Banerjee et al. (2005), Bregman Divergences")
def _kl(p: Poisson, q: Poisson) -> Tensor:
    """λ log(λ/μ) − λ + μ."""
    rate, other = torch.broadcast_tensors(*wide(p.rate, q.rate))
    safe, escaped = _covered(rate, other)
    return torch.where(escaped, math.inf, generalized_kl(rate, safe))


@closed_form("renyi", Poisson, Poisson, source="Nielsen & Nock (2011), section 3")
def _renyi(p: Poisson, q: Poisson, alpha: float) -> Tensor:
    """(λ^α μ^(1−α) − α λ − (1 − α) μ)/(α − 1)."""
    rate, other = torch.broadcast_tensors(*wide(p.rate, q.rate))
    terms = alpha_record(alpha).terms
    if alpha < 1:
        return alpha * terms(make_pair(rate, other, "probs", "probs"))
    safe, escaped = _covered(rate, other)
    return torch.where(escaped, math.inf, alpha * terms(make_pair(rate, safe, "probs", "probs")))


def _covered(rate: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The rate of Q, with P's put in where P alone is not all at 0; and where that was."""
    escaped = (other == 0) & (rate > 0)
    return torch.where(escaped, rate, other), escaped
