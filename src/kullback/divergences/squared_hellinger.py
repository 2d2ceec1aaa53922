"""The squared Hellinger distance."""

from __future__ import annotations

from torch import Tensor

from kullback.divergences.record import Conjugate, Divergence, FormulaId, below
from kullback.numerics import Pair, excess, expm1, log_power_mean


def _hellinger_terms(pair: Pair) -> Tensor:
    root_p, root_q = (0.5 * pair.log_p).exp(), (0.5 * pair.log_q).exp()
    return 0.5 * excess(root_p, root_q, 0.5 * pair.d) ** 2


def _hellinger_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    middle = log_power_mean(pair, 0.5).exp()
    return (
        -0.5 * excess(pair.p, middle, 0.5 * pair.d),
        -0.5 * excess(pair.q, middle, -0.5 * pair.d),
    )


SQUARED_HELLINGER = Divergence(
    name="squared_hellinger",
    formula="½ Σ (√p − √q)²",
    source="Tsybakov (2009), section 2.4.1, there without the ½",
    terms=_hellinger_terms,
    log_slopes=_hellinger_log_slopes,
    generator=lambda u: 0.5 * (u.sqrt() - 1) ** 2,
    symmetric=True,
    upper=1.0,
    formula_id=FormulaId("alpha", 0.5, 0.25),
    conjugate=Conjugate(
        value=below(0.5, lambda t: t / (1 - 2 * t)),
        end=0.5,
        slope_at_one=0.0,
        activation=lambda v: -0.5 * expm1(-v),
        of_score=lambda v: 0.5 * expm1(v),
    ),
)
