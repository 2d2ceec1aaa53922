"""Distributions that can be inverted: a map from the unit cube to draws, for quasi-random points.

Points that fill the cube evenly, carried over by such a map, average a smooth function with an
error that falls nearly like 1/n, where independent draws leave 1/√n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

__all__ = ["Inverse", "inverse_of"]


@dataclass(frozen=True)
class Inverse:
    """`draws(u)` takes uniform points [n, dimension] to draws [n, *batch, *event]."""

    dimension: int
    draws: Callable[[Tensor], Tensor]


def inverse_of(distribution: Any) -> Inverse | None:
    """How to invert a distribution; None where that is not known.

    Example:
        >>> inverse = inverse_of(td.Independent(td.Exponential(torch.ones(2)), 1))
        >>> inverse.dimension, inverse.draws(torch.tensor([[0.0, 0.5]]))
        (2, tensor([[0.0000, 0.6931]]))
    """
    if isinstance(distribution, td.MixtureSameFamily):
        return _of_mixture(distribution)
    if isinstance(distribution, td.MultivariateNormal):
        return _of_multivariate_normal(distribution)
    if isinstance(distribution, td.LowRankMultivariateNormal):
        return _of_low_rank_normal(distribution)
    return _of_independent_coordinates(distribution)


def _of_independent_coordinates(distribution: Any) -> Inverse | None:
    """The quantile function of each coordinate."""
    base = distribution
    while isinstance(base, td.Independent):
        base = base.base_dist
    if not _has_quantiles(base):
        return None
    event = distribution.event_shape
    ones = (1,) * len(distribution.batch_shape)
    return Inverse(math.prod(event), lambda u: base.icdf(u.reshape(len(u), *ones, *event)))


def _has_quantiles(distribution: Any) -> bool:
    if not isinstance(distribution, td.Distribution) or distribution.event_shape:
        return False
    icdf = type(distribution).icdf
    if icdf is not td.TransformedDistribution.icdf:
        return icdf is not td.Distribution.icdf
    transformed: Any = distribution
    monotone = all(t.bijective and t.domain.event_dim == 0 for t in transformed.transforms)
    return monotone and _has_quantiles(transformed.base_dist)


def _of_multivariate_normal(p: td.MultivariateNormal) -> Inverse:
    def draws(u: Tensor) -> Tensor:
        z = torch.special.ndtri(u)
        return p.loc + torch.einsum("...ij,nj->n...i", p.scale_tril, z)

    return Inverse(p.event_shape[0], draws)


def _of_low_rank_normal(p: td.LowRankMultivariateNormal) -> Inverse:
    width, rank = p.event_shape[0], p.cov_factor.shape[-1]

    def draws(u: Tensor) -> Tensor:
        z = torch.special.ndtri(u)
        shared = torch.einsum("...ir,nr->n...i", p.cov_factor, z[:, width:])
        own = z[:, :width].reshape(len(z), *(1,) * len(p.batch_shape), width)
        return p.loc + shared + p.cov_diag.sqrt() * own

    return Inverse(width + rank, draws)


def _of_mixture(p: Any) -> Inverse | None:
    """The first coordinate picks the component, the others invert it."""
    component = inverse_of(p.component_distribution)
    if component is None:
        return None
    events = (...,) + (None,) * len(p.event_shape)
    dim = -1 - len(p.event_shape)

    def draws(u: Tensor) -> Tensor:
        ends = p.mixture_distribution.probs.cumsum(-1)
        first = u[:, 0].reshape(len(u), *(1,) * (ends.dim() - 1), 1)
        # Rounding may leave the last end below 1, and a component without weight is no choice.
        index = (first >= ends / ends[..., -1:]).sum(-1, keepdim=True)
        every = component.draws(u[:, 1:])
        index = index[events].expand(*every.shape[:dim], 1, *every.shape[every.dim() + dim + 1 :])
        return every.gather(dim, index).squeeze(dim)

    return Inverse(1 + component.dimension, draws)
