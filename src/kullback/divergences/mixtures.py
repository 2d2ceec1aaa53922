"""Divergences to a mixture of P and Q: Jensen–Shannon, that of GANs, and the skew ones."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from kullback.divergences.kullback_leibler import KL, REVERSE_KL
from kullback.divergences.record import Conjugate, Divergence, FormulaId, below, member
from kullback.errors import InputError
from kullback.numerics import Pair, exp_remainder, expm1, times


def jensen_shannon(weight: float = 0.5) -> Divergence:
    """The record of the Jensen–Shannon divergence with mixture m = weight·p + (1 − weight)·q.

    Raises:
        InputError: a weight that is no number strictly between 0 and 1.
    """
    if not isinstance(weight, Real) or not 0 < weight < 1:
        raise InputError(
            f"weight={weight!r}: pass a number strictly between 0 and 1, at which it is 0"
        )

    def log_to_mixture(pair: Pair) -> tuple[Tensor, Tensor]:
        from_p = _log_mix(pair.d, weight)
        from_q = _log_mix(-pair.d, 1 - weight)
        return from_p, from_q

    def terms(pair: Pair) -> Tensor:
        from_p, from_q = log_to_mixture(pair)
        mixture = weight * pair.p + (1 - weight) * pair.q
        return weight * exp_remainder(pair.p, mixture, from_p) + (1 - weight) * exp_remainder(
            pair.q, mixture, from_q
        )

    def log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
        from_p, from_q = log_to_mixture(pair)
        return -weight * times(pair.p, from_p), -(1 - weight) * times(pair.q, from_q)

    def generator(u: Tensor) -> Tensor:
        mixture = weight * u + 1 - weight
        return weight * torch.xlogy(u, u / mixture) - (1 - weight) * mixture.log()

    record = Divergence(
        name="js",
        formula="w KL(p‖m) + (1−w) KL(q‖m), m = w p + (1−w) q",
        source="Lin (1991), Divergence Measures Based on the Shannon Entropy, eq. 4.1",
        terms=terms,
        log_slopes=log_slopes,
        generator=generator,
        symmetric=weight == 0.5,
        upper=-weight * math.log(weight) - (1 - weight) * math.log(1 - weight),
        formula_id=FormulaId("js", weight),
        conjugate=_jensen_shannon_conjugate(weight),
    )
    return member(record, weight)


def _jensen_shannon_conjugate(weight: float) -> Conjugate:
    """A score is log(weight·p) − log((1 − weight)·q), whose sigmoid is P's share of the mixture."""
    log_weight, log_rest = math.log(weight), math.log(1 - weight)
    end = -weight * log_weight
    return Conjugate(
        value=below(end, lambda t: (1 - weight) * (log_rest - (-expm1((t - end) / weight)).log())),
        end=end,
        slope_at_one=0.0,
        activation=lambda v: weight * (logsigmoid(v) - log_weight),
        of_score=lambda v: (1 - weight) * (log_rest - logsigmoid(-v)),
    )


_JS = jensen_shannon()


def _gan_log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
    of_p, of_q = _JS.log_slopes(pair)
    return 2 * of_p, 2 * of_q


GAN = Divergence(
    name="gan",
    formula="KL(p‖m) + KL(q‖m), m = ½ p + ½ q",
    source="Goodfellow et al. (2014), Generative Adversarial Nets, eq. 5, its constant log 4 added",
    terms=lambda pair: 2 * _JS.terms(pair),
    log_slopes=_gan_log_slopes,
    generator=lambda u: torch.xlogy(u, u) - (u + 1) * (u + 1).log() + 2 * math.log(2),
    symmetric=True,
    upper=2 * math.log(2),
    formula_id=FormulaId("js", 0.5, 2.0),
    # T is the log of the discriminator's probability that it sees P.
    conjugate=Conjugate(
        value=below(0.0, lambda t: -(-expm1(t)).log() - 2 * math.log(2)),
        end=0.0,
        slope_at_one=-math.log(2),
        activation=logsigmoid,
        of_score=lambda v: -logsigmoid(-v) - 2 * math.log(2),
    ),
)


def skew(alpha: float = 0.1) -> Divergence:
    """The record of the skew KL divergence KL(p‖αp + (1 − α)q), bounded by −log α; 0 ≤ α < 1."""
    if alpha == 0:
        return KL

    def terms(pair: Pair) -> Tensor:
        mixture = alpha * pair.p + (1 - alpha) * pair.q
        return exp_remainder(pair.p, mixture, _log_mix(pair.d, alpha))

    def log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
        u = _log_mix(pair.d, alpha)
        # (m − p)/m, and 0 where neither side has mass.
        share = -expm1(-u)
        of_p = times(pair.p, alpha * share - u)
        return of_p, (1 - alpha) * times(pair.q, share)

    def generator(u: Tensor) -> Tensor:
        return torch.xlogy(u, u / (alpha * u + 1 - alpha))

    return Divergence(
        name="skew",
        formula="KL(p‖αp + (1−α)q)",
        source="Lee (1999), Measures of Distributional Similarity, section 3",
        terms=terms,
        log_slopes=log_slopes,
        generator=generator,
        upper=-math.log(alpha),
        formula_id=FormulaId("skew", alpha),
    )


def reverse_skew(alpha: float = 0.1) -> Divergence:
    """The record of the skew reverse KL divergence KL(q‖αq + (1 − α)p); 0 ≤ α < 1."""
    if alpha == 0:
        return REVERSE_KL
    forward = skew(alpha)

    def log_slopes(pair: Pair) -> tuple[Tensor, Tensor]:
        of_q, of_p = forward.log_slopes(pair.swapped())
        return of_p, of_q

    return Divergence(
        name="reverse_skew",
        formula="KL(q‖αq + (1−α)p)",
        source="Ko et al. (2024), DistiLLM: Towards Streamlined Distillation for Large Language "
        "Models, section 3.1",
        terms=lambda pair: forward.terms(pair.swapped()),
        log_slopes=log_slopes,
        generator=lambda u: -(alpha + (1 - alpha) * u).log(),
        upper=forward.upper,
        formula_id=FormulaId("reverse_skew", alpha),
    )


def _log_mix(d: Tensor, weight: float) -> Tensor:
    """log(weight + (1 − weight)·eᵈ), log m − log p for m = weight·p + (1 − weight)·q."""
    rising = d > 0
    down = torch.where(rising, -d, d)
    # Two bare numbers would make a float32 tensor whatever d is.
    share = torch.where(rising, torch.full_like(d, weight), 1 - weight)
    return torch.where(rising, d, 0.0) + torch.log1p(share * expm1(down))
