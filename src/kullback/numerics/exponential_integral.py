"""The exponential integral E₁, for the logarithms of exponential variables.

Source: Abramowitz & Stegun (1964), eqs. 5.1.11 and 5.1.22.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exponential_integral_of_exp"]

_EULER_GAMMA = 0.57721566490153286061


def exponential_integral_of_exp(s: Tensor) -> Tensor:
    """E₁(eˢ) = ∫ e⁻ᵗ/t dt over t > eˢ.

    | where | value |
    | --- | --- |
    | eˢ < 2 | −γ − s + Σ (−1)^(k+1) e^(ks)/(k·k!) |
    | 2 ≤ eˢ < e^6.5 | the continued fraction, 40 steps of it |
    | beyond | 0, which it is in float64 |
    """
    low, high = s < 0.69, s > 6.5
    small = torch.where(low, s, 0.0).exp()
    series = torch.zeros_like(s)
    for k in range(24, 0, -1):
        series = small / k * (1 / k - series)
    large = torch.where(low | high, 1.0, s).exp()
    fraction = large + 81
    for k in range(40, 0, -1):
        fraction = large + 2 * k - 1 - k * k / fraction
    tail = torch.where(high, 0.0, (-large).exp() / fraction)
    return torch.where(low, series - s - _EULER_GAMMA, tail)
