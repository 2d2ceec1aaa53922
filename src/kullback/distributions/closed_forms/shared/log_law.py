"""KL(P‖Q) on the positive half-line from what is known of log X under P, for any such P.

Every density of Q below is, in y = log x, either normal or proportional to exp(bmy − (eʸ/t)ᵐ).
So the divergence needs of P only the entropy, mean and variance of log X, and one moment E Xᵐ.
What is left is written as parts that say how far P is from what Q can be, each ≥ 0 or small:

| part | it is |
| --- | --- |
| `negentropy` | how far log X is from normal with its own variance |
| `binet(b)` | how far Q is from a log-normal |
| ½ (v − 1 − log v), v = b m² Var(log X) | that the two widths differ |
| b·(log E Xᵐ − m E log X − ½ m² Var(log X)) | that P leans where Q cannot |
| b log(b/M) − b + M, M = E(X/t)ᵐ | that Q is not where P is |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kullback.numerics import exp_remainder, itakura_saito
from kullback.numerics.binet import binet

__all__ = [
    "GeneralizedGamma",
    "LogLaw",
    "Moment",
    "entropy_of_law",
    "kl_to_generalized_gamma",
    "kl_to_log_normal",
]

# Up to this v the difference v − 1 − log v is taken by itself; beyond it is the larger evil.
_WIDE = 4.0


class Moment(NamedTuple):
    """E Xᵐ; where it is infinite the other fields are finite and mean nothing.

    Attributes:
        finite: where the moment is.
        log: log E Xᵐ.
        excess: log E Xᵐ − m E log X ≥ 0.
        skew: the excess less ½ m² Var(log X), to full precision where both are small.
    """

    finite: Tensor
    log: Tensor
    excess: Tensor
    skew: Tensor


class LogLaw(NamedTuple):
    """What is known of log X for X > 0.

    Attributes:
        mean: E log X.
        variance: of log X.
        negentropy: ½ log(2πe·variance) − H(log X) ≥ 0, zero for a log-normal X.
        moment: from m to E Xᵐ.
    """

    mean: Tensor
    variance: Tensor
    negentropy: Tensor
    moment: Callable[[Tensor], Moment]


class GeneralizedGamma(NamedTuple):
    """X = exp(log_scale)·T^(1/power) for T ~ Gamma(shape, 1): Stacy's family; power may be < 0."""

    shape: Tensor
    power: Tensor
    log_scale: Tensor


def kl_to_generalized_gamma(p: LogLaw, q: GeneralizedGamma) -> Tensor:
    """The sum of the five parts; +inf where E_P Xᵐ is infinite.

    Source: Bauckhage (2014), Computing the Kullback–Leibler Divergence between two Generalized
    Gamma Distributions, arXiv:1401.6853, with any P in the place of his.
    """
    b, m, log_t = q
    moment = p.moment(m)
    v = b * m * m * p.variance
    narrow = v < _WIDE
    v_narrow, v_wide = torch.where(narrow, v, 1.0), torch.where(narrow, 1.0, v)
    close = 0.5 * itakura_saito(v_narrow, torch.ones_like(v_narrow)) + b * moment.skew
    apart = b * moment.excess - 0.5 - 0.5 * v_wide.log()
    shape = p.negentropy + binet(b) + torch.where(narrow, close, apart)
    d = moment.log - m * log_t - b.log()
    return torch.where(moment.finite, shape + exp_remainder(b, b * d.exp(), d), math.inf)


def kl_to_log_normal(p: LogLaw, loc: Tensor, scale: Tensor) -> Tensor:
    """The negentropy, and the divergence of two normals with the mean and variance of log X."""
    z = (p.mean - loc) / scale
    return p.negentropy + 0.5 * itakura_saito(p.variance, scale * scale) + 0.5 * z * z


def entropy_of_law(p: LogLaw) -> Tensor:
    """H(X) = H(log X) + E log X."""
    normal = 0.5 * (math.log(2 * math.pi * math.e) + p.variance.log())
    return p.mean + normal - p.negentropy
