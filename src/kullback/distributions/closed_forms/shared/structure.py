"""Distributions made of others, brought to their simplest form, and compared part by part.

An affine map of a Normal is a Normal; the exponential of one is a LogNormal; a map that does
nothing can go. And a one-to-one map that both sides share changes no divergence of densities, so
it can be taken off both. Nothing here knows a divergence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import (
    Distribution,
    Transform,
    TransformedDistribution,
    constraints,
    transforms,
)

from kullback.distributions.closed_forms.shared.affine import (
    affine_image,
    exponential_image,
    logarithm_image,
)
from kullback.distributions.parameters import is_traced, wide
from kullback.distributions.supports import support_of

__all__ = ["elementary", "injective", "last_transform", "same_transform", "simplified"]


def simplified(p: Distribution) -> Distribution:
    """The simplest distribution with the law of `p`; `p` itself where there is none simpler.

    Example:
        >>> affine = transforms.AffineTransform(1.0, 2.0)
        >>> simplified(TransformedDistribution(td.Normal(0.0, 1.0), [affine]))
        Normal(loc: 1.0, scale: 2.0)
    """
    if isinstance(p, td.Independent):
        return _simplified_independent(p)
    if isinstance(p, TransformedDistribution) and not is_named(p):
        return _simplified_image(p)
    return p


def is_named(p: Distribution) -> bool:
    """Whether torch has this image of another distribution under a name of its own: LogNormal."""
    kind = type(p)
    return kind is not TransformedDistribution and kind.__module__.startswith("torch.")


def _simplified_independent(p: Any) -> Distribution:
    base, dims = simplified(p.base_dist), p.reinterpreted_batch_ndims
    if dims == 0:
        return base
    if isinstance(base, td.Independent):
        inner: Any = base
        dims += inner.reinterpreted_batch_ndims
        return td.Independent(inner.base_dist, dims, validate_args=False)
    return p if base is p.base_dist else td.Independent(base, dims, validate_args=False)


def _simplified_image(p: Any) -> Distribution:
    current = simplified(p.base_dist)
    left: list[Transform] = []
    for part in elementary(p.transforms):
        image = None if left else _image(current, part)
        if image is not None:
            current = image
        elif left and _undoes(part, left[-1]):
            left.pop()
        else:
            shrunk = None if left else _without_shift(current, part)
            current, part = shrunk or (current, part)
            left.append(part)
    if not left:
        return current
    if current is p.base_dist and len(left) == len(p.transforms):
        return p
    return TransformedDistribution(current, left, validate_args=False)


def elementary(chain: Any) -> Iterator[Transform]:
    """The transforms of a chain, compositions written out and neighbouring affine maps made one."""
    pending = None
    for part in _written_out(chain):
        if not isinstance(part, transforms.AffineTransform):
            if pending is not None:
                yield pending
            pending = None
            yield part
        elif pending is None:
            pending = part
        else:
            a, b, c, d = map(_widened, (pending.loc, pending.scale, part.loc, part.scale))
            pending = transforms.AffineTransform(c + d * a, d * b)
    if pending is not None:
        yield pending


def _widened(x: Any) -> Any:
    return wide(x)[0] if isinstance(x, Tensor) else x


def _written_out(chain: Any) -> Iterator[Transform]:
    for part in chain:
        inner = part.inv if isinstance(part, transforms._InverseTransform) else None
        if isinstance(part, transforms.ComposeTransform):
            yield from _written_out(part.parts)
        elif isinstance(part, transforms.IndependentTransform):
            # What it says of dimensions, the base distribution has been told already.
            yield from _written_out([part.base_transform])
        elif isinstance(inner, transforms.AffineTransform):
            loc, scale = _widened(inner.loc), _widened(inner.scale)
            yield transforms.AffineTransform(-loc / scale, 1 / scale)
        else:
            yield part


def _undoes(second: Transform, first: Transform) -> bool:
    for one, other in ((first, second), (second, first)):
        if isinstance(one, transforms._InverseTransform):
            return bool(one.bijective) and same_transform(one.inv, other) is True
    return False


def _without_shift(base: Any, part: Transform) -> tuple[Distribution, Transform] | None:
    """a + bX as the shift by a of the image bX, where that one has a name."""
    if not isinstance(part, transforms.AffineTransform):
        return None
    if not isinstance(part.scale, Tensor) and part.scale == 1:
        return None
    scaled = _image(base, transforms.AffineTransform(0.0, part.scale))
    return None if scaled is None else (scaled, transforms.AffineTransform(part.loc, 1.0))


def _image(base: Any, part: Transform) -> Distribution | None:
    """The named distribution of part(X) for X ~ base, or None."""
    if isinstance(base, td.Independent):
        inner: Any = base
        image = _image(inner.base_dist, part)
        if image is None or image.batch_shape != inner.base_dist.batch_shape:
            return None
        return td.Independent(image, inner.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(part, transforms.AffineTransform):
        return affine_image(base, part.loc, part.scale)
    if isinstance(part, transforms.ExpTransform):
        return exponential_image(base)
    if isinstance(part, transforms._InverseTransform) and isinstance(
        part.inv, transforms.ExpTransform
    ):
        return logarithm_image(base)
    return None


def last_transform(p: Distribution) -> tuple[Distribution, Transform] | None:
    """P as the image of another distribution under one transform; None if it is no image.

    An Independent of images is the image of an Independent, element by element.
    """
    if isinstance(p, td.Independent):
        inner: Any = p
        taken = last_transform(inner.base_dist)
        if taken is None or taken[1].domain.event_dim or taken[1].codomain.event_dim:
            return None
        rest = td.Independent(taken[0], inner.reinterpreted_batch_ndims, validate_args=False)
        return rest, taken[1]
    if not isinstance(p, TransformedDistribution):
        return None
    chain = list(elementary(p.transforms))
    if not chain:
        return None
    if len(chain) == 1:
        return p.base_dist, chain[0]
    return TransformedDistribution(p.base_dist, chain[:-1], validate_args=False), chain[-1]


def same_transform(one: Transform, other: Transform) -> Tensor | bool:
    """Whether two transforms are the same map; a tensor where that depends on numbers.

    False also where two equal parameters are different tensors and one is being differentiated:
    their gradients would tell them apart.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    names = _PARAMETERS.get(type(one))
    if names is not None:
        verdicts = [_same_value(getattr(one, name), getattr(other, name)) for name in names]
        return _every(verdicts)
    if isinstance(one, transforms._InverseTransform):
        return same_transform(one.inv, other.inv)
    if isinstance(one, (transforms.CatTransform, transforms.StackTransform)):
        return _same_parts(one, other)
    return bool(one == other)


