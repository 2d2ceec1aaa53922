"""Points on the line at which two distributions can be looked at side by side.

Where a distribution lies is found from draws, which every distribution has, and so a point mass
beside a broad one gets as many points as the broad one does. The tails beyond are kept apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.integers import integers_of
from kullback.distributions.quadrature.line_densities import log_density
from kullback.distributions.quadrature.points import Point
from kullback.distributions.supports import support_of
from kullback.distributions.widening import in_float64

__all__ = ["Grid", "common_grid"]

_DRAWS = 20_000
_EVEN, _QUANTILES, _TAIL = 400, 200, 120
# A range of more integers than this is shown by some of them.
_MOST_INTEGERS = 2000


@dataclass(frozen=True)
class Grid:
    """Rising points, both log-densities there, and what each point stands for.

    Attributes:
        x: the points.
        log_p: log p at them, −inf outside of P's support.
        log_q: log q at them.
        weight: the width of each point's cell, 1 for integers, so that Σ weight·f is ∫ f.
        inside: which points belong to the picture; the others are in the tails.
        discrete: whether the points are integers.
    """

    x: Tensor
    log_p: Tensor
    log_q: Tensor
    weight: Tensor
    inside: Tensor
    discrete: bool


def common_grid(p: Any, q: Any) -> Grid:
    """A grid that shows both of two distributions over numbers.

    Example:
        >>> from torch.distributions import Normal
        >>> grid = common_grid(Normal(0.0, 1.0), Normal(5.0, 0.001))
        >>> masses = [float((grid.weight * log.exp()).sum()) for log in (grid.log_p, grid.log_q)]
        >>> all(abs(mass - 1) < 0.01 for mass in masses)
        True
    """
    discrete = integers_of(p) is not None and integers_of(q) is not None
    draws = [_draws(side) for side in (p, q)]
    low, high = _window(p, q, draws, discrete)
    points = _integers(p, q, low, high) if discrete else _reals(p, q, draws, low, high)
    log_p, log_q = (_log_density(side, points, discrete) for side in (p, q))
    weight = _weights(points, discrete)
    # At a pole the density is infinite; the points beside it, which are close, speak for it.
    seen = (log_p < math.inf) & (log_q < math.inf) & ~log_p.isnan() & ~log_q.isnan()
    inside = (points >= low) & (points <= high)
    points, log_p, log_q, weight, inside = (x[seen] for x in (points, log_p, log_q, weight, inside))
    return Grid(points, log_p, log_q, weight, inside, discrete)


def _draws(side: Any) -> Tensor:
    """The same draws each time, sorted; whoever draws elsewhere goes on undisturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return in_float64(side).sample((_DRAWS,)).double().cpu().flatten().sort().values


def _window(p: Any, q: Any, draws: list[Tensor], discrete: bool) -> tuple[float, float]:
    """What the picture shows: both sides' reach, and the ends of supports that are close to it."""
    low, high = min(_reach(x)[0] for x in draws), max(_reach(x)[1] for x in draws)
    if discrete:
        return low, high
    width = high - low
    for end in (end for side in (p, q) for end in _ends(side)):
        low = end if 0 < low - end < 0.1 * width else low
        high = end if 0 < end - high < 0.1 * width else high
    # A margin, so that a density that ends is seen to end.
    return low - 0.02 * width, high + 0.02 * width


def _ends(side: Any) -> tuple[float, ...]:
    """The ends of the support that are finite."""
    support = support_of(side)
    if support.low is None or support.high is None:
        return ()
    return tuple(end for end in (float(support.low), float(support.high)) if math.isfinite(end))


def _reach(draws: Tensor) -> tuple[float, float]:
    """From the 0.5 % to the 99.5 % quantile, less of it where the tails are heavy."""
    bottom, first, third, top = (
        float(draws[round(level * (len(draws) - 1))]) for level in (0.005, 0.25, 0.75, 0.995)
    )
    spread = 4 * (third - first)
    if spread == 0:
        return bottom, top
    return max(bottom, first - spread), min(top, third + spread)


def _integers(p: Any, q: Any, low: float, high: float) -> Tensor:
    width = max(high - low, 10.0)
    first, last = low - 3 * width, high + 3 * width
    # Where one side ends the other may go on.
    ends = [end for side in (p, q) for end in _ends(side)]
    first = max([first, *(end for end in ends if end <= low)])
    last = min([last, *(end for end in ends if end >= high)])
    every = torch.arange(math.floor(first), math.ceil(last) + 1, dtype=torch.float64)
    if len(every) <= _MOST_INTEGERS:
        return every
    return torch.linspace(first, last, _MOST_INTEGERS, dtype=torch.float64).round().unique()


def _reals(p: Any, q: Any, draws: list[Tensor], low: float, high: float) -> Tensor:
    width = max(high - low, 1e-12 * max(abs(low), abs(high)), 1e-300)
    parts = [torch.linspace(low, high, _EVEN, dtype=torch.float64)]
    # Denser towards the extreme draws, where a narrow side would else end too early.
    extreme = torch.logspace(0, math.log10(_DRAWS / _QUANTILES), 16).long()
    even = torch.linspace(0, _DRAWS - 1, _QUANTILES).long()
    levels = torch.cat([even, extreme, _DRAWS - 1 - extreme])
    outward = torch.logspace(-2, 0.5, 24, dtype=torch.float64)
    for x in draws:
        middle = x[len(x) // 2]
        parts += [x[levels], x[0] - outward * (middle - x[0]), x[-1] + outward * (x[-1] - middle)]
    steps = width * torch.logspace(-4, 4, _TAIL, dtype=torch.float64)
    parts += [low - steps, high + steps]
    # Close to an end on both sides of it, so that a jump there is drawn as one.
    gaps = width * torch.logspace(-12, -1, 90, dtype=torch.float64)
    for side in (p, q):
        for end in _ends(side):
            parts += [end - gaps, end + gaps]
    return torch.cat([part.double() for part in parts]).unique()


def _log_density(side: Any, points: Tensor, discrete: bool) -> Tensor:
    if discrete:
        found = integers_of(side)
        assert found is not None
        return found.log_probs(points)
    at = Point.beside(torch.zeros_like(points), points)
    return log_density(in_float64(side), at)


def _weights(points: Tensor, discrete: bool) -> Tensor:
    """Half of each gap to the neighbours; for integers that are all there, 1."""
    gaps = points.diff()
    if discrete and bool((gaps == 1).all()):
        return torch.ones_like(points)
    half = 0.5 * gaps
    edge = gaps.new_zeros(1) + (0.5 if discrete else 0.0)
    return torch.cat([edge, half]) + torch.cat([half, edge])
