"""The derivative of a quadrature: its panels stay, relative to landmarks that may move.

The panels are chosen without gradients, and the sum over them is taken once more with them. Ends
of supports move with their parameters and take their panels along, so that no derivative is lost
where the integrand jumps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.quadrature.adaptive import Refined
from kullback.distributions.quadrature.evaluation import Integrand
from kullback.distributions.quadrature.line_densities import log_density
from kullback.distributions.quadrature.panels import Halves, Panels, points_of
from kullback.distributions.quadrature.points import Point
from kullback.distributions.supports import Support
from kullback.divergences import Functional
from kullback.numerics import Pair

__all__ = ["outer_share", "with_gradient"]

# Panels with less than this of the terms and of both masses hold nothing.
_HELD = 1e-20
# How far from an end, in log-distance, a density is taken for its limit there.
_CLOSE = 60.0


def with_gradient(
    value: Tensor,
    integrand: Integrand,
    halves: Halves,
    refined: Refined,
    supports: tuple[Support, Support],
) -> Tensor:
    """`value`, with the derivative of the sum over the panels that hold anything."""
    panels, holds = _held(refined)
    point, log_slope, weights, _ = points_of(halves, panels)
    terms, _, _, scale = integrand.parts(point)
    root = (0.5 * (scale + log_slope)).exp()
    weights = torch.where(holds[:, None], weights, 0.0)
    summed = (weights * (terms * root) * root).sum((0, 1))
    summed = summed + _between_ends(integrand, supports)
    differentiable = torch.where(summed.isfinite(), summed, 0.0)
    return value + (differentiable - differentiable.detach())


def _held(refined: Refined) -> tuple[Panels, Tensor]:
    """The panels that hold anything, and a mask: elements with fewer take their first again."""
    sums = refined.sums
    held = torch.zeros_like(sums.value, dtype=torch.bool)
    for share in (sums.value.abs(), sums.mass_p, sums.mass_q):
        held = held | (share > _HELD * share.sum(0))
    order = held.int().argsort(dim=0, descending=True, stable=True)
    most = max(1, int(held.sum(0).max()))
    panels, holds = refined.panels.take(order[:most]), held.gather(0, order[:most])
    columns = [torch.where(holds, x, x[:1]) for x in vars(panels).values()]
    return Panels(*columns), holds


def outer_share(record: Functional) -> tuple[float, float]:
    """What mass that P alone has adds to the integral, and mass that Q alone has, per unit."""
    sides = ((1.0, 0.0), (0.0, 1.0))
    p, q = torch.tensor(sides, dtype=torch.float64).unbind(-1)
    log_p, log_q = p.log(), q.log()
    alone = record.terms(Pair(p, q, log_p, log_q, log_q - log_p))
    return float(alone[0]), float(alone[1])


def _between_ends(integrand: Integrand, supports: tuple[Support, Support]) -> Tensor | float:
    """0, with the derivative of what lies between ends of P and Q that stand on one spot.

    Only one of the sides has mass there; the one for which the integral stays finite.
    """
    by_p, by_q = outer_share(integrand.record)
    outer, share = (integrand.q, by_q) if math.isfinite(by_q) else (integrand.p, by_p)
    total: Tensor | float = 0.0
    if share == 0 or not math.isfinite(share):
        return total
    of_p, of_q = supports if outer is integrand.q else supports[::-1]
    for sign, inner_end, outer_end in (
        (1.0, of_p.low, of_q.low),
        (-1.0, of_p.high, of_q.high),
    ):
        if inner_end is None or outer_end is None:
            continue
        inner_end, outer_end = inner_end.double(), outer_end.double()
        meet = (inner_end == outer_end) & inner_end.isfinite()
        gap = torch.where(meet, sign * (inner_end - outer_end), 0.0)
        place = torch.where(meet, outer_end, 1.0).detach()
        total = total + share * gap * _limit(outer, place, sign).where(meet, 0.0)
    return total


@torch.no_grad()
def _limit(side: Any, place: Tensor, sign: float) -> Tensor:
    """The density of a side just inside of its end."""
    log_offset = torch.full_like(place, -_CLOSE)
    point = Point.near(place, torch.full_like(place, sign), log_offset)
    density = log_density(side, point).exp()
    return torch.where(density.isfinite(), density, 0.0)
