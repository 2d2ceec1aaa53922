"""Multinomial: as many independent draws of a category as were made, on both sides alike.

With different numbers of draws no event is common to both, and every Rényi divergence is +inf.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Multinomial, OneHotCategorical

from kullback.distributions.closed_forms.categorical import (
    entropy_of_categories,
    kl_of_categories,
    renyi_of_categories,
)
from kullback.distributions.dispatch import Declined, closed_form
from kullback.distributions.integers import category_log_probs
from kullback.numerics import log_binomial

__all__: list[str] = []

Draws = Multinomial | OneHotCategorical

# The entropy looks at every count of every category.
_MOST_ENTRIES = 1 << 24


@closed_form("kl", Multinomial, Multinomial, source="Cover & Thomas (2006), theorem 2.5.3")
@closed_form("kl", Multinomial, OneHotCategorical, source="a one-hot vector is one draw")
@closed_form("kl", OneHotCategorical, Multinomial, source="a one-hot vector is one draw")
def _kl(p: Draws, q: Draws) -> Tensor:
    """n Σ p log(p/q)."""
    return _of_draws(p, q, kl_of_categories(p._categorical, q._categorical))


@closed_form("renyi", Multinomial, Multinomial, source="van Erven & Harremoës (2014), theorem 28")
@closed_form("renyi", Multinomial, OneHotCategorical, source="a one-hot vector is one draw")
@closed_form("renyi", OneHotCategorical, Multinomial, source="a one-hot vector is one draw")
def _renyi(p: Draws, q: Draws, alpha: float) -> Tensor:
    """n log Σ p^α q^(1−α)/(α − 1)."""
    return _of_draws(p, q, renyi_of_categories(p._categorical, q._categorical, alpha))


@closed_form("entropy", Multinomial, source="Cover & Thomas (2006), eq. 2.1, factor by factor")
def _entropy(p: Multinomial) -> Tensor:
    """n H(categories) − log n! + Σ_i E log X_i!, each X_i a Binomial(n, p_i)."""
    n, log_p = p.total_count, category_log_probs(p._categorical).unsqueeze(-1)
    if log_p.numel() * (n + 1) > _MOST_ENTRIES:
        raise Declined("there are too many counts to sum over")
    counts = torch.arange(n + 1, dtype=log_p.dtype, device=log_p.device)
    whole = torch.full_like(log_p, n)
    prob = log_p.exp()
    certain = prob == 1
    rest = torch.where(certain, -math.inf, torch.where(certain, 0.0, -prob).log1p())
    mass = log_binomial(counts, whole, (prob, log_p), (1 - prob, rest)).exp()
    log_factorials = (mass * torch.lgamma(counts + 1)).sum((-1, -2))
    return n * entropy_of_categories(p._categorical) - math.lgamma(n + 1) + log_factorials


def _of_draws(p: Draws, q: Draws, value: Tensor) -> Tensor:
    n, m = _draws(p), _draws(q)
    if n != m:
        return torch.full_like(value, math.inf)
    return n * value if n else torch.zeros_like(value)


def _draws(p: Draws) -> int:
    return p.total_count if isinstance(p, Multinomial) else 1
