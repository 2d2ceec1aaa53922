"""Continuous Bernoulli: an exponential distribution cut to the unit interval, by its logit.

With logit η the density is e^(ηx) over its integral (e^η − 1)/η; every divergence is that of
L(η) = log(sinh(η/2)/(η/2)), whose slope is the mean less ½ and whose curvature is the variance.
The logit is read from what the distribution was made of: torch's own derived one is clamped.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta, ContinuousBernoulli, Exponential, HalfNormal, Uniform

from kullback.distributions.closed_forms.beta import entropy_loss
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import given, wide
from kullback.numerics.log_sinhc import (
    log_sinhc,
    log_sinhc_bregman,
    log_sinhc_curvature,
    log_sinhc_intercept,
    log_sinhc_slope,
)
from kullback.numerics.special import itakura_saito

__all__ = ["logit_of"]

_SOURCE = "Loaiza-Ganem & Cunningham (2019), eqs. 7 and 8"


def logit_of(p: ContinuousBernoulli) -> Tensor:
    """η, wide."""
    if given(p) == "logits":
        (logits,) = wide(p.logits)
        return logits
    (probs,) = wide(p.probs)
    return probs.log() - (-probs).log1p()


@closed_form("kl", ContinuousBernoulli, ContinuousBernoulli, source=_SOURCE)
def _kl(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    return log_sinhc_bregman(logit_of(q), logit_of(p))


@closed_form(
    "renyi",
    ContinuousBernoulli,
    ContinuousBernoulli,
    source="van Erven & Harremoës (2014), theorem 30, with M of the mean logit",
)
def _renyi(p: ContinuousBernoulli, q: ContinuousBernoulli, alpha: float) -> Tensor:
    """KL(M‖Q) + α/(1 − α) KL(M‖P) for α < 1, KL(P‖Q) + KL(P‖M)/(α − 1) above."""
    x, y = logit_of(p), logit_of(q)
    mean = x + (1 - alpha) * (y - x)
    if alpha < 1:
        return log_sinhc_bregman(y, mean) + alpha / (1 - alpha) * log_sinhc_bregman(x, mean)
    return log_sinhc_bregman(y, x) + log_sinhc_bregman(mean, x) / (alpha - 1)


@closed_form("entropy", ContinuousBernoulli, source=_SOURCE)
def _entropy(p: ContinuousBernoulli) -> Tensor:
    return log_sinhc_intercept(logit_of(p))


@closed_form("kl", ContinuousBernoulli, Uniform, source=_SOURCE)
def _kl_uniform(p: ContinuousBernoulli, q: Uniform) -> Tensor:
    """−H(P) + log(high − low); +inf where Q does not cover the unit interval."""
    low, high = wide(q.low, q.high)
    covered = (low <= 0) & (high >= 1)
    length = torch.where(covered, high - low, 1.0)
    return torch.where(covered, length.log() - log_sinhc_intercept(logit_of(p)), torch.inf)


@closed_form("kl", Beta, ContinuousBernoulli, source=_SOURCE)
def _kl_of_beta(p: Beta, q: ContinuousBernoulli) -> Tensor:
    """−H(P) + L(η) − η (E x − ½)."""
    one, zero = wide(p.concentration1, p.concentration0)
    logit = logit_of(q)
    return entropy_loss(one, zero) + log_sinhc(logit) - 0.5 * logit * (one - zero) / (one + zero)


@closed_form("kl", ContinuousBernoulli, Exponential, source=_SOURCE)
def _kl_exponential(p: ContinuousBernoulli, q: Exponential) -> Tensor:
    """−H(P) − log λ + λ E x; for η < −2 as that of two rates, less what is cut off.

    There P is the Exponential of rate −η up to e^η, and so may nearly be Q.
    """
    logit, (rate,) = logit_of(p), wide(q.rate)
    plain = rate * (0.5 + log_sinhc_slope(logit)) - rate.log() - log_sinhc_intercept(logit)
    steep = logit < -2
    size = torch.where(steep, -logit, 2.0)
    decay = (-size).exp()
    cut = (decay / (1 - decay)) * (rate - size) + (-decay).log1p()
    return torch.where(steep, itakura_saito(rate, size) - cut, plain)


@closed_form("kl", ContinuousBernoulli, HalfNormal, source=_SOURCE)
def _kl_half_normal(p: ContinuousBernoulli, q: HalfNormal) -> Tensor:
    """−H(P) + log(σ√(π/2)) + E x²/2σ²."""
    logit, (scale,) = logit_of(p), wide(q.scale)
    mean = 0.5 + log_sinhc_slope(logit)
    square = (log_sinhc_curvature(logit) + mean * mean) / (scale * scale)
    return 0.5 * (square + math.log(0.5 * math.pi)) + scale.log() - log_sinhc_intercept(logit)
