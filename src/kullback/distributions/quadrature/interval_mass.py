"""The mass a distribution on the line has between two points, as a logarithm, also in its tails.

F(high) − F(low) is a difference of two numbers near 1 in an upper tail. There it is taken of the
survival functions instead, which a short table knows for torch's families.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Cauchy,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    StudentT,
    Weibull,
)

from kullback.distributions.widening import in_float64
from kullback.numerics import accumulation_dtype
from kullback.numerics.incomplete import beta_tails, gamma_tails
from kullback.numerics.normal_interval import log_normal_mass
from kullback.numerics.pairs import expm1

__all__ = ["has_known_mass", "log_mass_between", "standardized"]

# F(x) and 1 − F(x) at a finite x within the support.
Tails = tuple[Tensor, Tensor]


def has_known_mass(base: Any) -> bool:
    """Whether the mass between two points is known: in the table here, or by the base's cdf."""
    return type(base) in _TAILS or type(base).cdf is not Distribution.cdf


def log_mass_between(base: Any, low: Tensor, high: Tensor) -> Tensor:
    """log P(low < X < high) under `base`, wide: −inf where low ≥ high; the ends may be infinite.

    Example:
        >>> low, high = torch.tensor([0.0, 5.0]), torch.tensor(math.inf)
        >>> log_mass_between(Normal(0.0, 1.0), low, high)
        tensor([ -0.6931, -15.0650], dtype=torch.float64)
    """
    apart = low < high
    wide = accumulation_dtype(low)
    low, high = (x.to(wide) for x in (low, high))
    base = in_float64(base) if wide == torch.float64 else base
    if isinstance(base, (Normal, LogNormal)):
        start, stop = (standardized(base, x) for x in (low, high))
        value = log_normal_mass(torch.where(apart, start, -1.0), torch.where(apart, stop, 1.0))
    elif isinstance(base, Exponential):
        value = _log_exponential_mass(base.rate, low, high, apart)
    else:
        mass = _mass(_TAILS.get(type(base), _by_cdf), base, low, high)
        value = torch.where(apart & (mass > 0), mass, 1.0).log()
        value = torch.where(mass > 0, value, -math.inf)
    return torch.where(apart, value, -math.inf)


def standardized(base: Normal | LogNormal, x: Tensor) -> Tensor:
    """(x − μ)/σ, of log x for a LogNormal; infinite values stay, and carry no gradient."""
    wide = accumulation_dtype(x)
    end = x.detach().to(wide)
    if isinstance(base, LogNormal):
        empty = x <= 0
        x, end = torch.where(empty, 1.0, x).log(), torch.where(empty, -math.inf, end)
        finite = end.isfinite()
    else:
        finite = x.isfinite()
    at = torch.where(finite, x, 0.0).to(wide)
    return torch.where(finite, (at - base.loc.to(wide)) / base.scale.to(wide), end)


def _log_exponential_mass(rate: Tensor, low: Tensor, high: Tensor, apart: Tensor) -> Tensor:
    bounded = high.isfinite()
    length = torch.where(apart & bounded, high, 1.0) - torch.where(apart & bounded, low, 0.0)
    share = torch.where(bounded, (-expm1(-rate * length)).log(), 0.0)
    return share - rate * torch.where(apart, low, 0.0)


def _mass(tails: Callable[[Any, Tensor], Tails], base: Any, low: Tensor, high: Tensor) -> Tensor:
    """The difference of F or, where most of the mass is below `low`, of 1 − F."""
    bottom, top = low.isfinite(), high.isfinite()
    inside = torch.where(bottom, low, torch.where(top, high, 0.0)).detach()
    below_low, above_low = tails(base, torch.where(bottom, low, inside))
    below_high, above_high = tails(base, torch.where(top, high, inside))
    below = torch.where(top, below_high, 1.0) - torch.where(bottom, below_low, 0.0)
    above = torch.where(bottom, above_low, 1.0) - torch.where(top, above_high, 0.0)
    return torch.where(bottom & (below_low > 0.5), above, below)


def _by_cdf(p: Any, x: Tensor) -> Tails:
    below = p.cdf(x)
    return below, 1 - below


def _laplace(p: Laplace, x: Tensor) -> Tails:
    z = (x - p.loc) / p.scale
    tail = 0.5 * (-z.abs()).exp()
    return torch.where(z < 0, tail, 1 - tail), torch.where(z < 0, 1 - tail, tail)


def _cauchy(p: Cauchy, x: Tensor) -> Tails:
    z = (x - p.loc) / p.scale
    one = torch.ones_like(z)
    return torch.atan2(one, -z) / math.pi, torch.atan2(one, z) / math.pi


def _half_cauchy(p: HalfCauchy, x: Tensor) -> Tails:
    z = x / p.scale
    return 2 / math.pi * z.atan(), 2 / math.pi * torch.atan2(torch.ones_like(z), z)


def _half_normal(p: HalfNormal, x: Tensor) -> Tails:
    z = x / p.scale * math.sqrt(0.5)
    return torch.erf(z), torch.erfc(z)


def _of_log_survival(log_survival: Tensor) -> Tails:
    return -expm1(log_survival), log_survival.exp()


def _gumbel(p: Gumbel, x: Tensor) -> Tails:
    above, below = _of_log_survival(-(-(x - p.loc) / p.scale).exp())
    return below, above


def _pareto(p: Pareto, x: Tensor) -> Tails:
    return _of_log_survival(-p.alpha * (x / p.scale).log())


def _weibull(p: Weibull, x: Tensor) -> Tails:
    return _of_log_survival(-((x / p.scale) ** p.concentration))


def _gamma(p: Gamma, x: Tensor) -> Tails:
    positive = x > 0
    below, above = gamma_tails(p.concentration, torch.where(positive, p.rate * x, 1.0))
    return torch.where(positive, below, 0.0), torch.where(positive, above, 1.0)


def _beta(p: Beta, x: Tensor) -> Tails:
    inside = (x > 0) & (x < 1)
    at = torch.where(inside, x, 0.5)
    below, above = beta_tails(p.concentration1, p.concentration0, at, 1 - at)
    outside = (x >= 1).to(at.dtype)
    return torch.where(inside, below, outside), torch.where(inside, above, 1 - outside)


def _student(p: StudentT, x: Tensor) -> Tails:
    """P(T > |k|) is half of P(Y < n/(n + k²)) for Y ~ Beta(n/2, ½)."""
    z = (x - p.loc) / p.scale
    square = torch.where(z == 0, 1e-300, z * z)
    half = torch.full_like(p.df, 0.5)
    share = p.df / (p.df + square)
    tail = 0.5 * beta_tails(0.5 * p.df, half, share, square / (p.df + square))[0]
    return torch.where(z < 0, tail, 1 - tail), torch.where(z < 0, 1 - tail, tail)


_TAILS: dict[type, Callable[[Any, Tensor], Tails]] = {
    Beta: _beta,
    Cauchy: _cauchy,
    Gamma: _gamma,
    Gumbel: _gumbel,
    HalfCauchy: _half_cauchy,
    HalfNormal: _half_normal,
    Laplace: _laplace,
    Pareto: _pareto,
    StudentT: _student,
    Weibull: _weibull,
}
