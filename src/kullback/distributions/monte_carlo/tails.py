"""How heavy is the tail of what a Monte Carlo mean averages? The shape of a Pareto fitted to it.

The largest values of a sample tell whether its mean and variance exist: their excesses over a
high threshold follow a generalised Pareto distribution, whose shape k counts moments. Below k = ½
there is a variance and the usual interval holds; from k = 1 on there may be no mean at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["pareto_shape", "tail_size"]

# Enough for a standard error of k of about 0.05, and little to keep for large batches.
_MOST = 512
_LEAST = 5


def tail_size(draws: int) -> int:
    """How many of the largest values make the tail: min(n/5, 3√n), at most 512.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto Smoothed Importance Sampling,
    section 2.3.
    """
    return min(math.ceil(min(0.2 * draws, 3 * math.sqrt(draws))), _MOST)


def pareto_shape(largest: Tensor) -> Tensor:
    """The shape k of the tail, from the largest values of a sample in the first dimension.

    The smallest of them is the threshold. −inf where a quarter of the tail is equal to it, as
    for bounded values that reach their bound; NaN where there are fewer than six values.

    Source: Zhang & Stephens (2009), A New and Efficient Estimation Method for the Generalized
    Pareto Distribution, with the weak prior of Vehtari et al. (2024), appendix C.

    Example:
        >>> levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
        >>> pareto = levels ** -0.8
        >>> round(float(pareto_shape(pareto.topk(tail_size(20_000)).values)), 1)
        0.8
    """
    ordered = largest.sort(dim=0).values
    excesses = ordered[1:] - ordered[0]
    count = len(excesses)
    shape = excesses.shape[1:]
    if count < _LEAST:
        return excesses.new_full(shape, torch.nan)
    columns = excesses.reshape(count, -1)
    # A grid of candidates for each element: a batch is fitted in parts that fit into memory.
    parts = [_fit(part) for part in columns.split(256, dim=1)]
    return torch.cat(parts, dim=1).reshape(shape)


def _fit(excesses: Tensor) -> Tensor:
    """The posterior mean of b = k/scale over a grid, and k at it; [n, m] → [1, m]."""
    count = len(excesses)
    quartile = excesses[math.ceil(count / 4) - 1]
    flat = (quartile == 0) | ~excesses[-1].isfinite()
    x = torch.where(flat, 1.0, excesses)
    quartile = torch.where(flat, 1.0, quartile)
    grid = 30 + int(math.sqrt(count))
    steps = torch.arange(1, grid + 1, dtype=x.dtype, device=x.device) - 0.5
    candidates = 1 / x[-1] + (1 - (grid / steps).sqrt())[:, None] / (3 * quartile)
    shapes = torch.log1p(-candidates[:, None] * x).mean(1)
    fits = count * ((-candidates / shapes).log() - shapes - 1)
    b = (fits.softmax(0) * candidates).sum(0)
    k = torch.log1p(-b * x).mean(0)
    # The prior weighs as ten observations of k = ½.
    k = (count * k + 10 * 0.5) / (count + 10)
    return torch.where(flat, -torch.inf, k)[None]
