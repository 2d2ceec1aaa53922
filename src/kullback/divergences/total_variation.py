"""Total variation."""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.divergences.record import Conjugate, Divergence, FormulaId, constant
from kullback.numerics import excess


def _total_variation_conjugate(t: Tensor) -> Tensor:
    return torch.where(t <= 0.5, torch.where(t < -0.5, -0.5, t), torch.inf)


TOTAL_VARIATION = Divergence(
    name="total_variation",
    formula="½ Σ |p − q|",
    source="Tsybakov (2009), Introduction to Nonparametric Estimation, lemma 2.1",
    terms=lambda pair: 0.5 * excess(pair.p, pair.q, pair.d).abs(),
    log_slopes=lambda pair: (-0.5 * pair.d.sign() * pair.p, 0.5 * pair.d.sign() * pair.q),
    generator=lambda u: 0.5 * (u - 1).abs(),
    symmetric=True,
    upper=1.0,
    slope_at_zero=(constant(-0.5), constant(-0.5)),
    formula_id=FormulaId("total_variation"),
    # f has a corner at 1: every slope between −½ and ½ would do there.
    conjugate=Conjugate(
        value=_total_variation_conjugate,
        end=0.5,
        slope_at_one=0.0,
        activation=lambda v: 0.5 * v.tanh(),
        of_score=lambda v: 0.5 * v.tanh(),
    ),
)
