"""Averages of a function over an interval: what a uniform distribution expects of it.

As written they are differences of antiderivatives over the length, which lose all digits on short
intervals far from the origin; there each has another form. Intervals that begin at 0 are allowed
where the average is finite; the slope in that end, infinite for the logarithm, is stated as 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kullback.numerics.elementary import magnitude
from kullback.numerics.gauss_legendre import average
from kullback.numerics.log_sinhc import log_sinhc

__all__ = [
    "average_distance",
    "average_log",
    "average_log1p_square",
    "average_squared_log",
    "log_average_power",
]

# Below this (h − l)/(h + l) a function of x/m is averaged by its values.
_SHORT = 0.1


def average_log(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log x over 0 ≤ low < x < high: (h log h − l log l)/(h − l) − 1."""
    middle, e, below = _shape(low, high)
    close = _average_of_short(torch.log1p, e)
    at_low = torch.where(low == 0, 0.0, (1 - e) * below)
    far = 0.5 * ((1 + e) * e.log1p() - at_low) / e - 1
    return middle.log() + torch.where(e < _SHORT, close, far)


def average_squared_log(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log²(x/m) over 0 ≤ low < x < high, m the middle."""
    _, e, below = _shape(low, high)
    close = _average_of_short(lambda u: u.log1p() ** 2, e)
    above = e.log1p()
    at_low = torch.where(low == 0, 0.0, (1 - e) * (below * below - 2 * below + 2))
    far = 0.5 * ((1 + e) * (above * above - 2 * above + 2) - at_low) / e
    return torch.where(e < _SHORT, close, far)


def _average_of_short(function: Callable[[Tensor], Tensor], e: Tensor) -> Tensor:
    """The mean over −e < u < e, where e is short."""
    reach = torch.where(e < _SHORT, e, _SHORT)
    return average(function, -reach, 2 * reach)


def log_average_power(low: Tensor, high: Tensor, power: Tensor) -> Tensor:
    """log of the mean of x^k over 0 ≤ low < x < high: (h^(k+1) − l^(k+1))/((k + 1)(h − l)).

    With w = log(h/l) and z = (k + 1)w it is h^(k+1) w (1 − e⁻ᶻ)/(z (h − l)), also for k = −1;
    from 0 on it needs k > −1.
    """
    middle, e, below = _shape(low, high)
    exponent, from_zero = power + 1, low == 0
    width = torch.where(from_zero, 1.0, e.log1p() - below)
    z = torch.where(from_zero, 1.0, exponent * width)
    from_low = (width / (2 * e)).log() + _log_mean_decay(z)
    rest = torch.where(from_zero, -(2 * torch.where(from_zero, exponent, 1.0)).log(), from_low)
    return power * middle.log() + exponent * e.log1p() + rest


def _log_mean_decay(z: Tensor) -> Tensor:
    """log((1 − e⁻ᶻ)/z), the mean of e⁻ˣ between 0 and z, which is 0 at 0."""
    return log_sinhc(z) - 0.5 * z


def average_distance(low: Tensor, high: Tensor, centre: Tensor) -> Tensor:
    """The mean of |x − c| over low < x < high."""
    inside = (low < centre) & (centre < high)
    left, right = (torch.where(inside, z, 1.0) for z in (centre - low, high - centre))
    return torch.where(
        inside,
        0.5 * (left * left + right * right) / (left + right),
        magnitude(0.5 * (low + high) - centre),
    )


def average_log1p_square(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log(1 + t²) over low < t < high."""
    length = high - low
    short = length < 0.5 * torch.clamp(torch.minimum(low.abs(), high.abs()), min=1.0)
    close = average(lambda t: (t * t).log1p(), low, torch.where(short, length, 0.5))
    rise = _log1p_square_integral(high) - _log1p_square_integral(low)
    return torch.where(short, close, rise / torch.where(short, 1.0, length))


def _log1p_square_integral(t: Tensor) -> Tensor:
    return t * (t * t).log1p() - 2 * t + 2 * t.atan()


def _shape(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The middle m, e = (h − l)/(h + l), and log(l/m) = log(1 − e), which is 0 for l = 0."""
    middle = 0.5 * (low + high)
    e = (high - low) / (high + low)
    near = e < 0.5
    ratio = torch.where(near | (low == 0), 1.0, low / middle)
    return middle, e, torch.where(near, (-torch.where(near, e, 0.0)).log1p(), ratio.log())
