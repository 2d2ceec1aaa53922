"""HalfNormal and HalfCauchy: what Normal and Cauchy around 0 become when the sign is dropped.

Both densities are even, so that the divergence of the halves is that of the whole.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import HalfCauchy, HalfNormal

from kullback.distributions.closed_forms.generalized_gamma import register_against_family
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.closed_forms.shared.log_law import LogLaw, Moment, entropy_of_law
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import log_ratio, scale_divergence

__all__: list[str] = []


@closed_form("kl", HalfNormal, HalfNormal, source="Cover & Thomas (2006), eq. 8.46, at equal means")
def _kl_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    """(σ²/τ² − 1)/2 − log(σ/τ)."""
    return scale_divergence(*wide(p.scale, q.scale))


@closed_form(
    "renyi",
    HalfNormal,
    HalfNormal,
    source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures",
)
def _renyi_normal(p: HalfNormal, q: HalfNormal, alpha: float) -> Tensor:
    """Half of that of the rates 1/σ² and 1/τ²."""
    sigma, tau = wide(p.scale, q.scale)
    return 0.5 * renyi_of_rates(2 * log_ratio(sigma, tau), alpha)


@closed_form("wasserstein", HalfNormal, HalfNormal, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    """|σ − τ|, as E X² = σ²."""
    sigma, tau = wide(p.scale, q.scale)
    return (sigma - tau).abs()


@closed_form("kl", HalfCauchy, HalfCauchy, source="Chyzak & Nielsen (2019), arXiv:1905.10965")
def _kl_cauchy(p: HalfCauchy, q: HalfCauchy) -> Tensor:
    """log((γ + δ)²/(4γδ)), written log(1 + (γ − δ)²/(4γδ))."""
    gamma, delta = wide(p.scale, q.scale)
    difference = gamma - delta
    return (0.25 * (difference / gamma) * (difference / delta)).log1p()


def log_law(p: HalfCauchy) -> LogLaw:
    """E Xᵐ = γᵐ/cos(πm/2) for |m| < 1, else +inf; log(X/γ) is a hyperbolic secant variable."""
    (scale,) = wide(p.scale)
    variance = torch.full_like(scale, math.pi**2 / 4)

    def moment(m: Tensor) -> Moment:
        finite = m.abs() < 1
        m = torch.where(finite, m, 0.0)
        # cos(πm/2) both ways, so that neither end of the interval loses digits.
        sine, edge = torch.sin(0.5 * math.pi * m), torch.sin(0.5 * math.pi * (1 - m.abs()))
        middle = m.abs() < 0.5
        excess = -torch.where(
            middle, 0.5 * (-(torch.where(middle, sine, 0.0) ** 2)).log1p(), edge.log()
        )
        return Moment(finite, m * scale.log() + excess, excess, excess - 0.5 * m * m * variance)

    negentropy = torch.full_like(scale, 0.5 * math.log(math.pi * math.e / 8))
    return LogLaw(scale.log(), variance, negentropy, moment)


register_against_family(HalfCauchy, log_law, source="Gradshteyn & Ryzhik (2007), eq. 3.241.2")


@closed_form("entropy", HalfCauchy, source="Cover & Thomas (2006), table 17.1, less log 2")
def _entropy_cauchy(p: HalfCauchy) -> Tensor:
    """log 2πγ."""
    return entropy_of_law(log_law(p))
