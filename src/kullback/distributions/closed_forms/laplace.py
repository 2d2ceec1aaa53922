"""Laplace: two-sided exponentials, whose kink at the location splits every integral in two."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Laplace

from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.elementary import length, magnitude, sinhc
from kullback.numerics.fused import fused
from kullback.numerics.pairs import exp_remainder, expm1, log_ratio
from kullback.numerics.special import itakura_saito

__all__: list[str] = []


@closed_form("kl", Laplace, Laplace, source="Gil, Alajaji & Linder (2013), table 1")
def _kl(p: Laplace, q: Laplace) -> Tensor:
    """b/c − log(b/c) − 1 + (b/c)(e⁻ᵈ − 1 + d), d = |μ − ν|/b."""
    return fused("laplace", _of_parameters, (p.loc, p.scale, q.loc, q.scale))


def _of_parameters(*parameters: Tensor) -> Tensor:
    loc_p, scale_p, loc_q, scale_q = wide(*parameters)
    d = magnitude(loc_p - loc_q) / scale_p
    apart = exp_remainder(torch.ones_like(d), (-d).exp(), -d)
    return itakura_saito(scale_p, scale_q) + scale_p / scale_q * apart


@closed_form("renyi", Laplace, Laplace, source="Gil, Alajaji & Linder (2013)")
def _renyi(p: Laplace, q: Laplace, alpha: float) -> Tensor:
    """That of the rates 1/b and 1/c, and log(e⁻ᴹ(cosh D + M sinh(D)/D))/(α − 1) of the locations,

    where 2M = (α/b + (1 − α)/c)|μ − ν| and 2D = (α/b − (1 − α)/c)|μ − ν|.
    """
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    of_rates = renyi_of_rates(log_ratio(scale_p, scale_q), alpha)
    x, y = alpha / scale_p, (1 - alpha) / scale_q
    gap = magnitude(loc_p - loc_q)
    finite = torch.isfinite(of_rates)
    middle, spread = (0.5 * gap * torch.where(finite, z, 0.0) for z in (x + y, x - y))
    return of_rates + _log_overlap(middle, spread) / (alpha - 1)


def _log_overlap(m: Tensor, d: Tensor) -> Tensor:
    """log(cosh d + m sinh(d)/d) − m: what moving two kernels apart leaves of their product.

    | where | value |
    | --- | --- |
    | m < ½ and |d| < ½ | c − (m + c − log(1 + m + c)), c = cosh d − 1 + m (sinh(d)/d − 1) |
    | elsewhere | |d| − m + log((1 + e^(−2|d|))/2 + m (1 − e^(−2|d|))/(2|d|)) |
    """
    near = (m < 0.5) & (d.abs() < 0.5)
    m_near, d_near = torch.where(near, m, 0.0), torch.where(near, d, 0.0)
    half = sinhc(0.5 * d_near)
    square = d_near * d_near
    c = 0.5 * square * half * half + m_near * square * _sinhc_excess(square)
    close = c - exp_remainder(torch.ones_like(c), 1 + m_near + c, (m_near + c).log1p())
    size = magnitude(torch.where(near, 1.0, d))
    short = size < 1
    twice = 2 * torch.where(short, 1.0, size)
    within = (-size).exp() * sinhc(torch.where(short, size, 0.0))
    share = torch.where(short, within, -expm1(-twice) / twice)
    far = size - m + (0.5 * (1 + (-2 * size).exp()) + m * share).log()
    return torch.where(near, close, far)


def _sinhc_excess(square: Tensor) -> Tensor:
    """(sinh(d)/d − 1)/d² for d² < ¼."""
    series = torch.ones_like(square)
    for n in range(7, 1, -1):
        series = 1 + square / ((2 * n) * (2 * n + 1)) * series
    return series / 6


@closed_form("entropy", Laplace, source="Cover & Thomas (2006), table 17.1")
def _entropy(p: Laplace) -> Tensor:
    (scale,) = wide(p.scale)
    return 1 + math.log(2) + scale.log()


@closed_form("wasserstein", Laplace, Laplace, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: Laplace, q: Laplace) -> Tensor:
    """√((μ − ν)² + 2 (b − c)²): the quantiles are μ + b z, with E z = 0 and E z² = 2."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    return length(loc_p - loc_q, math.sqrt(2) * (scale_p - scale_q))


@closed_form("total_variation", Laplace, Laplace, source="direct integration")
def _total_variation(p: Laplace, q: Laplace) -> Tensor:
    """1 − e^(−|μ − ν|/2b) for equal scales; (1 − r) r^(r/(1−r)) at one location, r = b/c < 1."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    shifted = -expm1(-0.5 * magnitude(loc_p - loc_q) / scale_p)
    step = magnitude(scale_p - scale_q)
    same = step == 0
    relative = torch.where(same, 0.5, step / torch.maximum(scale_p, scale_q))
    # The densities cross at |x − μ| = t with t/b = −log(r)/(1 − r), t/c = r t/b.
    crossing = (1 - relative) * (-relative).log1p() / relative
    scaled = torch.where(same, 0.0, relative * crossing.exp())
    known = same | (loc_p == loc_q)
    value = torch.where(same, shifted, scaled)
    return only_where(known, value, "it is exact at one location or at one scale")
