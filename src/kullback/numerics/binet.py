"""Binet's function and its slopes: what Stirling's formula leaves of the logarithm of Γ.

log Γ(x) = (x − ½) log x − x + ½ log 2π + binet(x). For large x everything that is left of a
divergence of two Gamma shapes is in `binet`, which is near 1/(12x), while log Γ itself has long
swallowed those digits. Small x are taken as written, large x by Stirling's series.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kullback.numerics.cases import by_case

__all__ = ["binet", "binet_curvature", "binet_remainder", "binet_slope"]

# From here on the coefficients below reach the last bit of float64, in the curvature too.
_LARGE = 12.0
_HARMLESS = ((_LARGE,), (1.0,))
# Of x⁻¹, x⁻³, x⁻⁵, …: B₂ₙ/(2n(2n − 1)).
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING += (-3617 / 122400,)
_SLOPE = tuple(-(2 * n + 1) * c for n, c in enumerate(_STIRLING))
_CURVATURE = tuple(-(2 * n + 2) * c for n, c in enumerate(_SLOPE))


def binet(x: Tensor) -> Tensor:
    """log Γ(x) − (x − ½) log x + x − ½ log 2π > 0 for x > 0: 1/(12x) for large x.

    Source: Whittaker & Watson (1927), section 12.31; Abramowitz & Stegun (1964), eq. 6.1.40.
    """
    return by_case(x >= _LARGE, _large, _plain, (x,), _HARMLESS)


def binet_slope(x: Tensor) -> Tensor:
    """The derivative of `binet`, digamma(x) − log x + 1/(2x) < 0: −1/(12x²) for large x.

    Source: Abramowitz & Stegun (1964), eq. 6.3.18.
    """
    return by_case(x >= _LARGE, _large_slope, _plain_slope, (x,), _HARMLESS)


def binet_curvature(x: Tensor) -> Tensor:
    """The second derivative of `binet`, trigamma(x) − 1/x − 1/(2x²) > 0: 1/(6x³) for large x.

    Source: Abramowitz & Stegun (1964), eq. 6.4.12.
    """
    return by_case(x >= _LARGE, _large_curvature, _plain_curvature, (x,), _HARMLESS)


def binet_remainder(x: Tensor, step: Tensor) -> Tensor:
    """binet(x + step) − binet(x) − binet_slope(x)·step ≥ 0 for x ≥ 8 and |step| < x/4.

    Each x⁻ᵐ less its tangent is step²·b_m/y for y = x + step, where b₁ = x⁻² and
    b_(m+1) = b_m/y + (m + 1)·x⁻⁽ᵐ⁺²⁾: no differences are taken. Below, b_m is in units of x⁻².
    """
    inverse, other = 1 / x, 1 / (x + step)
    relative = step * inverse
    square, two_steps, both = inverse * inverse, other * other, inverse + other
    power, term = inverse, torch.ones_like(relative)
    summed = _STIRLING[0] * term
    for n, coefficient in enumerate(_STIRLING[1:], start=1):
        term = torch.addcmul(power * torch.add(inverse, both, alpha=2 * n), term, two_steps)
        summed = torch.add(summed, term, alpha=coefficient)
        power = power * square
    return relative * relative * other * summed


def _plain(x: Tensor) -> Tensor:
    return torch.lgamma(x) - (x - 0.5) * x.log() + x - 0.5 * math.log(2 * math.pi)


def _plain_slope(x: Tensor) -> Tensor:
    return torch.digamma(x) - x.log() + 0.5 / x


def _plain_curvature(x: Tensor) -> Tensor:
    inverse = 1 / x
    # Hurwitz's zeta function is trigamma here: torch's own trigamma has nine digits only.
    return torch.special.zeta(2.0, x) - inverse - 0.5 * inverse * inverse


def _large(x: Tensor) -> Tensor:
    return _series(x, _STIRLING)


def _large_slope(x: Tensor) -> Tensor:
    return _series(x, _SLOPE) / x


def _large_curvature(x: Tensor) -> Tensor:
    return _series(x, _CURVATURE) / x / x


def _series(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    inverse = 1 / x
    square = inverse * inverse
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total * inverse
