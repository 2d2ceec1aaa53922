"""Rényi divergences of exponential families through M, the member between P and Q.

p^α q^(1−α) is, but for its mass, the member M whose natural parameters are the mean of those of P
and Q with weights α and 1 − α; for α > 1 it lies beyond P, and may not exist, when R_α = +inf.
Then R_α(P‖Q) = KL(M‖Q) + α/(1−α)·KL(M‖P), which keeps its digits where P and Q are nearly equal.

Source: van Erven & Harremoës (2014), Rényi Divergence and Kullback–Leibler Divergence, theorem 30.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kullback.numerics import exp_remainder, expm1
from kullback.numerics.remainders import log_quotient, rate_divergence, shape_divergence

__all__ = ["renyi_of_gammas", "renyi_of_rates"]

# Rates whose ratio is beyond e⁶⁰⁰ are known by their logarithms only.
_FAR = 600.0


def renyi_of_rates(log_ratio: Tensor, alpha: float) -> Tensor:
    """R_α of two Exponentials with rates β and γ, from log(β/γ): +inf where αβ + (1−α)γ ≤ 0.

    | where | value |
    | --- | --- |
    | |log(β/γ)| < 600 | by way of the rate between |
    | elsewhere | [log(αβ + (1−α)γ) − α log β − (1−α) log γ]/(1−α), from the logarithms |

    Source: Gil, Alajaji & Linder (2013), Rényi Divergence Measures for Commonly Used Univariate
    Continuous Distributions.
    """
    first = log_ratio >= 0
    distance = torch.where(first, log_ratio, -log_ratio)
    near = distance < _FAR
    # In units of the larger rate.
    small, change = (-distance).exp(), expm1(-distance)
    mean = torch.where(first, alpha + (1 - alpha) * small, 1 - alpha + alpha * small)
    finite = mean > 0
    usable = near & finite
    beta = torch.where(usable & ~first, small, 1.0)
    gamma = torch.where(usable & first, small, 1.0)
    between = torch.where(usable, mean, 1.0)
    step = torch.where(usable, torch.where(first, change, -change), 0.0)
    to_q = rate_divergence(gamma, between, alpha * step)
    to_p = rate_divergence(beta, between, (alpha - 1) * step)
    larger = torch.where(first, log_ratio, 0.0)
    apart = torch.where(finite, mean, 1.0).log() + larger - alpha * log_ratio
    value = torch.where(near, to_q + alpha / (1 - alpha) * to_p, apart / (1 - alpha))
    return torch.where(finite, value, math.inf)


def renyi_of_gammas(a: Tensor, beta: Tensor, b: Tensor, gamma: Tensor, alpha: float) -> Tensor:
    """R_α(Gamma(a, β)‖Gamma(b, γ)), +inf where the mean shape or rate is not positive.

    Source: Gil, Alajaji & Linder (2013), Rényi Divergence Measures for Commonly Used Univariate
    Continuous Distributions.
    """
    shape = alpha * a + (1 - alpha) * b
    rate = alpha * beta + (1 - alpha) * gamma
    finite = (shape > 0) & (rate > 0)
    a, b = torch.where(finite, a, 1.0), torch.where(finite, b, 1.0)
    beta, gamma = torch.where(finite, beta, 1.0), torch.where(finite, gamma, 1.0)
    shape, rate = torch.where(finite, shape, 1.0), torch.where(finite, rate, 1.0)
    to_q = _kl_from_mean(shape, rate, b, gamma, alpha * (b - a), alpha * (gamma - beta))
    to_p = _kl_from_mean(shape, rate, a, beta, (alpha - 1) * (b - a), (alpha - 1) * (gamma - beta))
    return torch.where(finite, to_q + alpha / (1 - alpha) * to_p, math.inf)


def _kl_from_mean(
    shape: Tensor, rate: Tensor, a: Tensor, beta: Tensor, to_a: Tensor, to_beta: Tensor
) -> Tensor:
    """KL of the Gamma between from Gamma(a, β): to_a = a − shape and to_beta = β − rate."""
    d = log_quotient(beta, rate, to_beta) - log_quotient(a, shape, to_a)
    return shape_divergence(a, shape, to_a) + exp_remainder(a, a * d.exp(), d)
