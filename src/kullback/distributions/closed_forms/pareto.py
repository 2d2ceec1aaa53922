"""Pareto: log(X/scale) is Exponential, so that its divergences are those of two rates.

P must not begin before Q does: KL(P‖Q) is +inf where it does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Pareto

from kullback.distributions.closed_forms.generalized_gamma import register_against_family
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.closed_forms.shared.log_law import LogLaw, Moment, entropy_of_law
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics import expm1, itakura_saito, log_ratio, safe_root
from kullback.numerics.remainders import log_quotient, rate_divergence

__all__: list[str] = []

# ½ log 2πe less the entropy of the unit Exponential.
_NEGENTROPY = 0.5 * math.log(2 * math.pi * math.e) - 1


def log_law(p: Pareto) -> LogLaw:
    """E Xᵐ = sᵐ a/(a − m) for m < a, else +inf."""
    s, a = wide(p.scale, p.alpha)

    def moment(m: Tensor) -> Moment:
        finite = m < a
        m = torch.where(finite, m, 0.0)
        excess = rate_divergence(a - m, a, -m)
        log = m * s.log() - log_quotient(a - m, a, -m)
        return Moment(finite, log, excess, excess - 0.5 * (m / a) ** 2)

    return LogLaw(s.log() + 1 / a, 1 / (a * a), torch.full_like(a, _NEGENTROPY), moment)


register_against_family(Pareto, log_law, source="Johnson, Kotz & Balakrishnan (1994), chapter 20")


@closed_form("entropy", Pareto, source="Cover & Thomas (2006), table 17.1")
def _entropy(p: Pareto) -> Tensor:
    return entropy_of_law(log_law(p))


@closed_form("kl", Pareto, Pareto, source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures")
def _kl(p: Pareto, q: Pareto) -> Tensor:
    """b/a − log(b/a) − 1 + b log(s/t) for s ≥ t, else +inf."""
    s, a, t, b = wide(p.scale, p.alpha, q.scale, q.alpha)
    covered = s >= t
    before = log_ratio(torch.where(covered, t, s), s)
    return torch.where(covered, itakura_saito(b, a) + b * before, math.inf)


@closed_form(
    "renyi", Pareto, Pareto, source="Gil, Alajaji & Linder (2013), Rényi Divergence Measures"
)
def _renyi(p: Pareto, q: Pareto, alpha: float) -> Tensor:
    """That of the rates a and b, and b log(s/t), or (α/(1−α))·a log(t/s) where s < t and α < 1."""
    s, a, t, b = wide(p.scale, p.alpha, q.scale, q.alpha)
    rates = renyi_of_rates(log_ratio(b, a), alpha)
    covered = s >= t
    log_gap = log_ratio(t, s)
    if alpha > 1:
        return torch.where(covered, rates + b * torch.where(covered, log_gap, 0.0), math.inf)
    return rates + torch.where(covered, b * log_gap, -alpha / (1 - alpha) * a * log_gap)


@closed_form("wasserstein", Pareto, Pareto, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: Pareto, q: Pareto) -> Tensor:
    """√(A + B − 2C) for A = s²/(1 − 2/a), B = t²/(1 − 2/b) and C = st/(1 − 1/a − 1/b).

    +inf where a or b is 2 or less, save for equal distributions. It is taken as
    (√A − √B)² + 2(√(AB) − C), where (√(AB)/C)² = 1/(1 − ((1/a − 1/b)/(1 − 1/a − 1/b))²).
    """
    s, a, t, b = wide(p.scale, p.alpha, q.scale, q.alpha)
    same = (s == t) & (a == b)
    finite = (a > 2) & (b > 2)
    a, b = torch.where(finite, a, 4.0), torch.where(finite, b, 4.0)
    step = (b - a) / a / b
    in_a, in_b, middle = (a - 2) / a, (b - 2) / b, 1 - 1 / a - 1 / b
    root_a, root_b = s / in_a.sqrt(), t / in_b.sqrt()
    log_gap = log_ratio(t, s) - 0.5 * log_quotient(in_a, in_b, -2 * step)
    near = log_gap.abs() < 1
    gap = torch.where(near, root_b * expm1(torch.where(near, log_gap, 0.0)), root_a - root_b)
    spread = 0.5 * (-((step / middle) ** 2)).log1p()
    value = safe_root(gap * gap - 2 * root_a * root_b * expm1(spread))
    return torch.where(finite, value, torch.where(same, 0.0, math.inf))
