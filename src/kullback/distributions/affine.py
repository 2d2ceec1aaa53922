"""Families closed under affine maps: which member a + b·X is, for X of the family.

Each rule is one line; parameters are widened first, so that a chain of maps rounds nothing that
float32 would. A rule that needs b > 0, or a = 0, answers None where that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.factors import scale_factor
from kullback.distributions.parameters import is_traced, parameter_tensors, wide

__all__ = ["affine_image", "exponential_image", "logarithm_image"]


def affine_image(base: Distribution, loc: Any, scale: Any) -> Distribution | None:
    """The distribution of loc + scale·X, X ~ base, or None where no rule says."""
    rule = _IMAGES.get(type(base))
    if rule is None:
        return None
    like = wide(next(parameter_tensors(base)))[0]
    shift, factor = (torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (loc, scale))
    factor = _known(factor, factor != 0)
    return None if factor is None else rule(base, shift, factor)


def exponential_image(base: Any) -> Distribution | None:
    """The distribution of exp(X): a LogNormal for a Normal."""
    if type(base) is not td.Normal:
        return None
    return td.LogNormal(*wide(base.loc, base.scale), validate_args=False)


def logarithm_image(base: Any) -> Distribution | None:
    """The distribution of log X: a Normal for a LogNormal."""
    if type(base) is not td.LogNormal:
        return None
    return td.Normal(*wide(base.loc, base.scale), validate_args=False)


def _known(x: Tensor, condition: Tensor) -> Tensor | None:
    """x if the condition holds; else None, or NaN where compiled code cannot look."""
    if is_traced(condition):
        return torch.where(condition, x, torch.nan)
    return x if bool(condition.all()) else None


Rule = Callable[[Any, Tensor, Tensor], Distribution | None]


def _location_scale(kind: Any) -> Rule:
    def rule(p: Any, a: Tensor, b: Tensor) -> Distribution:
        loc, scale = wide(p.loc, p.scale)
        return kind(a + b * loc, b.abs() * scale, validate_args=False)

    return rule


def _scaled(kind: Any, *names: str, rate: str = "") -> Rule:
    """b·X alone, b > 0: the parameter `rate` shrinks, or "scale" grows, with it."""

    def rule(p: Any, a: Tensor, b: Tensor) -> Distribution | None:
        known = _known(b, (b > 0) & (a == 0))
        if known is None:
            return None
        values = dict(zip(names, wide(*(getattr(p, name) for name in names)), strict=True))
        name = rate or "scale"
        values[name] = values[name] / known if rate else values[name] * known
        values = dict(zip(values, torch.broadcast_tensors(*values.values()), strict=True))
        return kind(**values, validate_args=False)

    return rule


def _student_t(p: Any, a: Tensor, b: Tensor) -> Distribution:
    df, loc, scale = wide(p.df, p.loc, p.scale)
    return td.StudentT(df, a + b * loc, b.abs() * scale, validate_args=False)


def _gumbel(p: Any, a: Tensor, b: Tensor) -> Distribution | None:
    known = _known(b, b > 0)
    if known is None:
        return None
    loc, scale = wide(p.loc, p.scale)
    return td.Gumbel(a + known * loc, known * scale, validate_args=False)


def _uniform(p: Any, a: Tensor, b: Tensor) -> Distribution:
    first, last = (a + b * end for end in wide(p.low, p.high))
    return td.Uniform(torch.minimum(first, last), torch.maximum(first, last), validate_args=False)


def _log_normal(p: Any, a: Tensor, b: Tensor) -> Distribution | None:
    known = _known(b, (b > 0) & (a == 0))
    if known is None:
        return None
    loc, scale = wide(p.loc, p.scale)
    return td.LogNormal(loc + known.log(), scale, validate_args=False)


def _multivariate_normal(p: Any, a: Tensor, b: Tensor) -> Distribution:
    factor = scale_factor(p)
    b = b.expand(torch.broadcast_shapes(b.shape, p.event_shape))
    # A mirrored coordinate turns its column too, so that the diagonal stays positive.
    mirrored = b[..., :, None] * factor * b.sign()[..., None, :]
    loc = a + b * wide(p.loc)[0]
    return td.MultivariateNormal(loc, scale_tril=mirrored, validate_args=False)


def _low_rank(p: Any, a: Tensor, b: Tensor) -> Distribution:
    loc, columns, variance = wide(p.loc, p.cov_factor, p.cov_diag)
    b = b.expand(torch.broadcast_shapes(b.shape, p.event_shape))
    return td.LowRankMultivariateNormal(
        a + b * loc, b[..., None] * columns, b.square() * variance, validate_args=False
    )


_IMAGES: dict[type[Distribution], Rule] = {
    td.Cauchy: _location_scale(td.Cauchy),
    td.Exponential: _scaled(td.Exponential, "rate", rate="rate"),
    td.Gamma: _scaled(td.Gamma, "concentration", "rate", rate="rate"),
    td.Gumbel: _gumbel,
    td.HalfCauchy: _scaled(td.HalfCauchy, "scale"),
    td.HalfNormal: _scaled(td.HalfNormal, "scale"),
    td.Laplace: _location_scale(td.Laplace),
    td.LogNormal: _log_normal,
    td.LowRankMultivariateNormal: _low_rank,
    td.MultivariateNormal: _multivariate_normal,
    td.Normal: _location_scale(td.Normal),
    td.Pareto: _scaled(td.Pareto, "scale", "alpha"),
    td.StudentT: _student_t,
    td.Uniform: _uniform,
    td.Weibull: _scaled(td.Weibull, "scale", "concentration"),
}
