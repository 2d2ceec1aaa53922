"""Uniform: averages over an interval, of whatever logarithm Q has a density of.

KL(P‖Q) = −log(high − low) − E log q, and +inf where Q does not cover the interval: the ends are
masked before a function sees them, so that the other elements of a batch keep their gradients.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Cauchy,
    ContinuousBernoulli,
    HalfCauchy,
    Kumaraswamy,
    Pareto,
    StudentT,
    Uniform,
)

from kullback.distributions.closed_forms.continuous_bernoulli import logit_of
from kullback.distributions.closed_forms.kumaraswamy import harmonic
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.elementary import length
from kullback.numerics.interval_averages import average_log, average_log1p_square
from kullback.numerics.log_beta import log_beta_bregman, log_gamma_half_step
from kullback.numerics.log_sinhc import log_sinhc

__all__ = ["ends_within"]

_SOURCE = "direct integration"


def ends_within(
    p: Uniform, low: float | Tensor, high: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where P lies within [low, high]; and its ends there, some interval within elsewhere."""
    start, stop = wide(p.low, p.high)
    covered = (start >= low) & (stop <= high)
    inside = torch.as_tensor(low, dtype=start.dtype, device=start.device)
    return (
        covered,
        torch.where(covered, start, inside + 0.25),
        torch.where(covered, stop, inside + 0.75),
    )


@closed_form("kl", Uniform, Uniform, source="Gil, Alajaji & Linder (2013), table 1")
def _kl(p: Uniform, q: Uniform) -> Tensor:
    """log of the ratio of the lengths, from what Q has beyond P on either side."""
    low_p, high_p, low_q, high_q = wide(p.low, p.high, q.low, q.high)
    covered = (low_q <= low_p) & (high_p <= high_q)
    beyond = torch.where(covered, (low_p - low_q) + (high_q - high_p), 0.0)
    return torch.where(covered, (beyond / (high_p - low_p)).log1p(), torch.inf)


@closed_form("renyi", Uniform, Uniform, source="Gil (2011), section 2.3.14")
def _renyi(p: Uniform, q: Uniform, alpha: float) -> Tensor:
    """(α log(P's length/overlap))/(1 − α) + log(Q's length/overlap) for α < 1; KL above."""
    if alpha > 1:
        return _kl(p, q)
    low_p, high_p, low_q, high_q = wide(p.low, p.high, q.low, q.high)
    low, high = torch.maximum(low_p, low_q), torch.minimum(high_p, high_q)
    meet = low < high
    overlap = torch.where(meet, high - low, 1.0)
    of_p, of_q = (
        (torch.where(meet, (low - start) + (stop - high), 0.0) / overlap).log1p()
        for start, stop in ((low_p, high_p), (low_q, high_q))
    )
    return torch.where(meet, alpha / (1 - alpha) * of_p + of_q, torch.inf)


@closed_form("total_variation", Uniform, Uniform, source=_SOURCE)
def _total_variation(p: Uniform, q: Uniform) -> Tensor:
    """The share of the longer interval that lies outside the other."""
    low_p, high_p, low_q, high_q = wide(p.low, p.high, q.low, q.high)
    longer = torch.maximum(high_p - low_p, high_q - low_q)
    p_longer = high_p - low_p >= high_q - low_q
    left, right = low_q - low_p, high_p - high_q
    left, right = (torch.where(p_longer, z, -z).clamp(min=0) for z in (left, right))
    return ((left + right) / longer).clamp(max=1)


@closed_form("entropy", Uniform, source="Cover & Thomas (2006), example 8.1.1")
def _entropy(p: Uniform) -> Tensor:
    low, high = wide(p.low, p.high)
    return (high - low).log()


@closed_form("wasserstein", Uniform, Uniform, source="Peyré & Cuturi (2019), remark 2.30")
def _wasserstein(p: Uniform, q: Uniform) -> Tensor:
    """The quantiles are m + w z, with E z = 0 and E z² = 1/12."""
    low_p, high_p, low_q, high_q = wide(p.low, p.high, q.low, q.high)
    low, high = low_p - low_q, high_p - high_q
    return length(0.5 * (low + high), (high - low) / math.sqrt(12))


