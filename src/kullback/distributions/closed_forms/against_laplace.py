"""KL(P‖Laplace): the mean distance E|x − ν|, split at the kink, and the entropy of P.

E|x − ν| = E x − ν + 2 S, where S = E(ν − x)⁺ is the integral of P's distribution function up to
the kink: elementary for the families here, and for others in `laplace_by_tails`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Cauchy,
    ContinuousBernoulli,
    Distribution,
    Exponential,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    Uniform,
)

from kullback.distributions.closed_forms.continuous_bernoulli import logit_of
from kullback.distributions.closed_forms.gumbel import EULER_GAMMA
from kullback.distributions.closed_forms.shared.line_law import entropy_in_full, infinite
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.elementary import magnitude
from kullback.numerics.exponential_integral import exponential_integral_of_exp
from kullback.numerics.interval_averages import average_distance
from kullback.numerics.log_sinhc import log_sinhc, log_sinhc_slope
from kullback.numerics.pairs import exp_remainder, expm1

__all__ = ["register_against_laplace"]

Distance = Callable[[Any, Tensor], Tensor]


def _normal(p: Normal, centre: Tensor) -> Tensor:
    """σ√(2/π) e^(−z²/2) + (μ − ν) erf(z/√2), z = (μ − ν)/σ."""
    loc, scale = wide(p.loc, p.scale)
    apart = loc - centre
    z = apart / scale
    bell = (-0.5 * z * z).exp()
    return scale * math.sqrt(2 / math.pi) * bell + apart * torch.erf(z * math.sqrt(0.5))


def _gumbel(p: Gumbel, centre: Tensor) -> Tensor:
    """S = β E₁(e^(−(ν − μ)/β))."""
    loc, scale = wide(p.loc, p.scale)
    apart = loc - centre
    return apart + scale * (EULER_GAMMA + 2 * exponential_integral_of_exp(apart / scale))


def _uniform(p: Uniform, centre: Tensor) -> Tensor:
    low, high = wide(p.low, p.high)
    return average_distance(low, high, centre)


def _continuous_bernoulli(p: ContinuousBernoulli, centre: Tensor) -> Tensor:
    """S = ν² h(ην)/h₁(η), h(z) = (eᶻ − 1 − z)/z² and h₁(z) = (eᶻ − 1)/z, for η ≤ 0.

    A positive η is turned into a negative one by x → 1 − x.
    """
    logit = logit_of(p)
    size = magnitude(logit)
    turned = torch.where(logit < 0, centre, 1 - centre)
    mean = 0.5 - log_sinhc_slope(size)
    inside = (turned > 0) & (turned < 1)
    kink = torch.where(inside, turned, 0.5)
    z = size * kink
    flat = z < 1e-4
    steep = torch.where(flat, 1.0, z)
    rest = exp_remainder(torch.ones_like(z), (-steep).exp(), -steep) / (steep * steep)
    share = torch.where(flat, 0.5 - z / 6 + z * z / 24, rest)
    log_mean_decay = log_sinhc(size) - 0.5 * size
    shortfall = kink * kink * share * (-log_mean_decay).exp()
    within = mean - kink + 2 * shortfall
    return torch.where(inside, within, magnitude(mean - turned))


def _exponential(p: Exponential, centre: Tensor) -> Tensor:
    """S = ν + (e^(−λν) − 1)/λ for ν > 0."""
    (rate,) = wide(p.rate)
    z = rate * centre.clamp(min=0)
    shortfall = exp_remainder(torch.ones_like(z), (-z).exp(), -z) / rate
    return 1 / rate - centre + 2 * shortfall


def _half_normal(p: HalfNormal, centre: Tensor) -> Tensor:
    """S = ν erf(z) − σ√(2/π)(1 − e^(−z²)) for ν > 0, z = ν/(σ√2)."""
    (scale,) = wide(p.scale)
    kink = centre.clamp(min=0)
    z = kink / scale * math.sqrt(0.5)
    mean = scale * math.sqrt(2 / math.pi)
    return mean - centre + 2 * (kink * torch.erf(z) + mean * expm1(-z * z))


def _log_normal(p: LogNormal, centre: Tensor) -> Tensor:
    """ν (2Φ(d) − 1) − E x (2Φ(d − σ) − 1) for ν > 0, d = (log ν − μ)/σ."""
    loc, scale = wide(p.loc, p.scale)
    mean = (loc + 0.5 * scale * scale).exp()
    positive = centre > 0
    d = (torch.where(positive, centre, 1.0).log() - loc) / scale
    below, below_weighted = (torch.erf(z * math.sqrt(0.5)) for z in (d, d - scale))
    return torch.where(positive, centre * below - mean * below_weighted, mean - centre)


def _pareto(p: Pareto, centre: Tensor) -> Tensor:
    """S = ν − m + m((m/ν)^(α−1) − 1)/(α − 1) for ν > m; +inf for α ≤ 1."""
    scale, alpha = wide(p.scale, p.alpha)
    finite = alpha > 1
    alpha = torch.where(finite, alpha, 2.0)
    kink = torch.maximum(centre, scale)
    power = expm1((1 - alpha) * (kink / scale).log())
    shortfall = kink - scale + scale * power / (alpha - 1)
    mean = scale * alpha / (alpha - 1)
    return torch.where(finite, mean - centre + 2 * shortfall, torch.inf)


_DISTANCES: dict[type[Distribution], Distance] = {
    ContinuousBernoulli: _continuous_bernoulli,
    Exponential: _exponential,
    Gumbel: _gumbel,
    HalfNormal: _half_normal,
    LogNormal: _log_normal,
    Normal: _normal,
    Pareto: _pareto,
    Uniform: _uniform,
}


def register_against_laplace(kind: type[Distribution], distance: Distance, source: str) -> None:
    """KL(P‖Laplace(ν, b)) = log 2b + E|x − ν|/b − H(P), with E|x − ν| = distance(P, ν)."""

    @closed_form("kl", kind, Laplace, source=source)
    def _kl(p: Any, q: Laplace) -> Tensor:
        loc, scale = wide(q.loc, q.scale)
        return math.log(2) + scale.log() + distance(p, loc) / scale - entropy_in_full(p)


for _kind, _distance in _DISTANCES.items():
    register_against_laplace(_kind, _distance, "direct integration, on both sides of the kink")

for _heavy in (Cauchy, HalfCauchy):
    closed_form("kl", _heavy, Laplace, source="Johnson, Kotz & Balakrishnan (1994), section 16.2")(
        infinite
    )
