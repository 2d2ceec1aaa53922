"""KL(P‖Laplace) where P's distribution function is an incomplete Gamma or Beta function.

E|x − ν| = ν (F − S) + E x · (S₁ − F₁), where F = P(x < ν), S = 1 − F, and F₁ and S₁ are the same
of the distribution with density x p(x)/E x, which is of the same family.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta, Gamma, InverseGamma, Kumaraswamy, StudentT, Weibull

from kullback.distributions.closed_forms.against_laplace import register_against_laplace
from kullback.distributions.closed_forms.generalized_gamma import as_generalized_gamma
from kullback.distributions.closed_forms.shared.line_law import LINE_LAWS
from kullback.distributions.parameters import wide
from kullback.numerics.incomplete import beta_tails, gamma_tails
from kullback.numerics.log_beta import log_gamma_half_step
from kullback.numerics.pairs import expm1
from kullback.numerics.remainders import lgamma_difference

__all__: list[str] = []

# Beyond e^±700 float64 has no numbers left.
_FARTHEST = 700.0


def _generalized_gamma(p: Any, centre: Tensor) -> Tensor:
    """X = s T^(1/k) for T ~ Gamma(a, 1); weighted by X, T has the shape a + 1/k. +inf below 0."""
    shape, power, log_scale = as_generalized_gamma(p)
    step = 1 / power
    finite = shape + step > 0
    step = torch.where(finite, step, 1.0)
    mean = (log_scale + lgamma_difference(shape + step, shape, step)).exp()
    positive = centre > 0
    log_kink = torch.where(positive, centre, 1.0).log() - log_scale
    t = (power * log_kink).clamp(-_FARTHEST, _FARTHEST).exp()
    plain, weighted = gamma_tails(shape, t), gamma_tails(shape + step, t)
    # P(x < ν) less P(x > ν); a negative power turns the two round.
    sign = torch.where(power > 0, 1.0, -1.0).to(t.dtype)
    apart = centre * (plain[0] - plain[1]) * sign + mean * (weighted[1] - weighted[0]) * sign
    return torch.where(finite, torch.where(positive, apart, mean - centre), torch.inf)


def _beta(p: Beta, centre: Tensor) -> Tensor:
    """Weighted by X, Beta(a, b) is Beta(a + 1, b)."""
    one, zero = wide(p.concentration1, p.concentration0)
    mean = one / (one + zero)
    inside, kink = _within_unit(centre)
    below, above = beta_tails(one, zero, kink, 1 - kink)
    low, high = beta_tails(one + 1, zero, kink, 1 - kink)
    within = kink * (below - above) + mean * (high - low)
    return torch.where(inside, within, (mean - centre).abs())


def _kumaraswamy(p: Kumaraswamy, centre: Tensor) -> Tensor:
    """Xᵃ is Beta(1, b) and, weighted by X, Beta(1 + 1/a, b)."""
    a, b = wide(p.concentration1, p.concentration0)
    mean = LINE_LAWS[Kumaraswamy](p).mean
    inside, kink = _within_unit(centre)
    log_power = a * kink.log()
    rest = -expm1(log_power)
    above = (b * rest.log()).exp()
    low, high = beta_tails(1 + 1 / a, b, log_power.exp(), rest)
    within = kink * (1 - 2 * above) + mean * (high - low)
    return torch.where(inside, within, (mean - centre).abs())


def _within_unit(centre: Tensor) -> tuple[Tensor, Tensor]:
    inside = (centre > 0) & (centre < 1)
    return inside, torch.where(inside, centre, 0.5)


def _student(p: StudentT, centre: Tensor) -> Tensor:
    """s (|k| (1 − 2S) + 2 f(k) (n + k²)/(n − 1)), k = (ν − μ)/s; +inf for n ≤ 1.

    S = P(T > |k|) is half of P(Y < n/(n + k²)) for Y ~ Beta(n/2, ½).
    """
    df, loc, scale = wide(p.df, p.loc, p.scale)
    finite = df > 1
    n = torch.where(finite, df, 2.0)
    k = (centre - loc) / scale
    square = torch.where(k == 0, 1e-300, k * k)
    half = torch.full_like(n, 0.5)
    above = 0.5 * beta_tails(0.5 * n, half, n / (n + square), square / (n + square))[0]
    log_density = log_gamma_half_step(0.5 * n) - 0.5 * (math.pi * n).log()
    density = (log_density - 0.5 * (n + 1) * (k * k / n).log1p()).exp()
    distance = k.abs() * (1 - 2 * above) + 2 * density * (n + k * k) / (n - 1)
    return torch.where(finite, scale * distance, torch.inf)


for _kind in (Gamma, InverseGamma, Weibull):
    register_against_laplace(
        _kind, _generalized_gamma, "Johnson, Kotz & Balakrishnan (1994), chapter 17"
    )
register_against_laplace(Beta, _beta, "Johnson, Kotz & Balakrishnan (1995), chapter 25")
register_against_laplace(Kumaraswamy, _kumaraswamy, "Jones (2009), section 3")
register_against_laplace(
    StudentT, _student, "Johnson, Kotz & Balakrishnan (1995), sections 28.2 and 28.3"
)
