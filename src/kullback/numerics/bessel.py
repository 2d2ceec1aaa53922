"""log I₀, the log-normaliser of the von Mises distribution, at any concentration.

Its slope is the mean resultant length A = I₁/I₀, its curvature 1 − A/κ − A². As written the
curvature has lost all digits at κ = 1e8; above 50 everything comes from the asymptotic series

    log I₀(κ) = κ − ½ log 2πκ + Σ cₘ κ⁻ᵐ,   all cₘ > 0,

whose tangents' remainders are sums of positive terms, and below 1 from power series in κ²/4.

Source: Abramowitz & Stegun (1964), eqs. 9.6.10 and 9.7.1; Mardia & Jupp (2000), section 3.5.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kullback.numerics.gauss_legendre import tangent_remainder
from kullback.numerics.special import itakura_saito

__all__ = ["bessel_ratio", "log_i0", "log_i0_bregman", "log_i0_intercept"]

# Above, the series below has converged to a few parts in 1e16.
_ASYMPTOTIC = 50.0
_TAIL = (
    1 / 8,
    1 / 16,
    25 / 384,
    13 / 128,
    1073 / 5120,
    103 / 192,
    375733 / 229376,
    23797 / 4096,
    23.475127749972873264,
    106.467822265625,
    535.6405195106159557,
    2960.7397867838541667,
    17837.279688947475874,
)


def log_i0(kappa: Tensor) -> Tensor:
    """log I₀(κ) for κ ≥ 0."""
    low, middle, high = _parts(kappa)
    far = high - 0.5 * (2 * math.pi * high).log() + _tail(high)
    between = middle + torch.special.i0e(middle).log()
    return _select(kappa, (0.25 * low * low * _power_series(low, 0, 2)).log1p(), between, far)


def bessel_ratio(kappa: Tensor) -> Tensor:
    """A(κ) = I₁(κ)/I₀(κ), from 0 at κ = 0 to 1: the mean resultant length."""
    low, middle, high = _parts(kappa)
    series = 0.5 * low * _power_series(low, 1) / _power_series(low, 0)
    between = torch.special.i1e(middle) / torch.special.i0e(middle)
    far = 1 - 0.5 / high - _tail(high, lambda m: m) / high
    return _select(kappa, series, between, far)


def log_i0_intercept(kappa: Tensor) -> Tensor:
    """log I₀(κ) − κ A(κ) ≤ 0: where the tangent at κ meets the axis."""
    high = torch.where(kappa > _ASYMPTOTIC, kappa, 2 * _ASYMPTOTIC)
    near = torch.where(kappa > _ASYMPTOTIC, 1.0, kappa)
    far = 0.5 - 0.5 * (2 * math.pi * high).log() + _tail(high, lambda m: m + 1)
    plain = log_i0(near) - near * bessel_ratio(near)
    return torch.where(kappa > _ASYMPTOTIC, far, plain)


def log_i0_bregman(y: Tensor, x: Tensor) -> Tensor:
    """log I₀(y) − log I₀(x) − A(x)(y − x) ≥ 0 for y, x ≥ 0, zero only for y = x.

    | where | value |
    | --- | --- |
    | both above 50 | half of `itakura_saito`, and Σ cₘ (y⁻ᵐ − x⁻ᵐ + m x⁻ᵐ⁻¹(y − x)) |
    | |y − x| < max(1, x/4) | the integral of (y − t) times the curvature at t |
    | elsewhere | as written |
    """
    y, x = torch.broadcast_tensors(y, x)
    high = (y > _ASYMPTOTIC) & (x > _ASYMPTOTIC)
    to, at = (torch.where(high, z, 2 * _ASYMPTOTIC) for z in (y, x))
    y, x = (torch.where(high, 1.0, z) for z in (y, x))
    near = (y - x).abs() < torch.clamp(0.25 * x, min=1.0)
    close = tangent_remainder(_curvature, torch.where(near, y, x), x)
    plain = log_i0(y) - log_i0(x) - bessel_ratio(x) * (y - x)
    far = 0.5 * itakura_saito(to, at) + _tail_bregman(to, at)
    return torch.where(high, far, torch.where(near, close, plain))


def _curvature(kappa: Tensor) -> Tensor:
    """1 − A/κ − A², for κ up to about 60."""
    low = torch.where(kappa < 1, kappa, 0.0)
    middle = torch.where(kappa < 1, 1.0, kappa)
    series = 0.5 * _power_series(low, 1) / _power_series(low, 0)
    slope = torch.special.i1e(middle) / torch.special.i0e(middle)
    over = torch.where(kappa < 1, series, slope / middle)
    return 1 - over - torch.where(kappa < 1, low * series, slope) ** 2


def _parts(kappa: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """κ in each of the three ranges, and some number of that range elsewhere."""
    low = torch.where(kappa < 1, kappa, 0.0)
    high = torch.where(kappa > _ASYMPTOTIC, kappa, 2 * _ASYMPTOTIC)
    return low, torch.where((kappa < 1) | (kappa > _ASYMPTOTIC), 1.0, kappa), high


def _select(kappa: Tensor, low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
    return torch.where(kappa < 1, low, torch.where(kappa > _ASYMPTOTIC, high, middle))


def _power_series(kappa: Tensor, order: int, start: int = 1) -> Tensor:
    """I_order(κ)/(κ/2)^order times order!, for κ < 1; with `start` 2, (I₀(κ) − 1)/(κ²/4)."""
    quarter = 0.25 * kappa * kappa
    value = torch.ones_like(kappa)
    for k in range(10, start - 1, -1):
        value = 1 + quarter / (k * (k + order)) * value
    return value


def _tail(kappa: Tensor, factor: Callable[[int], float] = lambda m: 1.0) -> Tensor:
    """Σ factor(m) cₘ κ⁻ᵐ."""
    inverse = 1 / kappa
    value = torch.zeros_like(kappa)
    for m in range(len(_TAIL), 0, -1):
        value = (value + factor(m) * _TAIL[m - 1]) * inverse
    return value


def _tail_bregman(y: Tensor, x: Tensor) -> Tensor:
    """Σ cₘ x⁻ᵐ (vᵐ − 1 + m u) with v = x/y = 1/(1 + u); each is u² v Σ_j j v^(m−j)."""
    u, v = (y - x) / x, x / y
    power, polynomial, total = 1 / x, torch.ones_like(v), torch.zeros_like(v)
    for m, coefficient in enumerate(_TAIL, start=1):
        total = total + coefficient * power * polynomial
        power = power / x
        polynomial = polynomial * v + m + 1
    return u * u * v * total
