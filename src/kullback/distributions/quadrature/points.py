"""Points held as an anchor and an offset from it, and where transforms take them back to.

Close to an end that is not 0, floats run out at a relative distance of 1e-16, where Beta(0.1, 0.1)
still has a hundredth of its mass. An offset from that end has no such limit, and its logarithm
none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions.transforms import _InverseTransform

__all__ = ["Point", "pull_back"]


@dataclass(frozen=True)
class Point:
    """x = anchor + offset, where offset = sign · exp(log_offset)."""

    anchor: Tensor
    sign: Tensor
    offset: Tensor
    log_offset: Tensor

    @classmethod
    def near(cls, anchor: Tensor, sign: Tensor, log_offset: Tensor) -> Point:
        """The point at distance exp(log_offset) from the anchor."""
        return cls(anchor, sign, sign * log_offset.exp(), log_offset)

    @classmethod
    def beside(cls, anchor: Tensor, offset: Tensor) -> Point:
        """The point anchor + offset."""
        return cls(anchor, offset.sign(), offset, offset.abs().log())

    @property
    def x(self) -> Tensor:
        """The point as one float."""
        return self.anchor + self.offset

    def gap(self, end: Tensor | float) -> Tensor:
        """x − end, exact where the anchor is that end."""
        return (self.anchor - end) + self.offset

    def log_gap(self, end: Tensor | float) -> Tensor:
        """log |x − end|."""
        shift = self.anchor - end
        far = shift.abs() > self.offset.abs()
        # Of the two parts the larger is taken out; each branch sees only numbers it can take.
        inverse = (-torch.where(far | (shift == 0), 0.0, self.log_offset)).exp()
        outer = self.log_offset + (torch.where(far, 0.0, shift) * self.sign * inverse).log1p()
        base = torch.where(far, shift, 1.0)
        inner = base.abs().log() + (torch.where(far, self.offset, 0.0) / base).log1p()
        return torch.where(far, inner, outer)

    def above(self, end: Tensor | float) -> Tensor:
        """Whether x > end, also where the offset is too small for a float."""
        shift = self.anchor - end
        return torch.where(shift == 0, self.sign > 0, shift + self.offset > 0)

    def unsqueeze(self) -> Point:
        """With one more dimension, last: for the components of a mixture."""
        parts = self.anchor, self.sign, self.offset, self.log_offset
        return Point(*(part.unsqueeze(-1) for part in parts))


def pull_back(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor] | None:
    """Where y = transform(x) came from: x, log |dy/dx|, and which y can be reached at all.

    None for a transform that is not known here.
    """
    if isinstance(transform, td.ComposeTransform):
        return _through(transform.parts, point)
    if isinstance(transform, _InverseTransform):
        inner = transform.inv
        return _from_log(point) if type(inner) is td.ExpTransform else None
    rule = _RULES.get(type(transform))
    return None if rule is None else rule(transform, point)


def _through(parts: Any, point: Point) -> tuple[Point, Tensor, Tensor] | None:
    log_slope, reached = torch.zeros_like(point.offset), torch.ones_like(point.offset) > 0
    for part in reversed(parts):
        found = pull_back(part, point)
        if found is None:
            return None
        point, of_part, reaches = found
        log_slope, reached = log_slope + of_part, reached & reaches
    return point, log_slope, reached


def _from_affine(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = (y − loc)/scale."""
    like = point.offset
    scale = torch.as_tensor(transform.scale, dtype=like.dtype, device=like.device)
    log_scale = scale.abs().log()
    moved = Point(
        (point.anchor - transform.loc) / scale,
        point.sign * scale.sign(),
        point.offset / scale,
        point.log_offset - log_scale,
    )
    return moved, log_scale + torch.zeros_like(like), torch.ones_like(like) > 0


def _from_exp(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = log y: beside the anchor's logarithm while the offset is smaller than the anchor."""
    near, anchor, relative = _relative(point)
    from_zero = point.log_gap(0.0)
    offset = torch.where(near, relative.log1p(), from_zero)
    moved = Point.beside(torch.where(near, anchor.abs().log(), 0.0), offset)
    return moved, from_zero, point.above(0.0)


def _from_log(point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = exp(y) for y = log x: beside exp(anchor) for small offsets, else from 0."""
    y = point.x
    close = point.offset.abs() < 1
    anchor = torch.where(close, point.anchor, 0.0).exp()
    beside = Point.beside(anchor, anchor * torch.where(close, point.offset, 1.0).expm1())
    zero, one = torch.zeros_like(y), torch.ones_like(y)
    from_zero = Point.near(zero, one, y)
    moved = Point(
        torch.where(close, beside.anchor, zero),
        torch.where(close, beside.sign, one),
        torch.where(close, beside.offset, from_zero.offset),
        torch.where(close, beside.log_offset, y),
    )
    return moved, -y, one > 0


def _from_power(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = y^(1/exponent)."""
    like = point.offset
    exponent = torch.as_tensor(transform.exponent, dtype=like.dtype, device=like.device)
    near, anchor, relative = _relative(point)
    root = anchor.abs() ** (1 / exponent)
    beside = Point.beside(root, root * (relative.log1p() / exponent).expm1())
    log_x = point.log_gap(0.0) / exponent
    moved = Point(
        torch.where(near, root, 0.0),
        torch.where(near, beside.sign, 1.0),
        torch.where(near, beside.offset, log_x.exp()),
        torch.where(near, beside.log_offset, log_x),
    )
    return moved, exponent.abs().log() + (exponent - 1) * log_x, point.above(0.0)


def _from_sigmoid(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = log y − log(1 − y)."""
    below, above = point.log_gap(0.0), point.log_gap(1.0)
    moved = Point.beside(torch.zeros_like(below), below - above)
    return moved, below + above, point.above(0.0) & ~point.above(1.0)


def _from_tanh(transform: Any, point: Point) -> tuple[Point, Tensor, Tensor]:
    """x = ½ log((1 + y)/(1 − y))."""
    below, above = point.log_gap(-1.0), point.log_gap(1.0)
    moved = Point.beside(torch.zeros_like(below), 0.5 * (below - above))
    return moved, below + above, point.above(-1.0) & ~point.above(1.0)


def _relative(point: Point) -> tuple[Tensor, Tensor, Tensor]:
    """Where the offset is smaller than the anchor; the anchor, and their ratio there."""
    near = point.offset.abs() < point.anchor.abs()
    anchor = torch.where(near, point.anchor, 1.0)
    return near, anchor, torch.where(near, point.offset, 0.0) / anchor


_RULES = {
    td.AffineTransform: _from_affine,
    td.ExpTransform: _from_exp,
    td.PowerTransform: _from_power,
    td.SigmoidTransform: _from_sigmoid,
    td.TanhTransform: _from_tanh,
}
