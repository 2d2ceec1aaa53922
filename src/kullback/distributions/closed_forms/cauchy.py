"""Cauchy and Student's t: heavy tails, whose logarithms a Cauchy distribution integrates exactly.

E log(a² + (X − ν)²) = log((a + γ)² + (μ − ν)²) for X of Cauchy(μ, γ), so that every Student's t
can stand in for a Cauchy distribution in closed form; the reverse has one only at one degree.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Cauchy, HalfCauchy, StudentT

from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.binet import binet, binet_slope
from kullback.numerics.log_beta import log_gamma_half_step

__all__ = ["student_entropy_excess"]


@closed_form("kl", Cauchy, Cauchy, source="Chyzak & Nielsen (2019), theorem 1")
def _kl(p: Cauchy, q: Cauchy) -> Tensor:
    """log(((γ + δ)² + (μ − ν)²)/(4γδ)), symmetric, as log(1 + ((γ − δ)² + (μ − ν)²)/(4γδ))."""
    return _kl_of(*wide(p.loc, p.scale, q.loc, q.scale))


def _kl_of(loc_p: Tensor, scale_p: Tensor, loc_q: Tensor, scale_q: Tensor) -> Tensor:
    apart, wider = loc_p - loc_q, scale_p - scale_q
    squares = (apart / scale_p) * (apart / scale_q) + (wider / scale_p) * (wider / scale_q)
    return (0.25 * squares).log1p()


@closed_form("kl", Cauchy, StudentT, source="Chyzak & Nielsen (2019), eq. 20")
def _kl_student(p: Cauchy, q: StudentT) -> Tensor:
    """The Cauchy distribution with Q's location and scale √n·s, and what the degrees n add."""
    loc_p, scale_p, df, loc_q, scale_q = wide(p.loc, p.scale, q.df, q.loc, q.scale)
    width = df.sqrt() * scale_q
    half = 0.5 * df
    normalizer = 0.5 * math.log(math.pi) - log_gamma_half_step(half)
    apart, wider = (loc_p - loc_q) / width, 1 + scale_p / width
    log_square = (wider * wider + apart * apart).log()
    return width.log() + normalizer + (half + 0.5) * log_square - (4 * math.pi * scale_p).log()


@closed_form("kl", StudentT, StudentT, source="Chyzak & Nielsen (2019), theorem 1, at df = 1")
def _kl_students(p: StudentT, q: StudentT) -> Tensor:
    value = _kl_of(*wide(p.loc, p.scale, q.loc, q.scale))
    return only_where((p.df == 1) & (q.df == 1), value, "it is exact where both df are 1")


@closed_form("kl", StudentT, Cauchy, source="Chyzak & Nielsen (2019), theorem 1, at df = 1")
def _kl_of_student(p: StudentT, q: Cauchy) -> Tensor:
    value = _kl_of(*wide(p.loc, p.scale, q.loc, q.scale))
    return only_where((p.df == 1).expand(value.shape), value, "it is exact where df is 1")


@closed_form("kl", HalfCauchy, Cauchy, source="Chyzak & Nielsen (2019), theorem 1, by symmetry")
def _kl_half(p: HalfCauchy, q: Cauchy) -> Tensor:
    """log 2 more than that of the whole Cauchy distribution, where Q is centred at 0."""
    scale_p, loc_q, scale_q = wide(p.scale, q.loc, q.scale)
    centre = torch.zeros_like(scale_p)
    value = math.log(2) + _kl_of(centre, scale_p, torch.zeros_like(loc_q), scale_q)
    return only_where((loc_q == 0).expand(value.shape), value, "it is exact where Q's loc is 0")


@closed_form("entropy", Cauchy, source="Johnson, Kotz & Balakrishnan (1994), section 16.2")
def _entropy(p: Cauchy) -> Tensor:
    (scale,) = wide(p.scale)
    return math.log(4 * math.pi) + scale.log()


@closed_form("entropy", StudentT, source="Johnson, Kotz & Balakrishnan (1995), section 28.2")
def _entropy_student(p: StudentT) -> Tensor:
    df, scale = wide(p.df, p.scale)
    return 0.5 * math.log(2 * math.pi * math.e) + scale.log() + student_entropy_excess(df)


def student_entropy_excess(df: Tensor) -> Tensor:
    """The entropy of Student's t less that of the Normal of the same scale: near 1/df, > 0."""
    x = 0.5 * df
    slope = binet_slope(x + 0.5) - binet_slope(x)
    rest = (x + 0.5) * slope - (binet(x + 0.5) - binet(x))
    return 0.5 * (0.5 / x).log1p() + 0.25 / x + rest
