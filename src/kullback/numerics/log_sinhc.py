"""L(t) = log(sinh(t/2)/(t/2)), its derivatives and its tangents' remainders.

L is the log-normaliser of the continuous Bernoulli distribution with logit t, less t/2: L′ is the
mean less ½ and L″ the variance. Below |t| = 1 all three are Taylor series with Bernoulli numbers,
beyond they are elementary.

Source: Loaiza-Ganem & Cunningham (2019), The continuous Bernoulli, eqs. 5-8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.elementary import magnitude
from kullback.numerics.gauss_legendre import tangent_remainder
from kullback.numerics.special import itakura_saito

__all__ = [
    "log_sinhc",
    "log_sinhc_bregman",
    "log_sinhc_curvature",
    "log_sinhc_intercept",
    "log_sinhc_slope",
]

# B₂ₙ/(2n·(2n)!): the coefficients of t²ⁿ; the series of L has radius 2π.
_SERIES = (
    1 / 24,
    -1 / 2880,
    1 / 181440,
    -1 / 9676800,
    2.0876756987868098979e-9,
    -4.403491782239577654e-11,
    9.5589546647747705949e-13,
    -2.1185501852016142918e-14,
    4.7700344757099136467e-16,
    -1.0874343492790309365e-17,
    2.5040921947091952342e-19,
)


def log_sinhc(t: Tensor) -> Tensor:
    """log(sinh(t/2)/(t/2)) ≥ 0."""
    near, square, size = _parts(t)
    far = 0.5 * size + (-size).exp().neg().log1p() - size.log()
    return torch.where(near, square * _polynomial(_SERIES, square), far)


def log_sinhc_slope(t: Tensor) -> Tensor:
    """½ coth(t/2) − 1/t, between −½ and ½."""
    near, square, size = _parts(t)
    series = [2 * (n + 1) * c for n, c in enumerate(_SERIES)]
    far = 0.5 + _bose(size) - 1 / size
    small = torch.where(near, t, 0.0)
    return torch.where(near, small * _polynomial(series, square), torch.where(t < 0, -far, far))


def log_sinhc_intercept(t: Tensor) -> Tensor:
    """L(t) − t L′(t) ≤ 0: where the tangent at t meets the axis."""
    near, square, size = _parts(t)
    series = [-(2 * n + 1) * c for n, c in enumerate(_SERIES)]
    far = 1 - size.log() + (-size).exp().neg().log1p() - size * _bose(size)
    return torch.where(near, square * _polynomial(series, square), far)


def log_sinhc_curvature(t: Tensor) -> Tensor:
    """1/t² − 1/(4 sinh²(t/2)), between 0 and 1/12."""
    near, square, size = _parts(t)
    series = [2 * (n + 1) * (2 * n + 1) * c for n, c in enumerate(_SERIES)]
    bose = _bose(size)
    return torch.where(near, _polynomial(series, square), 1 / (size * size) - bose * (1 + bose))


def log_sinhc_bregman(y: Tensor, x: Tensor) -> Tensor:
    """L(y) − L(x) − L′(x)(y − x) ≥ 0, zero only for y = x.

    | where | value |
    | --- | --- |
    | |y − x| < 1 | the integral of (y − t) L″(t) |
    | both above 2, or both below −2 | that of −log|t|, and the rest, which vanishes like e^−|t| |
    | elsewhere | as written |
    """
    y, x = torch.broadcast_tensors(y, x)
    near = (y - x).abs() < 1
    close = tangent_remainder(log_sinhc_curvature, torch.where(near, y, x), x)
    tails = (torch.minimum(y, x) > 2) | (torch.maximum(y, x) < -2)
    to, at = (torch.where(tails, magnitude(z), 3.0) for z in (y, x))
    rest = (-to).exp().neg().log1p() - (-at).exp().neg().log1p() - _bose(at) * (to - at)
    plain = log_sinhc(y) - log_sinhc(x) - log_sinhc_slope(x) * (y - x)
    return torch.where(near, close, torch.where(tails, itakura_saito(to, at) + rest, plain))


def _parts(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the series are used, t² there, and |t| elsewhere."""
    near = t.abs() < 1
    return near, torch.where(near, t * t, 0.0), torch.where(near, 1.0, magnitude(t))


def _bose(t: Tensor) -> Tensor:
    """1/(eᵗ − 1) for t ≥ 1, where nothing overflows."""
    decay = (-t).exp()
    return decay / (1 - decay)


def _polynomial(coefficients: tuple[float, ...] | list[float], x: Tensor) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
