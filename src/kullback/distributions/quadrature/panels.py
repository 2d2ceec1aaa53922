"""The line cut into panels around landmarks, and what a Gauss–Kronrod rule finds on each.

From a landmark panels go outwards on both sides, halfway to the next landmark or without end:
first one in x itself, then panels in log |x − landmark|, each as wide as all before it. In that
variable algebraic tails and singular ends are exponentials, so that a few panels reach from
1e-300 to 1e300 and beyond. Every element of a batch has its own panels, in the same number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

from kullback.distributions.quadrature.landmarks import Landmark
from kullback.distributions.quadrature.points import Point
from kullback.distributions.quadrature.rules import rule_like

__all__ = [
    "FARTHEST",
    "Halves",
    "Panels",
    "cut_line",
    "first_panels",
    "locate",
    "points_of",
]

PLAIN, UP, DOWN = 0, 1, 2
"""The variable of a panel: the offset; its logarithm, away from the landmark or towards it."""

# Ends of the panels in log |x − landmark|, as distances from where they begin.
_STEPS = (0.0, *(2.0**k for k in range(14)))
FARTHEST = _STEPS[-1]
"""How far panels go from where they begin, in log |x − landmark|."""


@dataclass(frozen=True)
class Halves:
    """What lies on one side of one landmark: [2·landmarks, *batch] each.

    Attributes:
        anchor: the landmark, differentiable.
        sign: the side.
        log_reach: log of the way to the middle between it and the next one; +inf for the last.
        log_stretch: 0, with the gradient of log_reach.
        log_pivot: log of the scale at which panels in the logarithm begin.
        singular: whether they also go down towards the landmark.
        present: whether there is anything on this side.
    """

    anchor: Tensor
    sign: Tensor
    log_reach: Tensor
    log_stretch: Tensor
    log_pivot: Tensor
    singular: Tensor
    present: Tensor


@dataclass(frozen=True)
class Panels:
    """Intervals [low, high] of a variable: [panels, *batch] each.

    Attributes:
        half: which of the halves it belongs to.
        kind: PLAIN, UP or DOWN.
        depth: how often it was halved.
    """

    half: Tensor
    kind: Tensor
    low: Tensor
    high: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.half)

    def take(self, index: Tensor | slice) -> Panels:
        """Those at `index`: [some, *batch] for each element its own, or a slice for all."""
        if isinstance(index, slice):
            return Panels(*(getattr(self, field.name)[index] for field in fields(self)))
        return Panels(*(getattr(self, field.name).gather(0, index) for field in fields(self)))

    def halved(self) -> tuple[Panels, Panels]:
        """Their left and their right halves."""
        middle = 0.5 * (self.low + self.high)
        left = replace(self, high=middle, depth=self.depth + 1)
        return left, replace(left, low=middle, high=self.high)


def cut_line(marks: list[Landmark], low: Tensor, high: Tensor, batch: torch.Size) -> Halves:
    """The halves around the landmarks, one of them finite at least, of the line from low to high.

    The ends, where finite, are among the landmarks. Of ends on one spot the first given counts:
    where it moves, the others move along.
    """
    shape = (len(marks), *batch)
    like = marks[0].location
    # The integral does not depend on where panels meet, unless the integrand jumps there.
    located = [mark.location if mark.is_end else mark.location.detach() for mark in marks]
    places = torch.stack([place.double().expand(batch) for place in located])
    scales = torch.stack([mark.scale.detach().double().expand(batch) for mark in marks])
    ends = torch.tensor([mark.is_end for mark in marks], device=like.device)
    ends = ends.reshape(-1, *(1 for _ in batch)).expand(shape)
    # A landmark that is not there stands on one that is, where it changes nothing.
    there = places.isfinite()
    low_end = torch.where(there, places, math.inf).amin(0, keepdim=True)
    ends = ends & there
    scales = torch.where(there & (scales > 0) & scales.isfinite(), scales, math.inf)
    places, order = torch.where(there, places, low_end).sort(0)
    places, scales, ends = _shared(places, scales.gather(0, order), ends.gather(0, order), order)
    gaps = 0.5 * (places[1:] - places[:-1])
    endless = torch.full((1, *batch), math.inf, dtype=torch.float64, device=like.device)
    left, right = torch.cat([endless, gaps]), torch.cat([gaps, endless])
    scales = torch.where(scales.isinf(), _fallback(left, right, places).detach(), scales)
    beyond = torch.stack([low.isinf().expand(batch), high.isinf().expand(batch)])
    return _halves(places, left, right, scales, ends, beyond)


def _shared(
    places: Tensor, scales: Tensor, ends: Tensor, rank: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks on one spot are one: with the finest scale, and an end if one of them is.

    An end takes the others along where it moves with its parameters; of several ends the first
    that was given does.
    """
    place, scale, end = list(places), list(scales), list(ends)
    forth = [(i, i - 1) for i in range(1, len(place))]
    for i, other in forth + [(other, i) for i, other in reversed(forth)]:
        same = places[i] == places[other]
        scale[i] = torch.where(same, torch.minimum(scale[i], scale[other]), scale[i])
        leads = end[other] & (~end[i] | (rank[other] < rank[i]))
        place[i] = torch.where(same & leads, place[other], place[i])
        end[i] = end[i] | (same & end[other])
    return torch.stack(place), torch.stack(scale), torch.stack(end)


