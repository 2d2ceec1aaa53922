"""The mass of the standard normal distribution between two points, also when it is tiny.

Neither a short interval nor one far out in a tail is a difference of two numbers near 1.

Source: Abramowitz & Stegun (1964), section 7.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kullback.numerics.gauss_legendre import average

__all__ = ["log_normal_mass", "normal_mass", "normal_moments"]

_ROOT_HALF = math.sqrt(0.5)


def normal_mass(low: Tensor, length: Tensor) -> Tensor:
    """Φ(low + length) − Φ(low) for length ≥ 0, to full relative precision in short intervals.

    | where | value |
    | --- | --- |
    | length · max(1, |ends|) < 1 | the integral of the density, by Gauss and Legendre |
    | both ends on one side of 0 | a difference of `erfc`, one at most e⁻¹ of the other |
    | elsewhere | a difference of `erf` of opposite signs |
    """
    high = low + length
    short = length * torch.maximum(low.abs(), high.abs()).clamp(min=1) < 1
    density = average(_density, torch.where(short, low, 0.0), torch.where(short, length, 0.0))
    # Mirrored, an interval in the left tail is one in the right.
    left = high < 0
    near, far = torch.where(left, -high, low), torch.where(left, -low, high)
    tail = near > 0
    near, far = near * _ROOT_HALF, far * _ROOT_HALF
    in_tail = torch.erfc(torch.where(tail, near, 0.0)) - torch.erfc(torch.where(tail, far, 0.0))
    across = torch.erf(torch.where(tail, 0.0, far)) - torch.erf(torch.where(tail, 0.0, near))
    return torch.where(short, density * length, 0.5 * torch.where(tail, in_tail, across))


def log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """log(Φ(high) − Φ(low)) for low < high, either of which may be infinite.

    With a the nearer end, mirrored to the right where it is on the left:

    | where | value |
    | --- | --- |
    | length · max(1, b) < 1 | log φ(a) + log ∫ e^(−u(a + u/2)) du over the length |
    | a > 1 | log(erfcx(a/√2) − e^((a² − b²)/2) erfcx(b/√2)) − a²/2 − log 2 |
    | elsewhere | log of the difference of `erf` |
    """
    _, near, far, length = _ordered(low, high)
    finite = far.isfinite() & near.isfinite()
    short, at, reach = _short(near, far, length, finite)
    narrow = average(lambda u: _fall(at, u), torch.zeros_like(reach), reach)
    close = (narrow * reach).log() - 0.5 * at * at - 0.5 * math.log(2 * math.pi)
    tail = (near > 1) & ~short
    inner = torch.where(tail, near, 2.0)
    gap = torch.where(tail & finite, length, 1.0)
    beyond = torch.special.erfcx((inner + gap) * _ROOT_HALF) * (-gap * (inner + 0.5 * gap)).exp()
    mass = torch.special.erfcx(inner * _ROOT_HALF) - torch.where(tail & ~finite, 0.0, beyond)
    outer = mass.log() - 0.5 * inner * inner - math.log(2)
    wide = ~short & ~tail
    right = torch.erf(torch.where(wide, far, 1.0) * _ROOT_HALF)
    across = 0.5 * (right - torch.erf(torch.where(wide, near, -1.0) * _ROOT_HALF))
    return torch.where(short, close, torch.where(tail, outer, across.log()))


def normal_moments(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """E z and E z² of a standard normal variable given low < z < high.

    By averages over a short interval; elsewhere (φ(low) − φ(high))/mass and
    1 + (low φ(low) − high φ(high))/mass.

    Source: Johnson, Kotz & Balakrishnan (1994), eqs. 13.134 and 13.135.
    """
    mirrored, near, far, length = _ordered(low, high)
    short, at, reach = _short(near, far, length, far.isfinite() & near.isfinite())
    zero = torch.zeros_like(reach)
    narrow = average(lambda u: _fall(at, u), zero, reach)
    first = at + average(lambda u: u * _fall(at, u), zero, reach) / narrow
    second = average(lambda u: (at[..., None] + u) ** 2 * _fall(at, u), zero, reach) / narrow
    log_mass = log_normal_mass(low, high)
    at_low, at_high = (_times_density(z, log_mass) for z in (low, high))
    return (
        torch.where(short, torch.where(mirrored, -first, first), at_low[0] - at_high[0]),
        torch.where(short, second, 1 + at_low[1] - at_high[1]),
    )


def _ordered(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whether the interval is mirrored into the right tail, its ends then, and its length."""
    mirrored = low + high < 0
    near, far = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    finite = low.isfinite() & high.isfinite()
    length = torch.where(finite, high, 1.0) - torch.where(finite, low, 0.0)
    return mirrored, near, far, length


def _short(
    near: Tensor, far: Tensor, length: Tensor, finite: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the density hardly changes; the near end and the length there."""
    ends = torch.where(finite, torch.maximum(near.abs(), far.abs()), torch.inf)
    short = length * ends.clamp(min=1) < 1
    return short, torch.where(short, near, 0.0), torch.where(short, length, 0.5)


def _fall(at: Tensor, u: Tensor) -> Tensor:
    """φ(at + u)/φ(at), for points u in a last dimension of their own."""
    return (-u * (at[..., None] + 0.5 * u)).exp()


def _times_density(z: Tensor, log_mass: Tensor) -> tuple[Tensor, Tensor]:
    """φ(z)/mass, and z times it: both 0 at infinity."""
    finite = z.isfinite()
    z = torch.where(finite, z, 0.0)
    log_density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    density = torch.where(finite, (log_density - log_mass).exp(), 0.0)
    return density, z * density


def _density(x: Tensor) -> Tensor:
    return (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
