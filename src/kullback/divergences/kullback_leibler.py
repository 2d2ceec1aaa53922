"""KL in both directions, their sum, and the cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.divergences.record import (
    Conjugate,
    Divergence,
    FormulaId,
    Functional,
    below,
    no_slope,
)
from kullback.numerics import Pair, excess, exp_remainder, times

CROSS_ENTROPY = Functional(
    name="cross_entropy",
    formula="−Σ p log q",
    source="Cover & Thomas (2006), Elements of Information Theory, eq. 5.26",
    terms=lambda pair: times(pair.p, -pair.log_q),
    log_slopes=lambda pair: (times(pair.p, -pair.log_q), -pair.p),
    slope_at_zero=(lambda pair: -pair.log_q, no_slope),
)


def _kl_terms(pair: Pair) -> Tensor:
    return exp_remainder(pair.p, pair.q, pair.d)


def _kl_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    return times(pair.p, -pair.d), excess(pair.p, pair.q, pair.d)


KL = Divergence(
    name="kl",
    formula="Σ p log(p/q)",
    source="Kullback & Leibler (1951), On Information and Sufficiency, eq. 2.4",
    terms=_kl_terms,
    log_slopes=_kl_log_slopes,
    generator=lambda u: torch.xlogy(u, u),
    formula_id=FormulaId("kl"),
    conjugate=Conjugate(
        value=lambda t: (t - 1).exp(),
        end=torch.inf,
        slope_at_one=1.0,
        activation=lambda v: v,
        of_score=lambda v: (v - 1).exp(),
    ),
)


def _reverse_kl_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    of_q, of_p = _kl_log_slopes(pair.swapped())
    return of_p, of_q


REVERSE_KL = Divergence(
    name="reverse_kl",
    formula="Σ q log(q/p)",
    source="Kullback & Leibler (1951), eq. 2.4 with the hypotheses exchanged",
    terms=lambda pair: _kl_terms(pair.swapped()),
    log_slopes=_reverse_kl_log_slopes,
    generator=lambda u: -u.log(),
    formula_id=FormulaId("reverse_kl"),
    conjugate=Conjugate(
        value=below(0.0, lambda t: -1 - (-t).log()),
        end=0.0,
        slope_at_one=-1.0,
        activation=lambda v: -(-v).exp(),
        of_score=lambda v: v - 1,
    ),
)


def _jeffreys_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    kl_p, kl_q = _kl_log_slopes(pair)
    reverse_p, reverse_q = _reverse_kl_log_slopes(pair)
    return kl_p + reverse_p, kl_q + reverse_q


JEFFREYS = Divergence(
    name="jeffreys",
    formula="Σ (p − q) log(p/q)",
    source="Jeffreys (1946), An Invariant Form for the Prior Probability, eq. 1",
    terms=lambda pair: _kl_terms(pair) + _kl_terms(pair.swapped()),
    log_slopes=_jeffreys_log_slopes,
    generator=lambda u: torch.xlogy(u, u) - u.log(),
    symmetric=True,
    formula_id=FormulaId("jeffreys"),
)
