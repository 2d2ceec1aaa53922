"""Beta: two concentrations, whose total and shares are kept apart.

The divergence from Uniform(0, 1) = Beta(1, 1) is the loss of entropy, which every divergence from
another family starts from, so that none is a difference of large entropies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta, Uniform

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.binet import binet, binet_slope
from kullback.numerics.log_beta import log_beta_bregman

__all__ = ["beta_negentropy", "entropy_loss"]


def _concentrations(p: Beta) -> Tensor:
    """Both, in the last dimension."""
    return torch.stack(wide(p.concentration1, p.concentration0), -1)


@closed_form("kl", Beta, Beta, source="Gil, Alajaji & Linder (2013), table 1; Minka (2000)")
def _kl(p: Beta, q: Beta) -> Tensor:
    of_q, of_p = (torch.stack([x.concentration1, x.concentration0], -1) for x in (q, p))
    return log_beta_bregman(of_q, of_p)


@closed_form("renyi", Beta, Beta, source="Gil, Alajaji & Linder (2013)")
def _renyi(p: Beta, q: Beta, alpha: float) -> Tensor:
    """By the divergences from the mixed concentrations αx + (1 − α)y, +inf unless both are > 0.

    That is (α KL(M‖P) + (1 − α) KL(M‖Q))/(1 − α) for α < 1 and KL(P‖Q) + KL(P‖M)/(α − 1) above:
    van Erven & Harremoës (2014), theorem 30.
    """
    x, y = _concentrations(p), _concentrations(q)
    mixed = x + (1 - alpha) * (y - x)
    if alpha < 1:
        return alpha / (1 - alpha) * log_beta_bregman(x, mixed) + log_beta_bregman(y, mixed)
    finite = (mixed > 0).all(-1)
    mixed = torch.where(finite[..., None], mixed, x)
    value = log_beta_bregman(y, x) + log_beta_bregman(mixed, x) / (alpha - 1)
    return torch.where(finite, value, torch.inf)


@closed_form("kl", Beta, Uniform, source="Cover & Thomas (2006), eq. 8.46")
def _kl_uniform(p: Beta, q: Uniform) -> Tensor:
    """−H(P) + log(high − low); +inf where Q does not cover the unit interval."""
    one, zero, low, high = wide(p.concentration1, p.concentration0, q.low, q.high)
    covered = (low <= 0) & (high >= 1)
    length = torch.where(covered, high - low, 1.0)
    return torch.where(covered, entropy_loss(one, zero) + length.log(), torch.inf)


@closed_form("entropy", Beta, source="Johnson, Kotz & Balakrishnan (1995), section 25.2")
def _entropy(p: Beta) -> Tensor:
    return -entropy_loss(*wide(p.concentration1, p.concentration0))


def entropy_loss(one: Tensor, zero: Tensor) -> Tensor:
    """−H(Beta(one, zero)) = KL(Beta(one, zero)‖Uniform(0, 1)) ≥ 0, zero only at (1, 1).

    By `log_beta_bregman` near (1, 1); elsewhere by Stirling's formula, in which what is large
    in log B has cancelled.
    """
    near = ((one - 1).abs() < 1) & ((zero - 1).abs() < 1)
    at = torch.stack([torch.where(near, one, 1.0), torch.where(near, zero, 1.0)], -1)
    close = log_beta_bregman(torch.ones_like(at), at)
    one, zero = torch.where(near, 2.0, one), torch.where(near, 2.0, zero)
    total = one + zero
    volume = 2 * math.pi * math.e * (one / total) * (zero / total) / (total + 1)
    return torch.where(near, close, beta_negentropy(one, zero) - 0.5 * volume.log())


def beta_negentropy(one: Tensor, zero: Tensor) -> Tensor:
    """½ log(2πe Var) − H of Beta(one, zero): how far it is from a normal distribution."""
    total = one + zero
    rest = _stirling_rest(total, 2.0) - _stirling_rest(one, 1.0) - _stirling_rest(zero, 1.0)
    return rest - 0.5 * (1 / total).log1p()


def _stirling_rest(x: Tensor, shift: float) -> Tensor:
    """lgamma(x) − (x − shift) digamma(x), less the same of Stirling's leading terms."""
    return binet(x) - 0.5 * shift / x - (x - shift) * binet_slope(x)
