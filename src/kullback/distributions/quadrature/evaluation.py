"""The terms of a divergence at points, without overflow, and with finite derivatives throughout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.integrands import is_homogeneous
from kullback.distributions.quadrature.line_densities import log_density
from kullback.distributions.quadrature.points import Point
from kullback.distributions.widening import dtype_of
from kullback.divergences import Functional
from kullback.numerics import Pair

__all__ = ["Integrand", "differentiable", "times_exp"]

LogDensity = Callable[[Any, Point], Tensor]

# A log-density this low is 0 whatever it is multiplied by.
_NOTHING = -1e5


class _Terms(torch.autograd.Function):
    """record.terms, whose gradient is the record's own log-slopes: finite also at zeros."""

    @staticmethod
    def forward(log_p: Tensor, log_q: Tensor, record: Functional) -> Tensor:  # type: ignore[override]
        return record.terms(_pair(log_p, log_q))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        log_p, log_q, ctx.record = inputs
        ctx.save_for_backward(log_p, log_q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        of_p, of_q = ctx.record.log_slopes(_pair(*ctx.saved_tensors))
        return grads[0] * of_p, grads[0] * of_q, None


def _pair(log_p: Tensor, log_q: Tensor) -> Pair:
    return Pair(log_p.exp(), log_q.exp(), log_p, log_q, log_q - log_p)


class Integrand:
    """What is integrated: the terms of a record at the densities of two sides.

    `density(side, points)` is the logarithm of one.
    """

    def __init__(
        self, p: Any, q: Any, record: Functional, density: LogDensity = log_density
    ) -> None:
        self.p, self.q, self.record, self.density = p, q, record, density
        self.homogeneous = is_homogeneous(record)
        self.rounding = [torch.finfo(dtype_of(side)).eps for side in (p, q)]

    def parts(self, point: Point) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """terms · exp(−scale), log p, log q and `scale`, at the points.

        Terms of an f-divergence are proportional to both densities, so that the larger density
        is taken out of them: densities of 1e-400 and 1e400 are as good as others.
        """
        log_p, log_q = torch.broadcast_tensors(
            differentiable(self.density, self.p, point), differentiable(self.density, self.q, point)
        )
        top = torch.maximum(log_p, log_q).detach()
        nowhere = top == -torch.inf
        # Where the larger density vanishes faster than any log-ratio can grow.
        lost = nowhere | ((log_p < _NOTHING) & (log_q < _NOTHING))
        scale = torch.where(lost, 0.0, top if self.homogeneous else torch.zeros_like(top))
        # Both −inf gives no ratio; equal numbers give terms of 0.
        in_p, in_q = torch.where(lost, 0.0, log_p - scale), torch.where(lost, 0.0, log_q - scale)
        terms = torch.where(lost, 0.0, _Terms.apply(in_p, in_q, self.record))
        return terms, log_p, log_q, scale

    def noise(self, log_p: Tensor, log_q: Tensor, scale: Tensor) -> Tensor:
        """What the rounding of the log-densities makes of the terms, times exp(−scale)."""
        lost = (log_p < _NOTHING) & (log_q < _NOTHING)
        in_p, in_q = torch.where(lost, 0.0, log_p - scale), torch.where(lost, 0.0, log_q - scale)
        slopes = self.record.log_slopes(_pair(in_p, in_q))
        total = torch.zeros_like(in_p)
        for slope, log, eps in zip(slopes, (log_p, log_q), self.rounding, strict=True):
            size = torch.where(lost | log.isinf(), 0.0, log.abs())
            total = total + eps * torch.where(lost | ~slope.isfinite(), 0.0, slope.abs()) * (
                1 + size
            )
        return total


def differentiable(density: LogDensity, side: Any, point: Point) -> Tensor:
    """The log-density at [panels, nodes, …] points, with finite derivatives throughout.

    Where a density vanishes its logarithm has none: such a point is taken for the one of its
    element where the density is highest, and gets no derivative.
    """
    if not torch.is_grad_enabled():
        return density(side, point)
    with torch.no_grad():
        value = density(side, point)
    gone = ~value.isfinite()
    best = torch.where(gone, -math.inf, value).flatten(0, 1).argmax(0, keepdim=True)
    shape = torch.broadcast_shapes(*(x.shape for x in vars(point).values()))
    if len(shape) > value.dim():
        mask, best = gone[..., None], best[..., None].expand(1, *shape[2:])
    else:
        mask, shape = gone, value.shape
    parts = (x.expand(shape) for x in vars(point).values())
    kept = [torch.where(mask, x.flatten(0, 1).gather(0, best)[None], x) for x in parts]
    return torch.where(gone, value, density(side, Point(*kept)))


def times_exp(x: Tensor, log: Tensor) -> Tensor:
    """x · exp(log), in two steps: neither has to be a float by itself."""
    root = (0.5 * log).exp()
    return (x * root) * root
