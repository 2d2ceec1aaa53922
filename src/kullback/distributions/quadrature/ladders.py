"""The distribution function of a density on the line, as polynomials on panels, and its inverse.

On each panel the density is its interpolant at the nodes of the rule, in Legendre polynomials,
which integrate exactly; the masses of the panels are added up from both ends, so that small
levels are as accurate as large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kullback.distributions.quadrature.evaluation import differentiable
from kullback.distributions.quadrature.landmarks import landmarks
from kullback.distributions.quadrature.line_densities import log_density
from kullback.distributions.quadrature.panels import (
    PLAIN,
    Halves,
    Panels,
    cut_line,
    first_panels,
    locate,
    points_of,
)
from kullback.distributions.quadrature.rules import NODES, rule_like
from kullback.distributions.supports import support_of

__all__ = ["RAREST", "Ladder", "Quantiles", "ladder"]

_MOST_ROUNDS, _MOST_PANELS = 40, 800
# Panels are halved until their error is this small beside the mass further out, so that a level
# has these digits too; down to masses of the second number.
_TOLERANCE, RAREST = 1e-10, 1e-60
_NEWTON_STEPS = 40


class Quantiles(NamedTuple):
    """Quantiles: x, and how far the errors of the masses may have moved it."""

    x: Tensor
    doubt: Tensor


@dataclass(frozen=True)
class Ladder:
    """The panels of one density in the order of the line, [panels, *batch] each.

    Attributes:
        series: Legendre coefficients of the density in the panel's variable, [panels, NODES, …].
        mass: of each panel, differentiable like `series`.
        below, above: the masses of all panels before and after, likewise.
        doubt, doubt_below, doubt_above: the errors within a panel, and of the two sums.
        gap: how far the whole is from 1.
    """

    halves: Halves
    panels: Panels
    series: Tensor
    mass: Tensor
    below: Tensor
    above: Tensor
    doubt: Tensor
    doubt_below: Tensor
    doubt_above: Tensor
    gap: Tensor

    @property
    def batch(self) -> torch.Size:
        return self.gap.shape

    def quantiles(self, below: Tensor, above: Tensor) -> Quantiles:
        """x where the masses below and above, [levels, *batch], are the given ones.

        The smaller of the two decides.
        """
        from_below = below <= above
        index = torch.where(
            from_below,
            _last_at_most(self.below.detach(), below),
            len(self.mass) - 1 - _last_at_most(self.above.detach().flip(0), above),
        )
        panels = self.panels.take(index)
        before, after, mass = (x.gather(0, index) for x in (self.below, self.above, self.mass))
        series = self.series.movedim(1, -1).gather(0, index[..., None].expand(*index.shape, NODES))
        wanted = torch.where(from_below, below - before, mass - (above - after)).detach()
        place = _invert(series.detach(), wanted)
        held, height = _integral(series, place)
        # What the mass up to here changes by when parameters do moves the quantile.
        moved = torch.where(from_below, before + held, held - mass - after)
        width, sign = panels.high - panels.low, self.halves.sign.gather(0, panels.half)
        at = 0.5 * (panels.low + panels.high) + 0.5 * width * sign * place
        point, log_slope = locate(
            self.halves, panels.half[:, None], panels.kind[:, None], at[:, None]
        )
        slope = (0.5 * width * log_slope[:, 0].exp() / height).detach()
        beyond = torch.where(
            from_below, self.doubt_below.gather(0, index), self.doubt_above.gather(0, index)
        )
        known = beyond + self.doubt.gather(0, index) + self.gap * torch.minimum(below, above)
        x = point.x[:, 0]
        if moved.requires_grad:
            x = x - torch.where(slope.isfinite(), slope, 0.0) * (moved - moved.detach())
        doubt = known * slope + 4e-16 * x.detach().abs()
        return Quantiles(x, doubt)


def ladder(p: Any, batch: torch.Size | None = None) -> Ladder:
    """The ladder of a distribution from `in_float64`, expanded to a batch shape."""
    batch = torch.Size(getattr(p, "batch_shape", ())) if batch is None else batch
    support = support_of(p)
    low, high = (
        torch.tensor(otherwise).double() if end is None else end.detach().double()
        for end, otherwise in ((support.low, -torch.inf), (support.high, torch.inf))
    )
    halves = cut_line(landmarks(p), low, high, batch)
    with torch.no_grad():
        panels = _refined(p, halves, first_panels(halves))
    return _added_up(p, halves, panels)


def _heights(p: Any, halves: Halves, panels: Panels) -> Tensor:
    """The density in the panels' variable, [panels, nodes, *batch]; 0 where it is not known."""
    point, log_slope, _, _ = points_of(halves, panels)
    width = (panels.high - panels.low)[:, None]
    height = (differentiable(log_density, p, point) + log_slope).exp() * width
    return torch.where(height.isfinite() & (width > 0), height, 0.0)