_PARAMETERS: dict[type, tuple[str, ...]] = {
    transforms.AffineTransform: ("loc", "scale"),
    transforms.PowerTransform: ("exponent",),
    transforms.ReshapeTransform: ("in_shape", "out_shape"),
    transforms.CorrCholeskyTransform: (),
}


def _same_parts(one: Any, other: Any) -> Tensor | bool:
    if one.dim != other.dim or len(one.transforms) != len(other.transforms):
        return False
    if getattr(one, "lengths", None) != getattr(other, "lengths", None):
        return False
    return _every(
        [same_transform(*pair) for pair in zip(one.transforms, other.transforms, strict=True)]
    )


def _same_value(x: Any, y: Any) -> Tensor | bool:
    if x is y:
        return True
    tensors = [side for side in (x, y) if isinstance(side, Tensor)]
    if not tensors:
        return x == y
    if torch.is_grad_enabled() and any(side.requires_grad for side in tensors):
        return False
    return torch.as_tensor(x == y).all()


def _every(verdicts: list[Tensor | bool]) -> Tensor | bool:
    if any(verdict is False for verdict in verdicts):
        return False
    looked_at = [verdict for verdict in verdicts if isinstance(verdict, Tensor)]
    return torch.stack(looked_at).all() if looked_at else True


def injective(transform: Transform, base: Distribution) -> bool:
    """Whether the transform is one-to-one where `base` lives, as far as can be told."""
    if not transform.bijective:
        return False
    for name in ("scale", "exponent"):
        factor = getattr(transform, name, 1.0)
        if not isinstance(factor, Tensor):
            if factor == 0:
                return False
        elif not is_traced(factor) and bool((factor == 0).any()):
            return False
    support, domain = support_of(base), transform.domain
    if support.low is None or support.high is None:
        return True
    while isinstance(domain, constraints.independent):
        domain = domain.base_constraint
    low = getattr(domain, "lower_bound", -torch.inf)
    high = getattr(domain, "upper_bound", torch.inf)
    inside = (support.low >= low) & (support.high <= high)
    return is_traced(inside) or bool(inside.all())
