"""Log-densities over a few dimensions, at points given coordinate by coordinate.

Independent coordinates are taken one by one, with all the digits that `line_densities` keeps at
their ends; densities on the simplex from the logarithms of the shares. What else there is has a
`log_prob`, which is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from kullback.distributions.parameters import given
from kullback.distributions.quadrature.line_densities import log_density, rule_for
from kullback.distributions.quadrature.points import Point
from kullback.distributions.widening import dtype_of

__all__ = ["joint_log_density"]


def joint_log_density(p: Any, point: Point) -> Tensor:
    """log p at points whose fields are [..., *batch, d]; NaN where it cannot be told.

    `p` comes from `in_float64`. On the simplex there are d shares, as offsets from 0.
    """
    rule = rule_for(_RULES, p)
    value = None if rule is None else rule(p, point)
    return _asked(p, point) if value is None else value


def _asked(p: Any, point: Point) -> Tensor:
    return p.log_prob(point.x.to(dtype_of(p))).double()


def _independent(p: Any, at: Point) -> Tensor | None:
    if p.base_dist.event_shape or p.reinterpreted_batch_ndims != 1:
        return None
    return log_density(p.base_dist, at).sum(-1)


def _mixture(p: Any, at: Point) -> Tensor:
    choice = p.mixture_distribution
    logits = choice.logits if given(choice) == "logits" else choice.probs.log()
    each = Point(*(x.unsqueeze(-2) for x in vars(at).values()))
    parts = joint_log_density(p.component_distribution, each) + torch.log_softmax(logits, -1)
    nowhere = parts.amax(-1, keepdim=True) == -math.inf
    total = torch.logsumexp(torch.where(nowhere, 0.0, parts), -1)
    return torch.where(nowhere[..., 0], -math.inf, total)


def _dirichlet(p: Any, at: Point) -> Tensor:
    a = p.concentration
    normalizer = a.sum(-1).lgamma() - a.lgamma().sum(-1)
    return normalizer + ((a - 1) * at.log_offset).sum(-1)


def _logistic_normal(p: Any, at: Point) -> Tensor | None:
    """The sticks of torch's transform are logits, shifted by the logarithm of how many are left."""
    log_x = at.log_offset
    left = torch.logcumsumexp(log_x.flip(-1), -1).flip(-1)
    rest, share = left[..., 1:], log_x[..., :-1]
    count = log_x.shape[-1] - 1
    shift = torch.arange(count, 0, -1, dtype=log_x.dtype, device=log_x.device).log()
    normal = p.base_dist.base_dist
    z = (share - rest + shift - normal.loc) / normal.scale
    log_normal = -0.5 * z * z - normal.scale.log() - 0.5 * math.log(2 * math.pi)
    return (log_normal - share - rest + left[..., :-1]).sum(-1)


def _relaxed_categorical(p: Any, at: Point) -> Tensor:
    """(k − 1)! τ^(k−1) Π (π x^−τ / Σ π x^−τ) / Π x."""
    log_x = at.log_offset
    categorical = p.base_dist._categorical
    logits = categorical.logits if given(categorical) == "logits" else categorical.probs.log()
    count = log_x.shape[-1]
    scores = torch.log_softmax(logits - p.temperature[..., None] * log_x, -1)
    constant = math.lgamma(count) + (count - 1) * p.temperature.log()
    return constant + (scores - log_x).sum(-1)


_RULES: dict[type, Callable[[Any, Point], Tensor | None]] = {
    td.Dirichlet: _dirichlet,
    td.Independent: _independent,
    td.LogisticNormal: _logistic_normal,
    td.MixtureSameFamily: _mixture,
    td.RelaxedOneHotCategorical: _relaxed_categorical,
}
