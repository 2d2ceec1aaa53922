"""The alpha-divergences, and Pearson's χ², which is one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from kullback.divergences.kullback_leibler import KL, REVERSE_KL
from kullback.divergences.record import (
    Conjugate,
    Divergence,
    FormulaId,
    below,
    constant,
    member,
    no_slope,
)
from kullback.errors import InputError
from kullback.numerics import Pair, excess, exp_remainder, expm1, log_power_mean


def alpha(alpha: float) -> Divergence:
    """The record of the alpha-divergence; alpha = 1 is KL(p‖q), alpha = 0 is KL(q‖p).

    Raises:
        InputError: an alpha that is no finite number.
    """
    if not isinstance(alpha, Real) or not math.isfinite(alpha):
        raise InputError(f"alpha={alpha!r}: pass a finite number, such as 0.5")
    if alpha == 1:
        return KL
    if alpha == 0:
        return REVERSE_KL

    def generator(u: Tensor) -> Tensor:
        return expm1(alpha * u.log()) / (alpha * (alpha - 1))

    record = Divergence(
        name="alpha",
        formula="(Σ p^α q^(1−α) − 1) / (α(α − 1))",
        source="Cichocki & Amari (2010), Families of Alpha- Beta- and Gamma-Divergences, eq. 1",
        terms=lambda pair: _alpha_terms(pair, alpha),
        log_slopes=lambda pair: _alpha_log_slopes(pair, alpha),
        generator=generator,
        symmetric=alpha == 0.5,
        upper=1 / (alpha * (1 - alpha)) if 0 < alpha < 1 else torch.inf,
        slope_at_zero=(
            constant(-1 / (alpha - 1)) if alpha > 1 else no_slope,
            constant(1 / alpha) if alpha < 0 else no_slope,
        ),
        formula_id=FormulaId("alpha", alpha) if 0 < alpha < 1 else None,
        conjugate=_alpha_conjugate(alpha),
    )
    return member(record, alpha)


def _alpha_conjugate(alpha: float) -> Conjugate:
    """f*(t) = (w^κ − 1)/α + 1/(α − 1) with w = (α − 1)t and κ = α/(α − 1).

    | α | w of a score v | t < end | beyond |
    | --- | --- | --- | --- |
    | > 1 | 1 + (α − 1)v, and 0 where that is negative | ∞ | |
    | < 1 | e^((α − 1)v) | 0 | +∞; at 0 itself w^κ = 0 if α < 0 |

    Both have v = 0 at the threshold, and v = log p/q in the limit α → 1. The paper's g for α < 1,
    −log(1 + e^(−v)) here, has T = f′(1) at v ≈ 1/(α − 1) and f* beyond all numbers at v = 0.
    1/(α − 1) is in T and in f* alike; without it both have a limit as α → 1, v and e^v − 1.
    """
    power, slope = alpha / (alpha - 1), 1 / (alpha - 1)

    def of_log(log_w: Tensor) -> Tensor:
        return expm1(power * log_w) / alpha

    # w = 0 here is u = 0, where f* stays what it is.
    lowest = -1 / alpha

    def of_part(part: Tensor) -> Tensor:
        positive = part > -1
        return torch.where(
            positive,
            of_log(torch.where(positive, part, 0.0).log1p()),
            torch.full_like(part, lowest),
        )

    if alpha > 1:
        return Conjugate(
            value=lambda t: of_part((alpha - 1) * t - 1) + slope,
            end=torch.inf,
            slope_at_one=slope,
            activation=lambda v: v,
            of_score=lambda v: of_part((alpha - 1) * v),
            offset=slope,
        )
    log_rest = math.log(1 - alpha)
    value = below(0.0, lambda t: of_log(log_rest + (-t).log()) + slope)
    return Conjugate(
        value=value if alpha > 0 else lambda t: torch.where(t == 0, lowest + slope, value(t)),
        end=0.0,
        slope_at_one=slope,
        activation=lambda v: expm1((alpha - 1) * v) / (alpha - 1),
        of_score=lambda v: expm1(alpha * v) / alpha,
        offset=slope,
    )


def _alpha_terms(pair: Pair, alpha: float) -> Tensor:
    """[p^α q^(1−α) − α p − (1 − α) q] / (α(α − 1)), for α ≥ ½ with β = 1 − α as a difference of

    | where | remainders or excesses, over 1 − β |
    | --- | --- |
    | d near 0 | R(d) − R(βd)/β, each R of second order |
    | elsewhere | E(d) − E(βd)/β, where p·d has left both |

    so that neither α → 1 nor p → q cancels; α < ½ is the same with the sides exchanged.
    """
    if alpha < 0.5:
        return _alpha_terms(pair.swapped(), 1 - alpha)
    beta = 1 - alpha
    power = log_power_mean(pair, alpha).exp()

    def combine(part: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        return part(pair.p, pair.q, pair.d) - part(pair.p, power, beta * pair.d) / beta

    near = pair.d.abs() < 0.35
    return torch.where(near, combine(exp_remainder), combine(excess)) / (1 - beta)


def _alpha_log_slopes(pair: Pair, alpha: float) -> tuple[Tensor, Tensor]:
    power = log_power_mean(pair, alpha).exp()
    of_p = excess(pair.p, power, (1 - alpha) * pair.d) / (alpha - 1)
    of_q = -excess(pair.q, power, -alpha * pair.d) / alpha
    return of_p, of_q


def _chi_squared_terms(pair: Pair) -> Tensor:
    return 2 * _alpha_terms(pair, 2.0)


def _chi_squared_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    of_p, of_q = _alpha_log_slopes(pair, 2.0)
    return 2 * of_p, 2 * of_q


def _chi_squared_conjugate(t: Tensor) -> Tensor:
    # Below −2 the supremum is at u = 0.
    t = torch.where(t < -2, -2.0, t)
    return t + 0.25 * t**2


CHI_SQUARED = Divergence(
    name="chi_squared",
    formula="Σ (p − q)² / q",
    source="Pearson (1900); Tsybakov (2009), section 2.4.1",
    terms=_chi_squared_terms,
    log_slopes=_chi_squared_log_slopes,
    generator=lambda u: (u - 1) ** 2,
    slope_at_zero=(constant(-2.0), no_slope),
    conjugate=Conjugate(
        value=_chi_squared_conjugate,
        end=torch.inf,
        slope_at_one=0.0,
        activation=lambda v: v,
        of_score=_chi_squared_conjugate,
    ),
)