def _fallback(left: Tensor, right: Tensor, places: Tensor) -> Tensor:
    """A scale for a landmark that has none: the way to its neighbour, else 1."""
    near = torch.minimum(torch.where(left > 0, left, math.inf), right.where(right > 0, math.inf))
    return torch.where(near.isinf(), torch.ones_like(places), near)


def _halves(
    places: Tensor, left: Tensor, right: Tensor, scales: Tensor, ends: Tensor, beyond: Tensor
) -> Halves:
    reach = torch.cat([left, right])
    log_reach = torch.where(reach > 0, reach, 1.0).log()
    finite = reach.isfinite() & (reach > 0)
    log_finite = torch.where(finite, reach, 1.0).log()
    log_pivot = torch.minimum(torch.cat([scales, scales]).log(), log_reach.detach())
    present = reach.detach() > 0
    # Nothing is left of the lowest landmark where the line ends in it, nor right of the highest.
    present[0], present[-1] = present[0] & beyond[0], present[-1] & beyond[1]
    return Halves(
        anchor=torch.cat([places, places]),
        sign=torch.cat([-torch.ones_like(places), torch.ones_like(places)]).detach(),
        log_reach=log_reach.detach(),
        log_stretch=log_finite - log_finite.detach(),
        log_pivot=log_pivot,
        singular=torch.cat([ends, ends]),
        present=present,
    )


def first_panels(halves: Halves) -> Panels:
    """The panels to begin with; those of no width are left out as far as all elements agree."""
    grid = [PLAIN, *([UP] * (len(_STEPS) - 1)), *([DOWN] * (len(_STEPS) - 1))]
    pivot, reach = halves.log_pivot, halves.log_reach
    lows, highs = [torch.zeros_like(pivot)], [pivot.exp().where(~halves.singular, 0.0)]
    for begin, end in pairwise(_STEPS):
        lows.append(torch.minimum(pivot + begin, reach))
        highs.append(torch.minimum(pivot + end, reach))
    for begin, end in pairwise(_STEPS):
        lows.append(pivot - torch.where(halves.singular, end, begin))
        highs.append(pivot - begin)
    low, high = torch.stack(lows), torch.stack(highs)
    high = torch.where(halves.present, high, low)
    count, batch = len(grid), low.shape[2:]
    shape, ones = (count, len(pivot), *batch), (1 for _ in batch)
    kind = torch.tensor(grid, device=low.device).reshape(count, 1, *ones).expand(shape)
    ones = (1 for _ in batch)
    half = torch.arange(len(pivot), device=low.device).reshape(1, -1, *ones).expand(shape)
    flat = [x.reshape(-1, *batch) for x in (half, kind, low, high)]
    panels = Panels(*flat, depth=torch.zeros_like(flat[0]))
    order = (panels.high > panels.low).int().argsort(dim=0, descending=True, stable=True)
    most = int((panels.high > panels.low).sum(0).max())
    return panels.take(order[:most])


def points_of(
    halves: Halves, panels: Panels, *, with_ends: bool = False
) -> tuple[Point, Tensor, Tensor, Tensor]:
    """The nodes of the panels [panels, nodes, *batch], log dx/dvariable, and the two weights.

    The weights are Kronrod's and Gauss's, in the panel's variable; 0 for panels of no width. With
    the ends of the panels, just inside, first and last, which have no weight.
    """
    nodes, kronrod, gauss = rule_like(panels.low, with_ends=with_ends)
    width = (panels.high - panels.low)[:, None]
    half, kind = panels.half[:, None], panels.kind[:, None]
    # A panel of no width is kept off the logarithm of 0.
    at = torch.where(width == 0, 1.0, panels.low[:, None] + width * nodes)
    point, log_slope = locate(halves, half.expand_as(at), kind, at)
    return point, log_slope, width * kronrod, width * gauss


def locate(halves: Halves, half: Tensor, kind: Tensor, at: Tensor) -> tuple[Point, Tensor]:
    """The points where the variable of a panel has the values `at`, and log dx/dvariable there."""
    plain = kind == PLAIN
    log_offset = torch.where(plain, torch.where(plain, at, 1.0).log(), at)

    stretch = _gathered(halves.log_stretch, half)
    log_offset = log_offset + stretch
    point = Point.near(_gathered(halves.anchor, half), _gathered(halves.sign, half), log_offset)
    return point, torch.where(plain, stretch, log_offset)


def _gathered(of_halves: Tensor, half: Tensor) -> Tensor:
    """The entries of [halves, *batch] at `half` [panels, nodes, *batch]."""
    flat = half.reshape(-1, *of_halves.shape[1:])
    return of_halves.gather(0, flat).reshape(half.shape)
