"""Families closed under affine maps: which member a + b·X is, for X of the family.

Each rule is one line; parameters are widened first, so that a chain of maps rounds nothing that
float32 would. Three tables say which maps a family is closed under: any, those with b > 0, and
those with b > 0 and a = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.closed_forms.shared.factors import scale_factor
from kullback.distributions.parameters import is_traced, parameter_tensors, wide

__all__ = ["affine_image", "exponential_image", "logarithm_image"]


def affine_image(base: Distribution, loc: Any, scale: Any) -> Distribution | None:
    """The distribution of loc + scale·X, X ~ base, or None where no rule says."""
    kind = type(base)
    rule = _ANY.get(kind) or _GROWING.get(kind) or _STRETCHED.get(kind)
    if rule is None or _holds(scale, lambda b: b != 0) is False:
        return None
    if kind in _STRETCHED and not _holds(loc, lambda a: a == 0):
        return None
    if kind not in _ANY:
        positive = _holds(scale, lambda b: b > 0)
        if positive is False:
            return None
        # Compiled code cannot look, and carries NaN where a scale is not positive.
        scale = scale if positive else torch.where(scale > 0, scale, torch.nan)
    like = wide(next(parameter_tensors(base)))[0]
    shift, factor = (torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (loc, scale))
    return rule(base, shift, factor)


def _holds(x: Any, condition: Callable[[Any], Any]) -> bool | None:
    """Whether all of a number or tensor fulfils the condition; None where nobody can look."""
    if not isinstance(x, Tensor):
        return bool(condition(x))
    return None if is_traced(x) else bool(condition(x).all())


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


Rule = Callable[[Any, Tensor, Tensor], Distribution]


def _location_scale(kind: Any) -> Rule:
    def rule(p: Any, a: Tensor, b: Tensor) -> Distribution:
        loc, scale = wide(p.loc, p.scale)
        return kind(a + b * loc, b.abs() * scale, validate_args=False)

    return rule


def _scaled(kind: Any, *names: str, rate: str = "") -> Rule:
    """b·X alone: the parameter `rate` shrinks, or "scale" grows, with it."""

    def rule(p: Any, a: Tensor, b: Tensor) -> Distribution:
        values = dict(zip(names, wide(*(getattr(p, name) for name in names)), strict=True))
        name = rate or "scale"
        values[name] = values[name] / b if rate else values[name] * b
        values = dict(zip(values, torch.broadcast_tensors(*values.values()), strict=True))
        return kind(**values, validate_args=False)

    return rule


def _student_t(p: Any, a: Tensor, b: Tensor) -> Distribution:
    df, loc, scale = wide(p.df, p.loc, p.scale)
    return td.StudentT(df, a + b * loc, b.abs() * scale, validate_args=False)


def _uniform(p: Any, a: Tensor, b: Tensor) -> Distribution:
    first, last = (a + b * end for end in wide(p.low, p.high))
    return td.Uniform(torch.minimum(first, last), torch.maximum(first, last), validate_args=False)


def _log_normal(p: Any, a: Tensor, b: Tensor) -> Distribution:
    loc, scale = wide(p.loc, p.scale)
    return td.LogNormal(loc + b.log(), scale, validate_args=False)


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


_ANY: dict[type[Distribution], Rule] = {
    td.Cauchy: _location_scale(td.Cauchy),
    td.Laplace: _location_scale(td.Laplace),
    td.LowRankMultivariateNormal: _low_rank,
    td.MultivariateNormal: _multivariate_normal,
    td.Normal: _location_scale(td.Normal),
    td.StudentT: _student_t,
    td.Uniform: _uniform,
}
_GROWING: dict[type[Distribution], Rule] = {td.Gumbel: _location_scale(td.Gumbel)}
_STRETCHED: dict[type[Distribution], Rule] = {
    td.Exponential: _scaled(td.Exponential, "rate", rate="rate"),
    td.Gamma: _scaled(td.Gamma, "concentration", "rate", rate="rate"),
    td.HalfCauchy: _scaled(td.HalfCauchy, "scale"),
    td.HalfNormal: _scaled(td.HalfNormal, "scale"),
    td.LogNormal: _log_normal,
    td.Pareto: _scaled(td.Pareto, "scale", "alpha"),
    td.Weibull: _scaled(td.Weibull, "scale", "concentration"),
}
