"""Binet's function and its slopes: what Stirling's formula leaves of the logarithm of Γ.

log Γ(x) = (x − ½) log x − x + ½ log 2π + binet(x). For large x everything that is left of a
divergence of two Gamma shapes is in `binet`, which is near 1/(12x), while log Γ itself has long
swallowed those digits. Small x are taken as written, large x by Stirling's series.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["binet", "binet_curvature", "binet_remainder", "binet_slope"]

# From here on the coefficients below reach the last bit of float64, in the curvature too.
_LARGE = 12.0
# Of x⁻¹, x⁻³, x⁻⁵, …: B₂ₙ/(2n(2n − 1)).
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING += (-3617 / 122400,)
_SLOPE = tuple(-(2 * n + 1) * c for n, c in enumerate(_STIRLING))
_CURVATURE = tuple(-(2 * n + 2) * c for n, c in enumerate(_SLOPE))


def binet(x: Tensor) -> Tensor:
    """log Γ(x) − (x − ½) log x + x − ½ log 2π > 0 for x > 0: 1/(12x) for large x.

    Source: Whittaker & Watson (1927), section 12.31; Abramowitz & Stegun (1964), eq. 6.1.40.
    """
    large, small, big = _split(x)
    plain = torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(large, _series(big, _STIRLING), plain)


def binet_slope(x: Tensor) -> Tensor:
    """The derivative of `binet`, digamma(x) − log x + 1/(2x) < 0: −1/(12x²) for large x.

    Source: Abramowitz & Stegun (1964), eq. 6.3.18.
    """
    large, small, big = _split(x)
    plain = torch.digamma(small) - small.log() + 0.5 / small
    return torch.where(large, _series(big, _SLOPE) / big, plain)


def binet_curvature(x: Tensor) -> Tensor:
    """The second derivative of `binet`, trigamma(x) − 1/x − 1/(2x²) > 0: 1/(6x³) for large x.

    Source: Abramowitz & Stegun (1964), eq. 6.4.12.
    """
    large, small, big = _split(x)
    inverse = 1 / small
    # Hurwitz's zeta function is trigamma here: torch's own trigamma has nine digits only.
    plain = torch.special.zeta(2.0, small) - inverse - 0.5 * inverse * inverse
    return torch.where(large, _series(big, _CURVATURE) / big / big, plain)


def binet_remainder(x: Tensor, step: Tensor) -> Tensor:
    """binet(x + step) − binet(x) − binet_slope(x)·step ≥ 0 for x ≥ 8 and |step| < x/4.

    Each x⁻ᵐ less its tangent is step²·b_m/y for y = x + step, where b₁ = x⁻² and
    b_(m+1) = b_m/y + (m + 1)·x⁻⁽ᵐ⁺²⁾: no differences are taken.
    """
    inverse, other = 1 / x, 1 / (x + step)
    relative = step * inverse
    power, term, summed = torch.ones_like(x), torch.ones_like(relative), torch.zeros_like(relative)
    for degree in range(1, 2 * len(_STIRLING)):
        if degree % 2:
            summed = summed + _STIRLING[degree // 2] * term
        power = power * inverse
        term = other * term + (degree + 1) * power
    return relative * relative * other * summed


def _split(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where x is large, and x made harmless for the other rule on either side."""
    large = x >= _LARGE
    return large, torch.where(large, 1.0, x), torch.where(large, x, _LARGE)


def _series(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    inverse = 1 / x
    square = inverse * inverse
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total * inverse
