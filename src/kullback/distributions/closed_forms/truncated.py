"""Truncations: of one distribution by their masses, of two Normals by truncated moments.

Of one base, the narrower truncation P has the density of the wider Q over a constant, so that
KL(P‖Q) is the log of the ratio of their masses; it is taken from the mass that P cuts off beyond
Q, which vanishes with it.
"""

from __future__ import annotations

import math

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
    Uniform,
    Weibull,
)

from kullback.distributions.closed_forms.truncated_normal import kl_of_truncated_normal
from kullback.distributions.dispatch import Declined, closed_form, only_where
from kullback.distributions.parameters import given, parameter_tensors, wide
from kullback.distributions.quadrature.interval_mass import log_mass_between, standardized
from kullback.distributions.truncated import Truncated
from kullback.numerics.normal_interval import normal_moments

__all__: list[str] = []

_SOURCE = "Nielsen (2022), Statistical divergences between truncated exponential families"

_BASES: tuple[type[Distribution], ...] = (
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Laplace,
    LogNormal,
    Pareto,
    StudentT,
    Weibull,
)


@closed_form("kl", Truncated, Truncated, source=_SOURCE)
def _kl(p: Truncated, q: Truncated) -> Tensor:
    """log(Q's mass/P's mass) where both cut one base and P lies within Q; +inf beyond Q.

    Two Normals with other parameters have one by the first two moments of P.
    """
    covered = (q.low <= p.low) & (p.high <= q.high)
    same = _same_parameters(p.base, q.base)
    beyond = _log_beyond(p, q, covered)
    if isinstance(p.base, Normal) and isinstance(q.base, Normal):
        mass = torch.where(covered, q.log_mass, 0.0)
        other = kl_of_truncated_normal(p, p.base, q.base, mass)
        value = torch.where(same, beyond, other)
    else:
        value = only_where(same | ~covered, beyond, "it is exact where both cut one base")
    return torch.where(covered, value, math.inf)


def _log_beyond(p: Truncated, q: Truncated, covered: Tensor) -> Tensor:
    """log(1 + the mass between the ends of P and Q over P's mass)."""
    value = torch.zeros_like(p.log_mass)
    for start, stop in ((q.low, p.low), (p.high, q.high)):
        some = covered & (start < stop)
        low, high = torch.where(some, start, 0.0), torch.where(some, stop, 0.0)
        log_share = log_mass_between(p.base.expand(some.shape), low, high) - p.log_mass
        sum_of = torch.logaddexp(value, torch.where(some, log_share, 0.0))
        value = torch.where(some, sum_of, value)
    return value


@closed_form("kl", Truncated, Normal, source="Johnson, Kotz & Balakrishnan (1994), section 13.10.1")
def _kl_normal(p: Truncated, q: Normal) -> Tensor:
    """−log(P's mass) for P's own base; by the first two moments of P for another Normal."""
    if not isinstance(p.base, Normal):
        raise Declined("it is exact for a truncated Normal")
    other = kl_of_truncated_normal(p, p.base, q, torch.zeros_like(p.log_mass))
    return torch.where(_same_parameters(p.base, q), -p.log_mass, other)


@closed_form("entropy", Truncated, source="Johnson, Kotz & Balakrishnan (1994), section 13.10.1")
def _entropy(p: Truncated) -> Tensor:
    """log σ + ½ log 2π + ½ E z² + log(mass), for a truncated Normal."""
    if not isinstance(p.base, Normal):
        raise Declined("it is exact for a truncated Normal")
    (scale,) = wide(p.base.scale)
    second = normal_moments(standardized(p.base, p.low), standardized(p.base, p.high))[1]
    return scale.log() + 0.5 * (math.log(2 * math.pi) + second) + p.log_mass


@closed_form("kl", Uniform, Truncated, source=_SOURCE)
def _kl_of_uniform(p: Uniform, q: Truncated) -> Tensor:
    """KL(P‖Q's base) + log(Q's mass) where P lies within Q; +inf elsewhere."""
    from kullback.distributions.answers import kl_in_full

    covered = (q.low <= p.low) & (p.high <= q.high)
    return torch.where(covered, kl_in_full(p, q.base) + q.log_mass, math.inf)


def _kl_base(p: Truncated, q: Distribution) -> Tensor:
    """−log(P's mass) for P's own base."""
    same = _same_parameters(p.base, q)
    value = (-p.log_mass).expand(same.shape)
    return only_where(same, value, "it is exact where Q is P before it was truncated")


for _base in _BASES:
    closed_form("kl", Truncated, _base, source=_SOURCE)(_kl_base)


def _same_parameters(p: Distribution, q: Distribution) -> Tensor:
    """Where two distributions are the same, of broadcast batch shape."""
    like = next(parameter_tensors(p))
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    same = torch.ones(shape, dtype=torch.bool, device=like.device)
    names = [name for name in p.arg_constraints if name not in ("probs", "logits")]
    if "probs" in p.arg_constraints and given(p) == given(q):
        names.append(given(p))
    if type(p) is not type(q) or not names:
        return same & (p is q)
    for name in names:
        same = same & (getattr(p, name) == getattr(q, name))
    return same
