"""Divergences of two densities on the line, by quadrature with an error that can be believed.

Panels start from every landmark of both sides, are halved where Kronrod's and Gauss's sums differ,
and reach so far into tails and singular ends that what lies beyond can be judged by its slope:
bounded, divergent, or neither, and then said so. The masses of both densities are integrated
along, so that a peak that was missed shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.adaptive import Integrand, Refined, refine
from kullback.distributions.integrands import infinite_without
from kullback.distributions.landmarks import landmarks
from kullback.distributions.panels import (
    FARTHEST,
    cut_line,
    first_panels,
)
from kullback.distributions.quadrature_gradients import outer_share, with_gradient
from kullback.distributions.remainders import Rest, rests
from kullback.distributions.supports import Support, escape, support_of
from kullback.distributions.widening import in_float64
from kullback.divergences import Functional
from kullback.errors import InputError

__all__ = ["Integral", "check_line", "integrate"]

# A mass this far from 1 is no rounding: something was missed, or is no density.
_MASS_MISSED = 1e-5
# Log-ratios of missed mass are taken to be at most about this large in the error.
_RATIO_OF_MISSED = 30.0


@dataclass(frozen=True)
class Integral:
    """An integral with its error, for each element of a batch.

    Attributes:
        value: the integral; +inf where it was found divergent, NaN where it was not shown finite.
        error: a bound of |value − truth|: node error, truncation and rounding.
        finite: whether it is finite; False too where that was not shown.
        trusted: whether value and error can be believed; a divergence that was found counts.
        evaluations: at how many points the densities were taken, for each element.
        note: what there is to say about elements that are not trusted or not finite.
    """

    value: Tensor
    error: Tensor
    finite: Tensor
    trusted: Tensor
    evaluations: int
    note: str = ""


def integrate(p: Any, q: Any, record: Functional, *, rtol: float = 1e-9) -> Integral:
    """∫ record.terms(p(x), q(x)) dx over the line, differentiable in the parameters of p and q.

    Args:
        p, q: distributions over scalars with a density: anything with `log_prob`, best one of
            torch's. Batch shapes broadcast.
        record: whose terms are integrated: `kullback.divergences.KL` for KL(P‖Q) in nats.
        rtol: relative node error at which panels are halved no more.

    Returns:
        An `Integral` of float64 tensors of the broadcast batch shape.

    Raises:
        InputError: events that are no scalars, or a discrete support.

    Source: Piessens, de Doncker-Kapenga, Überhuber & Kahaner (1983), QUADPACK, for the rule.

    Example:
        >>> from kullback.divergences import KL
        >>> from torch.distributions import Laplace, Normal
        >>> kl = integrate(Normal(0.0, 1.0), Laplace(0.0, 1.0), KL)
        >>> print(f"{kl.value:.12f}", bool(kl.trusted), bool(kl.error < 1e-10))
        0.072093208158 True True
        >>> from torch.distributions import Cauchy
        >>> integrate(Cauchy(0.0, 1.0), Normal(0.0, 1.0), KL).value
        tensor(inf, dtype=torch.float64)
    """
    p, q = in_float64(p), in_float64(q)
    of_p, of_q = check_line(p, "p"), check_line(q, "q")
    batch = torch.broadcast_shapes(_batch_of(p), _batch_of(q))
    # Of ends on one spot that side's counts outside of which the other adds nothing infinite.
    first, second = (p, q) if math.isfinite(outer_share(record)[1]) else (q, p)
    halves = cut_line(landmarks(first) + landmarks(second), *_hull(of_p, of_q), batch)
    integrand = Integrand(p, q, record)
    refined = refine(integrand, halves, first_panels(halves), rtol)
    found = refined.sums.value.sum(0)
    of_terms, of_p_mass, of_q_mass = rests(integrand, halves, refined.limit, FARTHEST, found)
    value = found + of_terms.value
    if torch.is_grad_enabled():
        value = with_gradient(value, integrand, halves, refined, (of_p, of_q))
    masses = _missed(refined, of_p_mass, of_q_mass)
    impossible = _impossible(p, q, record, batch).to(value.device)
    return _judged(value, refined, of_terms, masses, impossible)


def check_line(p: Any, side: str) -> Support:
    """The support of a density over scalars; an error for anything else."""
    support = support_of(p)
    if tuple(getattr(p, "event_shape", ())) or support.discrete or support.kind not in _LINES:
        raise InputError(
            f"{side} is a {type(p).__name__} over {support.words}: integrate() takes densities "
            "over scalars; kullback.estimate() chooses a way for others"
        )
    return support


_LINES = ("box", "unknown")


def _batch_of(p: Any) -> torch.Size:
    return torch.Size(getattr(p, "batch_shape", ()))


def _hull(of_p: Support, of_q: Support) -> tuple[Tensor, Tensor]:
    lows = [_end(side.low, -math.inf) for side in (of_p, of_q)]
    highs = [_end(side.high, math.inf) for side in (of_p, of_q)]
    return torch.minimum(*lows), torch.maximum(*highs)


def _end(end: Tensor | None, otherwise: float) -> Tensor:
    return torch.tensor(otherwise, dtype=torch.float64) if end is None else end.detach().double()


def _impossible(p: Any, q: Any, record: Functional, batch: torch.Size) -> Tensor:
    """Where the supports alone prove +inf."""
    nowhere = torch.zeros(batch, dtype=torch.bool)
    by_p, by_q = infinite_without(record)
    proofs = ([escape(p, q)] if by_p else []) + ([escape(q, p)] if by_q else [])
    for proof in proofs:
        if proof is not None:
            nowhere = nowhere.to(proof.where.device) | proof.where
    return nowhere


def _missed(refined: Refined, of_p: Rest, of_q: Rest) -> tuple[Tensor, Tensor]:
    """How far both masses are from 1; and what of that neither node error nor rounding explains."""
    sums = refined.sums
    sides = ((sums.mass_p, sums.error_p, of_p), (sums.mass_q, sums.error_q, of_q))
    gaps, missed = torch.zeros_like(sums.value[0]), torch.zeros_like(sums.value[0])
    for mass, error, rest in sides:
        gap = (mass.sum(0) + rest.value - 1).abs()
        gaps = gaps + gap
        missed = missed + torch.where(gap > error.sum(0) + 1e-12, gap, 0.0) + rest.error
    return gaps, missed


def _judged(
    value: Tensor,
    refined: Refined,
    rest: Rest,
    masses: tuple[Tensor, Tensor],
    impossible: Tensor,
) -> Integral:
    sums = refined.sums
    gaps, missed = masses
    hole = refined.lost_mass > 1e-9
    divergent = impossible | hole | rest.divergent | (value == math.inf)
    undecided = ~divergent & (rest.undecided | refined.broken | value.isnan())
    error = sums.error.sum(0) + sums.noise.sum(0) + rest.error
    # A density off by a factor is off by as much in the integral of its terms.
    error = error + _RATIO_OF_MISSED * missed + gaps * value.detach().abs()
    value = torch.where(divergent, math.inf, torch.where(undecided, math.nan, value))
    error = torch.where(divergent, 0.0, torch.where(undecided, math.inf, error))
    unseen = ~divergent & (missed > _MASS_MISSED)
    notes = (
        (impossible, "+inf: one side has mass where the other has none"),
        (hole & ~impossible, "+inf: a density is 0 where the other side has mass"),
        (rest.divergent & ~impossible, "+inf: the integrand does not fall off in a tail"),
        (undecided & refined.broken, "not shown finite: a log-density is NaN inside the support"),
        (undecided & ~refined.broken, "not shown finite: a tail falls off too slowly to tell"),
        (unseen, "not trusted: the densities do not integrate to 1 over the nodes"),
    )
    finite = ~(divergent | undecided)
    return Integral(
        value=value,
        error=error,
        finite=finite,
        trusted=~(undecided | unseen),
        evaluations=refined.evaluations,
        note="; ".join(_counted(mask, words) for mask, words in notes if bool(mask.any())),
    )


def _counted(mask: Tensor, words: str) -> str:
    return words if mask.numel() == 1 else f"{int(mask.sum())} of {mask.numel()} {words}"