@closed_form("kl", Uniform, Beta, source=_SOURCE)
def _kl_beta(p: Uniform, q: Beta) -> Tensor:
    """KL(Uniform(0, 1)‖Q), less what log x and log(1 − x) have more in P: nothing is large."""
    covered, low, high = ends_within(p, 0.0, 1.0)
    one, zero = wide(q.concentration1, q.concentration0)
    concentrations = torch.stack([one, zero], -1)
    whole = log_beta_bregman(concentrations, torch.ones_like(concentrations))
    at_one = (one - 1) * (1 + average_log(low, high))
    at_zero = (zero - 1) * (1 + average_log(1 - high, 1 - low))
    return torch.where(covered, whole - (high - low).log() - at_one - at_zero, torch.inf)


@closed_form("kl", Uniform, ContinuousBernoulli, source=_SOURCE)
def _kl_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    covered, low, high = ends_within(p, 0.0, 1.0)
    logit = logit_of(q)
    value = log_sinhc(logit) - logit * (0.5 * (low + high) - 0.5) - (high - low).log()
    return torch.where(covered, value, torch.inf)


@closed_form("kl", Uniform, Kumaraswamy, source="Jones (2009), section 3")
def _kl_kumaraswamy(p: Uniform, q: Kumaraswamy) -> Tensor:
    """E log(1 − xᵃ) = −H_{1/a}, the harmonic number, over the whole unit interval."""
    covered, low, high = ends_within(p, 0.0, 1.0)
    a, b = wide(q.concentration1, q.concentration0)
    value = (
        (b - 1) * harmonic(1 / a) - (a - 1) * average_log(low, high) - (a * b * (high - low)).log()
    )
    known = ~covered | (b == 1) | ((low == 0) & (high == 1))
    return only_where(
        known, torch.where(covered, value, torch.inf), "it is exact for P = Uniform(0, 1)"
    )


@closed_form("kl", Uniform, Cauchy, source=_SOURCE)
def _kl_cauchy(p: Uniform, q: Cauchy) -> Tensor:
    low, high, loc, scale = wide(p.low, p.high, q.loc, q.scale)
    spread = average_log1p_square((low - loc) / scale, (high - loc) / scale)
    return (math.pi * scale / (high - low)).log() + spread


@closed_form("kl", Uniform, HalfCauchy, source=_SOURCE)
def _kl_half_cauchy(p: Uniform, q: HalfCauchy) -> Tensor:
    covered, low, high = ends_within(p, 0.0, math.inf)
    (scale,) = wide(q.scale)
    value = (0.5 * math.pi * scale / (high - low)).log()
    return torch.where(covered, value + average_log1p_square(low / scale, high / scale), torch.inf)


@closed_form("kl", Uniform, Pareto, source=_SOURCE)
def _kl_pareto(p: Uniform, q: Pareto) -> Tensor:
    """−log(high − low) − log(a sᵃ) + (a + 1) E log x."""
    scale, alpha = wide(q.scale, q.alpha)
    covered, low, high = ends_within(p, scale, math.inf)
    mean = average_log(low, high)
    value = mean - ((high - low) * alpha).log() + alpha * (mean - scale.log())
    return torch.where(covered, value, torch.inf)


@closed_form("kl", Uniform, StudentT, source=_SOURCE)
def _kl_student(p: Uniform, q: StudentT) -> Tensor:
    low, high, df, loc, scale = wide(p.low, p.high, q.df, q.loc, q.scale)
    width = df.sqrt() * scale
    spread = average_log1p_square((low - loc) / width, (high - loc) / width)
    normalizer = 0.5 * math.log(math.pi) - log_gamma_half_step(0.5 * df)
    return (width / (high - low)).log() + normalizer + 0.5 * (df + 1) * spread