def _refined(p: Any, halves: Halves, panels: Panels) -> Panels:
    """Panels in the order of the line, as fine as the tolerance asks."""

    def sums(some: Panels) -> tuple[Tensor, Tensor]:
        _, mass, error, doubt = _series(_heights(p, halves, some))
        return mass, error + doubt

    columns = [*vars(panels).values(), *sums(panels)]
    for _ in range(_MOST_ROUNDS):
        order = _order(halves, Panels(*columns[:-2]))
        columns = [x.gather(0, order) for x in columns]
        mass, error = columns[-2:]
        further_out = torch.minimum(_before(mass), _before(mass.flip(0)).flip(0))
        score = error / (_TOLERANCE * further_out.clamp(min=RAREST))
        count = min(int((score > 1).sum(0).max()), _MOST_PANELS - len(mass))
        if count <= 0:
            break
        chosen = score.topk(count, dim=0).indices
        left, right = Panels(*columns[:-2]).take(chosen).halved()
        halved = [[*vars(some).values(), *sums(some)] for some in (left, right)]
        columns = [
            torch.cat([x.scatter(0, chosen, a), b])
            for x, a, b in zip(columns, *halved, strict=True)
        ]
    panels = Panels(*columns[:-2])
    return panels.take(_order(halves, panels))


def _order(halves: Halves, panels: Panels) -> Tensor:
    """From left to right: by landmark and side, then by distance."""
    sign = halves.sign.gather(0, panels.half)
    middle = 0.5 * (panels.low + panels.high)
    # A panel in x lies closer to its landmark than those in its logarithm.
    distance = torch.where(panels.kind == PLAIN, middle.log() - 1e5, middle)
    count = len(halves.anchor) // 2
    place = 2 * (panels.half % count) + (panels.half >= count)
    by_distance = (sign * distance).argsort(dim=0, stable=True)
    by_side = place.gather(0, by_distance).argsort(dim=0, stable=True)
    return by_distance.gather(0, by_side)


def _added_up(p: Any, halves: Halves, panels: Panels) -> Ladder:
    height = _heights(p, halves, panels)
    # Left of a landmark the variable runs against the line, and the rule is symmetric.
    against = halves.sign.gather(0, panels.half)[:, None] < 0
    height = torch.where(against, height.flip(1), height)
    series, mass, error, doubt = _series(height)
    return Ladder(
        halves=halves,
        panels=panels,
        series=series,
        mass=mass,
        below=_before(mass),
        above=_before(mass.flip(0)).flip(0),
        doubt=doubt,
        doubt_below=error.cumsum(0),
        doubt_above=error.flip(0).cumsum(0).flip(0),
        gap=(mass.detach().sum(0) - 1).abs(),
    )


def _series(height: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Legendre coefficients [panels, NODES, …], the mass, its error, and that of parts of it."""
    nodes, kronrod, gauss = rule_like(height[:, 0])
    legendre = _legendre(2 * nodes.flatten() - 1, NODES)
    series = torch.einsum("nj,kj...->kn...", torch.linalg.inv(legendre), height)
    mass = (kronrod * height).sum(1)
    error = (mass - (gauss * height).sum(1)).abs().detach()
    # A part of a panel is integrated by the series, whose last terms show what is missing.
    doubt = series[:, -2:].detach().abs().sum(1) / NODES + 4e-16 * mass.detach()
    return series, mass, error, doubt


def _before(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[:1]), x.cumsum(0)[:-1]])


def _last_at_most(rising: Tensor, values: Tensor) -> Tensor:
    """The last entry of `rising` [panels, *batch] that is at most each value [levels, *batch]."""
    sorted_last = rising.movedim(0, -1).contiguous()
    wanted = values.expand(len(values), *rising.shape[1:]).movedim(0, -1).contiguous()
    return (torch.searchsorted(sorted_last, wanted, right=True) - 1).clamp(min=0).movedim(-1, 0)


def _legendre(z: Tensor, count: int) -> Tensor:
    """P_0 … P_(count−1) at z, last."""
    values = [torch.ones_like(z), z]
    for n in range(1, count - 1):
        values.append(((2 * n + 1) * z * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[:count], -1)


def _integral(series: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The integral of a Legendre series from −1 to z over its half-width ½, and the series at z."""
    basis = _legendre(z, NODES + 1)
    height = (series * basis[..., :NODES]).sum(-1)
    degree = torch.arange(1, NODES, dtype=z.dtype, device=z.device)
    rises = (basis[..., 2:] - basis[..., : NODES - 1]) / (2 * degree + 1)
    held = series[..., 0] * (z + 1) + (series[..., 1:] * rises).sum(-1)
    return 0.5 * held, 0.5 * height


def _invert(series: Tensor, wanted: Tensor) -> Tensor:
    """z where the integral is `wanted`: Newton's method, halving where it would leave the panel."""
    low, high = torch.full_like(wanted, -1.0), torch.ones_like(wanted)
    z = torch.zeros_like(wanted)
    for _ in range(_NEWTON_STEPS):
        held, height = _integral(series, z)
        over = held > wanted
        low, high = torch.where(over, low, z), torch.where(over, z, high)
        step = z - (held - wanted) / height
        inside = (step >= low) & (step <= high)
        before, z = z, torch.where(inside, step, 0.5 * (low + high))
        if bool((z - before).abs().max() < 1e-15):
            break
    return z
