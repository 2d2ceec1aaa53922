"""The door: a divergence from the counts of distinct rows, with a correction of its bias."""

from __future__ import annotations

import math

import torch

from kullback.distributions.targets import Target
from kullback.divergences import CROSS_ENTROPY, Divergence
from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.discrete.corrections import CORRECTIONS, best_guess, guess_of
from kullback.samples.discrete.counts import counts_of
from kullback.samples.discrete.doubts import doubts_about
from kullback.samples.discrete.lumped import lumped_lower_bound
from kullback.samples.discrete.spread import spread_of
from kullback.samples.draws import DrawsPair

__all__ = ["plug_in"]


def plug_in(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    correction: str | None = "auto",
    concentration: float = 1.0,
) -> Estimate[float]:
    """D(P‖Q) in nats from how often each distinct row occurs on each side.

    Args:
        pair: the draws of P and of Q; rows that are equal are one event.
        target: what is asked for.
        confidence: of the interval.
        seed: for the halves that a certified lower bound needs.
        correction: of the bias that frequencies bring:

            | name | the sum is that of |
            | --- | --- |
            | None | the frequencies as they are: +∞ for KL where Q's draws lack an event of P's |
            | "miller_madow" | those, less the bias of first order |
            | "jackknife" | those, less the bias that leaving out one draw shows |
            | "jeffreys" | (count + ½)/(draws + k/2), k the events seen on either side |
            | "dirichlet" | the same with `concentration` in the place of ½ |
            | "chao_shen" | what was drawn, weighted up by the chance to draw it; KL and its kin |
            | "zhang_grabchak" | the digamma series; KL and its kin |
            | "auto" | the one that came closest in our measurements, for each divergence |

        concentration: of the Dirichlet prior, for every event.

    The interval is by first and second order (`spread`). For a correction other than "auto" it is
    wide enough to hold that of "auto" too, whose bias is the smallest. The value is never outside
    the divergence's range, though an estimate without bias may be.

    Raises:
        InputError: an unknown correction, one that the divergence does not have, or a target
            that is no f-divergence.

    >>> import numpy as np
    >>> from kullback.distributions.targets import target_of
    >>> from kullback.samples.draws import draws_of
    >>> rng = np.random.default_rng(1)
    >>> x, y = (rng.choice(["a", "b", "c"], 1000, p=p) for p in ([.5, .3, .2], [.2, .3, .5]))
    >>> print(plug_in(draws_of(x, y), target_of("kl")))  # the truth is 0.2749
    0.278 [0.218, 0.355] (95 %)
    """
    _check(target, correction, confidence, concentration)
    counts = counts_of(pair)
    best = best_guess(target.record, counts)
    guess = best
    if correction != "auto":
        guess = guess_of(target.record, counts, correction, concentration)
    spread = spread_of(target.record, counts)
    upper = target.record.upper if isinstance(target.record, Divergence) else math.inf

    def linked(total: float) -> float:
        within = min(max(total, 0.0), upper)
        return float(target.link(torch.tensor(within, dtype=torch.float64)))

    intervals = [spread.interval(best, confidence)]
    if math.isfinite(guess.total) and guess is not best:
        intervals.append(spread.interval(guess, confidence))
    low, high = min(end for end, _ in intervals), max(end for _, end in intervals)
    deviation = spread.deviation(best)
    diagnosis = doubts_about(target.record, counts, best, spread)
    if diagnosis:
        low, high = lumped_lower_bound(pair, target, confidence, seed), math.inf
    else:
        low, high = linked(low), linked(high)
    if math.isinf(guess.total):
        high = math.inf
    value = linked(guess.total)
    return Estimate(
        # A bound that holds is a better guess than what is below it.
        value=max(value, low) if diagnosis else value,
        low=low,
        high=high,
        # A link may have no slope at 0; half the difference of its values is always there.
        stderr=(linked(best.total + deviation) - linked(best.total - deviation)) / 2,
        confidence=confidence,
        method=f"plug-in, {_name(correction)}",
        evaluations=int(counts.n + counts.m),
        trusted=not diagnosis,
        diagnosis=diagnosis,
    )


def _check(target: Target, correction: str | None, confidence: float, concentration: float) -> None:
    if correction is not None and correction != "auto" and correction not in CORRECTIONS:
        names = ["auto", *sorted(CORRECTIONS)]
        raise InputError(f"correction={correction!r} is not one of {names}, nor None")
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence!r} must lie strictly between 0 and 1")
    if not 0 < concentration < math.inf:
        raise InputError(f"concentration={concentration!r} must be a positive number")
    if not isinstance(target.record, Divergence) and target.record is not CROSS_ENTROPY:
        raise InputError(
            f"{target.name!r} has no generator, which counts need for an interval: ask for an "
            "f-divergence, or a Divergence of your own"
        )


def _name(correction: str | None) -> str:
    return "no correction" if correction is None else correction.replace("_", "–")
