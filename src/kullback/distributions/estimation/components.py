"""The parts of a mixture, and numbers for every pair of one part of P with one part of Q.

A distribution that is no mixture is one with a single part, so that mixtures compare with those
too. What Gaussian parts have beyond others, the integral of their product and their moments, is
here as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.parameters import given
from kullback.distributions.widening import in_float64
from kullback.errors import InputError, NoClosedForm

__all__ = ["Parts", "gaussian", "parts_of"]


@dataclass(frozen=True)
class Parts:
    """Log-weights [*batch, parts], and the parts as one distribution of that batch shape."""

    log_weights: Tensor
    each: Distribution

    @property
    def weights(self) -> Tensor:
        return self.log_weights.exp()

    def kl(self, other: Parts) -> Tensor:
        """KL(f_a‖g_b) of every pair, [*batch, parts, parts of the other].

        Raises:
            InputError: no closed form for a pair of parts.
        """
        from kullback.distributions.answers import kl_in_full

        try:
            return kl_in_full(_with_dimension(self.each, -1), _with_dimension(other.each, -2))
        except NoClosedForm as missing:
            raise InputError(
                "the bounds on mixtures are made of exact divergences of their components, and "
                f'there is none here: {missing}. method="monte_carlo" needs none'
            ) from None


def parts_of(p: Any) -> Parts:
    """The parts of a mixture, in float64; of anything else, itself as the only one."""
    p = in_float64(p)
    if isinstance(p, td.MixtureSameFamily):
        return Parts(_log_weights(p.mixture_distribution), p.component_distribution)
    each = _with_dimension(p, -1)
    return Parts(torch.zeros(each.batch_shape, dtype=torch.float64), each)


def _log_weights(labels: Any) -> Tensor:
    if given(labels) == "logits":
        return labels.logits.log_softmax(-1)
    return labels.probs.log() - labels.probs.sum(-1, keepdim=True).log()


def _with_dimension(p: Any, position: int) -> Any:
    """The same distribution with a batch dimension of size 1 more, at `position` < 0."""
    if isinstance(p, td.Independent):
        dims = p.reinterpreted_batch_ndims
        return td.Independent(_with_dimension(p.base_dist, position - dims), dims)
    names = _parameters(p)
    if not names:
        raise InputError(
            f"the parts of a {type(p).__name__} cannot be compared one by one: the methods for "
            "mixtures need components with parameters, such as Normal or MultivariateNormal"
        )
    parameters = {}
    for name in names:
        value, constraint = getattr(p, name), p.arg_constraints[name]
        parameters[name] = value.unsqueeze(position - constraint.event_dim)
    return type(p)(**parameters, validate_args=False)


def _parameters(p: Any) -> list[str]:
    """The names that make `p`, one of each set of alternatives."""
    names = list(p.arg_constraints)
    if "scale_tril" in names:
        return [name for name in names if name not in ("covariance_matrix", "precision_matrix")]
    if "probs" in names and "logits" in names:
        names.remove("logits" if given(p) == "probs" else "probs")
    return names


@dataclass(frozen=True)
class Gaussian:
    """The means [..., d] and covariances [..., d, d] of Gaussian parts."""

    mean: Tensor
    covariance: Tensor

    @property
    def dimension(self) -> int:
        return self.mean.shape[-1]

    @property
    def root(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return torch.linalg.cholesky(self.covariance)

    @property
    def entropy(self) -> Tensor:
        """½ log det(2πe Σ). Source: Cover & Thomas (2006), theorem 8.4.1."""
        log_det = 2 * self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 0.5 * (self.dimension * math.log(2 * math.pi * math.e) + log_det)

    def log_overlap(self, other: Gaussian) -> Tensor:
        """log ∫ f_a g_b = log N(μ_a; μ_b, Σ_a + Σ_b) of every pair, [..., parts, parts]."""
        covariance = self.covariance[..., :, None, :, :] + other.covariance[..., None, :, :, :]
        gap = self.mean[..., :, None, :] - other.mean[..., None, :, :]
        root = torch.linalg.cholesky(covariance)
        z = torch.linalg.solve_triangular(root, gap[..., None], upper=False)[..., 0]
        log_root = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (z**2).sum(-1) - log_root - 0.5 * self.dimension * math.log(2 * math.pi)

    def matched(self, weights: Tensor) -> Gaussian:
        """The one Gaussian with the mean and covariance of the mixture."""
        mean = (weights[..., None] * self.mean).sum(-2)
        gap = self.mean - mean[..., None, :]
        spread = self.covariance + gap[..., :, None] * gap[..., None, :]
        return Gaussian(mean, (weights[..., None, None] * spread).sum(-3))


def gaussian(p: Any) -> Gaussian | None:
    """Mean and covariance of Normals, of vectors of independent ones, and of MultivariateNormals.

    None of anything else, whose density two moments do not make.
    """
    if isinstance(p, (td.MultivariateNormal, td.LowRankMultivariateNormal)):
        return Gaussian(p.mean, p.covariance_matrix)
    base = p
    while isinstance(base, td.Independent):
        base = base.base_dist
    if not isinstance(base, td.Normal):
        return None
    flat = (*p.batch_shape, -1)
    return Gaussian(p.mean.reshape(flat), torch.diag_embed(p.variance.reshape(flat)))
