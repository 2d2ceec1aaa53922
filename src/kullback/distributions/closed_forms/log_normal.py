"""LogNormal: its logarithm is normal, so its moments are all finite and known.

KL(LogNormal‖LogNormal) is in `normal`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import LogNormal

from kullback.distributions.closed_forms.generalized_gamma import FAMILY, as_generalized_gamma
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.closed_forms.shared.log_law import (
    LogLaw,
    Moment,
    entropy_of_law,
    kl_to_generalized_gamma,
)
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import expm1, log_ratio, safe_root

__all__: list[str] = []


def log_law(p: LogNormal) -> LogLaw:
    """E Xᵐ = exp(mμ + ½ m²σ²): nothing but a mean and a variance."""
    loc, scale = wide(p.loc, p.scale)

    def moment(m: Tensor) -> Moment:
        excess = 0.5 * (m * scale) ** 2
        everywhere = torch.ones_like(excess, dtype=torch.bool)
        return Moment(everywhere, m * loc + excess, excess, torch.zeros_like(excess))

    return LogLaw(loc, scale * scale, torch.zeros_like(scale), moment)


for _q in FAMILY:
    closed_form("kl", LogNormal, _q, source="Johnson, Kotz & Balakrishnan (1994), chapter 14")(
        lambda p, q: kl_to_generalized_gamma(log_law(p), as_generalized_gamma(q))
    )


@closed_form("entropy", LogNormal, source="Cover & Thomas (2006), table 17.1")
def _entropy(p: LogNormal) -> Tensor:
    return entropy_of_law(log_law(p))


@closed_form(
    "renyi", LogNormal, LogNormal, source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures"
)
def _renyi(p: LogNormal, q: LogNormal, alpha: float) -> Tensor:
    """α (μ − ν)²/(2v) and half of the rates' 1/σ² and 1/τ², for v = ατ² + (1−α)σ² > 0."""
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    widths = 0.5 * renyi_of_rates(2 * log_ratio(scale_p, scale_q), alpha)
    mean = alpha * scale_q**2 + (1 - alpha) * scale_p**2
    finite = (mean > 0) & widths.isfinite()
    shift = 0.5 * alpha * (loc_p - loc_q) ** 2 / torch.where(finite, mean, 1.0)
    return torch.where(finite, shift + widths, math.inf)


@closed_form("wasserstein", LogNormal, LogNormal, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: LogNormal, q: LogNormal) -> Tensor:
    """√(A + B − 2C) for A = E X², B = E Y² and C = exp(μ + ν + (σ + τ)²/2).

    Both are increasing functions of one normal variable. It is taken as
    (√A − √B)² + 2(√(AB) − C), where log(C/√(AB)) = −(σ − τ)²/2.
    """
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    log_gap = loc_p - loc_q + (scale_p - scale_q) * (scale_p + scale_q)
    root_a, root_b = (loc_p + scale_p**2).exp(), (loc_q + scale_q**2).exp()
    near = log_gap.abs() < 1
    gap = torch.where(near, root_b * expm1(torch.where(near, log_gap, 0.0)), root_a - root_b)
    return safe_root(gap * gap - 2 * root_a * root_b * expm1(-0.5 * (scale_p - scale_q) ** 2))
