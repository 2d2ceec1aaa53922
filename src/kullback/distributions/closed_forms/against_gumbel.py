"""KL(P‖Gumbel): the mean of P, and its Laplace transform at 1/β, which grows fast or is infinite.

−log q(x) = log β + (x − ν)/β + e^(−(x − ν)/β), so that a left tail that is not lighter than
exponential makes the divergence +inf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Cauchy,
    ContinuousBernoulli,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Laplace,
    Normal,
    StudentT,
    Uniform,
)

from kullback.distributions.closed_forms.continuous_bernoulli import logit_of
from kullback.distributions.closed_forms.generalized_gamma import as_generalized_gamma
from kullback.distributions.closed_forms.shared.line_law import (
    LINE_LAWS,
    entropy_in_full,
    infinite,
)
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.log_sinhc import log_sinhc

__all__: list[str] = []

Transform = Callable[[Any, Tensor, Tensor], Tensor]


def _normal(p: Normal, loc: Tensor, scale: Tensor) -> Tensor:
    mean, sigma = wide(p.loc, p.scale)
    return (loc - mean) / scale + 0.5 * (sigma / scale) ** 2


def _laplace(p: Laplace, loc: Tensor, scale: Tensor) -> Tensor:
    """1/(1 − b²/β²) for b < β."""
    mean, b = wide(p.loc, p.scale)
    ratio = b / scale
    finite = ratio < 1
    square = torch.where(finite, ratio * ratio, 0.0)
    return torch.where(finite, (loc - mean) / scale - (-square).log1p(), torch.inf)


def _uniform(p: Uniform, loc: Tensor, scale: Tensor) -> Tensor:
    low, high = wide(p.low, p.high)
    return (loc - 0.5 * (low + high)) / scale + log_sinhc((high - low) / scale)


def _continuous_bernoulli(p: ContinuousBernoulli, loc: Tensor, scale: Tensor) -> Tensor:
    logit = logit_of(p)
    return (loc - 0.5) / scale + log_sinhc(logit - 1 / scale) - log_sinhc(logit)


def _gamma(p: Any, loc: Tensor, scale: Tensor) -> Tensor:
    shape, _, log_width = as_generalized_gamma(p)
    return loc / scale - shape * (log_width.exp() / scale).log1p()


def _half_normal(p: HalfNormal, loc: Tensor, scale: Tensor) -> Tensor:
    (sigma,) = wide(p.scale)
    return loc / scale + torch.special.erfcx(sigma / scale * 0.5**0.5).log()


_TRANSFORMS: dict[type[Distribution], Transform] = {
    ContinuousBernoulli: _continuous_bernoulli,
    Exponential: _gamma,
    Gamma: _gamma,
    HalfNormal: _half_normal,
    Laplace: _laplace,
    Normal: _normal,
    Uniform: _uniform,
}


def _register(kind: type[Distribution], transform: Transform) -> None:
    @closed_form("kl", kind, Gumbel, source="Johnson, Kotz & Balakrishnan (1995), section 22.5")
    def _kl(p: Any, q: Gumbel) -> Tensor:
        """log β + E(x − ν)/β + E e^(−(x − ν)/β) − H(P)."""
        loc, scale = wide(q.loc, q.scale)
        mean = wide(p.loc)[0] if isinstance(p, Normal) else LINE_LAWS[kind](p).mean
        return (
            scale.log() + (mean - loc) / scale + transform(p, loc, scale).exp() - entropy_in_full(p)
        )


for _kind, _transform in _TRANSFORMS.items():
    _register(_kind, _transform)


for _heavy in (Cauchy, HalfCauchy, StudentT):
    closed_form("kl", _heavy, Gumbel, source="Johnson, Kotz & Balakrishnan (1994), section 16.2")(
        infinite
    )
