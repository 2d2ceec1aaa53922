"""Poisson: the divergences of two rates."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Poisson

from kullback.distributions.closed_forms.bernoulli import (
    are_narrow,
    power_excess,
    weighted_log_ratio,
)
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import generalized_kl, make_pair
from kullback.numerics.fused import fused

__all__: list[str] = []


@closed_form("kl", Poisson, Poisson, source="Banerjee et al. (2005), Bregman Divergences")
def _kl(p: Poisson, q: Poisson) -> Tensor:
    """λ log(λ/μ) − λ + μ."""
    return fused("poisson", _of_rates, (p.rate, q.rate))


def _of_rates(given_rate: Tensor, given_other: Tensor) -> Tensor:
    rate, other = torch.broadcast_tensors(*wide(given_rate, given_other))
    if are_narrow(given_rate, given_other):
        gap = rate - other
        return weighted_log_ratio(rate, other, gap) - gap
    escaped = (other == 0) & (rate > 0)
    value = generalized_kl(rate, torch.where(escaped, rate, other))
    return torch.where(escaped, math.inf, value)


@closed_form("renyi", Poisson, Poisson, source="Nielsen & Nock (2011), section 3")
def _renyi(p: Poisson, q: Poisson, alpha: float) -> Tensor:
    """(λ^α μ^(1−α) − α λ − (1 − α) μ)/(α − 1)."""
    rate, other = torch.broadcast_tensors(*wide(p.rate, q.rate))
    return power_excess(make_pair(rate, other, "probs", "probs"), alpha) / (alpha - 1)
