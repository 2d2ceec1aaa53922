"""Coordinates for densities over a few dimensions: from all of R^d to a box or a simplex.

Where a support ends the coordinate is the logarithm of the distance from there, so that singular
ends and their neighbourhoods are exponentials. Then comes an affine map that draws tell, which
makes the narrower of both sides about round and wide 1, and a sinh, which makes algebraic tails
exponentials too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from kullback.distributions.quadrature.landmarks import landmarks
from kullback.distributions.quadrature.line_densities import rule_for
from kullback.distributions.quadrature.points import Point
from kullback.distributions.supports import Support

__all__ = ["Chart", "draws_of", "make_chart"]

_DRAWS = 1024
# How far a coordinate goes, as a logarithm, where it has no end and towards an end: a density
# there may still be squared, or divided by, without leaving the floats.
_FARTHEST, _CLOSEST = 150.0, 700.0
# Correlations of 1,024 independent draws are smaller, all but one in a hundred thousand.
_CHANCE = 0.15


@dataclass(frozen=True)
class Chart:
    """The way from s in R^d to points of the support.

    Attributes:
        simplex: whether the support is one, of d + 1 categories; else it is a box.
        low, high: ends of the box, [*batch, d], differentiable; ±inf where there is none.
        middle, root: y = middle + root · sinh(s), with root lower triangular.
        reach: the smallest and the largest s of each coordinate, [2, *batch, d].
    """

    simplex: bool
    low: Tensor
    high: Tensor
    middle: Tensor
    root: Tensor
    reach: Tensor

    def locate(self, s: Tensor) -> tuple[Point, Tensor]:
        """The points of s [..., *batch, d], and log |dx/ds|."""
        step = (self.root @ s.sinh()[..., None])[..., 0]
        log_cosh = s.abs() + torch.log1p((-2 * s.abs()).exp()) - math.log(2)
        log_slope = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + log_cosh.sum(-1)
        if self.simplex:
            log_x, log_volume = _to_simplex(self.middle + step)
            zero = torch.zeros_like(log_x)
            return Point.near(zero, zero + 1, log_x), log_slope + log_volume
        point, log_volume = _to_box(self.low, self.high, self.middle, step)
        return point, log_slope + log_volume

    def coordinates(self, y: Tensor) -> Tensor:
        """s of draws y."""
        step = torch.linalg.solve_triangular(self.root, (y - self.middle)[..., None], upper=False)
        return step[..., 0].asinh()


def make_chart(
    p: Any, q: Any, support: Support, low: Tensor, high: Tensor, draws: tuple[Any, Any]
) -> Chart:
    """The chart of a box from low to high, or of the simplex, that suits the narrower side."""
    batch = low.shape[:-1]
    known = [
        _stated(side, batch) if not (low.isfinite() | high.isfinite()).any() else None
        for side in (p, q)
    ]
    rounded = [
        stated or _rounded(y)
        for stated, y in zip(known, draws, strict=True)
        if stated is not None or y is not None
    ]
    middle, root = rounded[0]
    if len(rounded) == 2:
        narrower = _log_size(rounded[1][1]) < _log_size(root)
        middle = torch.where(narrower[..., None], rounded[1][0], middle)
        root = torch.where(narrower[..., None, None], rounded[1][1], root)
    widths = root.diagonal(dim1=-2, dim2=-1)
    simplex = support.kind == "simplex"
    below, above = (low.isfinite() | simplex), (high.isfinite() | simplex)
    # Towards an end the coordinate is a logarithm, and away from the only end it is one too.
    down = torch.where(below, _CLOSEST / widths, torch.where(above, _FARTHEST / widths, math.inf))
    up = torch.where(above, _CLOSEST / widths, torch.where(below, _FARTHEST / widths, math.inf))
    free = _FARTHEST - widths.log()
    reach = [torch.where(x.isinf(), free, x.clamp(max=1e300).asinh()) for x in (down, up)]
    return Chart(simplex, low, high, middle, root, torch.stack([-reach[0], reach[1]]))


def _stated(p: Any, batch: torch.Size) -> tuple[Tensor, Tensor] | None:
    """The middle and a root of the spread where the parameters are just that."""
    if rule_for({td.MultivariateNormal: True}, p):
        d = p.loc.shape[-1]
        root = p.scale_tril.detach()
        return p.loc.detach().expand(*batch, d), root.expand(*batch, d, d)
    if rule_for({td.Independent: True}, p) and not p.base_dist.event_shape:
        mark = landmarks(p.base_dist)[0]
        shape = (*batch, p.event_shape[0])
        width = mark.scale.detach().expand(shape)
        return mark.location.detach().expand(shape), torch.diag_embed(width)
    return None


def _log_size(root: Tensor) -> Tensor:
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _rounded(y: Tensor) -> tuple[Tensor, Tensor]:
    """The middle of draws, and a root of their spread that outliers do not move."""
    quartiles = torch.quantile(y, torch.tensor([0.25, 0.5, 0.75], dtype=y.dtype).to(y.device), 0)
    spread = (quartiles[2] - quartiles[0]) / 1.35
    spread = torch.where(spread > 0, spread, 1.0)
    z = ((y - quartiles[1]) / spread).clamp(-3, 3)
    covariance = torch.einsum("n...i,n...j->...ij", z, z) / len(z)
    sizes = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    correlation = covariance / (sizes[..., None] * sizes[..., None, :])
    # Chance correlations would tilt axes along which a heavy tail runs.
    covariance = torch.where(correlation.abs() < _CHANCE, 0.0, covariance)
    covariance = covariance + 1e-6 * torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    return quartiles[1], spread[..., None] * torch.linalg.cholesky(covariance)


def draws_of(p: Any, support: Support, low: Tensor, high: Tensor, batch: torch.Size) -> Any:
    """Draws of one side as coordinates y, always the same ones; None if it cannot be sampled."""
    if not hasattr(p, "sample"):
        return None
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        try:
            x = p.sample(torch.Size((_DRAWS,))).double()
        except NotImplementedError:
            return None
    own = (1,) * (len(batch) + 2 - x.dim())
    x = x.reshape(_DRAWS, *own, *x.shape[1:]).expand(_DRAWS, *batch, x.shape[-1])
    y = _from_simplex(x) if support.kind == "simplex" else _from_box(low, high, x)
    return torch.nan_to_num(y, nan=0.0, posinf=_CLOSEST, neginf=-_CLOSEST)


def _to_box(low: Tensor, high: Tensor, middle: Tensor, step: Tensor) -> tuple[Point, Tensor]:
    """x = y; low + eʸ; high − e⁻ʸ; or from the nearer of two ends."""
    y = middle + step
    below, above = low.isfinite(), high.isfinite()
    both, free = below & above, ~below & ~above
    width = torch.where(both, high - low, 2.0)
    from_low = below & (~above | (y < 0))
    end = torch.where(from_low, torch.where(below, low, 0.0), torch.where(above, high, 0.0))
    log_gap = torch.where(from_low, y, -y) + torch.where(both, (width / 2).log(), 0.0)
    near_end = Point.near(end, torch.where(from_low, 1.0, -1.0).to(y.dtype), log_gap)
    freely = Point.beside(middle.expand_as(y), step)
    parts = (
        torch.where(free, a, b) for a, b in zip(_fields(freely), _fields(near_end), strict=True)
    )
    return Point(*parts), torch.where(free, 0.0, log_gap).sum(-1)


def _fields(point: Point) -> tuple[Tensor, ...]:
    return tuple(torch.broadcast_tensors(*vars(point).values()))


def _from_box(low: Tensor, high: Tensor, x: Tensor) -> Tensor:
    below, above = low.isfinite(), high.isfinite()
    gap_low, gap_high = x - torch.where(below, low, 0.0), torch.where(above, high, 0.0) - x
    half = torch.where(below & above, (high - low) / 2, 1.0)
    from_low, from_high = (gap_low / half).abs().log(), -(gap_high / half).abs().log()
    nearer_low = below & (~above | (gap_low < gap_high))
    return torch.where(below | above, torch.where(nearer_low, from_low, from_high), x)


def _to_simplex(y: Tensor) -> tuple[Tensor, Tensor]:
    """Sticks broken off one after the other: shares σ(y) of what is left."""
    log_share = torch.nn.functional.logsigmoid(y)
    log_kept = torch.nn.functional.logsigmoid(-y)
    log_left = torch.cat([torch.zeros_like(y[..., :1]), log_kept.cumsum(-1)], -1)
    log_x = torch.cat([log_share, torch.zeros_like(y[..., :1])], -1) + log_left
    return log_x, (log_share + log_kept + log_left[..., :-1]).sum(-1)


def _from_simplex(x: Tensor) -> Tensor:
    left = x.flip(-1).cumsum(-1).flip(-1)
    return x[..., :-1].log() - left[..., 1:].log()
