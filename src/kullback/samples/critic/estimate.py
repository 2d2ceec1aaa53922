"""The bound of a critic on draws that it has not seen, between that and the one on draws it has.

On fresh draws a critic's bound lies below D on average, whatever it learned. On the draws that it
was fitted to it lies above, as the largest of many means does; near a best critic by as much as
the other lies below (for a mean of normal draws, shrunk best, exactly). The interval reaches from
below the one to above the other.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from kullback.distributions.targets import Target
from kullback.divergences import Divergence
from kullback.errors import InputError
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.certified import lower_bound
from kullback.samples.critic.bounds import Bound, bound_of
from kullback.samples.critic.inputs import inputs_of
from kullback.samples.critic.training import FOLDS, Ceiling, Scores, trained_scores
from kullback.samples.draws import DrawsPair
from kullback.samples.links import linked, slope

__all__ = ["critic"]

BoundName = Literal["nwj", "dv"]

_INFINITE_VARIANCE = 0.5
# In standard errors: about what the interval reaches to one side.
_MOST_UNSEEN = 2.0


def critic(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    bound: BoundName = "nwj",
    width: int = 64,
    patience: int = 10,
) -> Estimate[float]:
    """D(P‖Q) from below by neural critics, each heard on the fifth of the draws it has not seen.

    Five networks are trained to tell draws of P from draws of Q on three fifths of them, and
    stopped by a fourth; the last fifth is the one they are judged on, so that every draw is
    judged once. The value is the bound E_P[T] − E_Q[f*(T)] there, at most D(P‖Q) on average. It
    falls short of D by what the networks have not learned: with few draws in many dimensions by
    a third and more.

    | bound | for | value |
    | --- | --- | --- |
    | "nwj" | every f-divergence, and what is an increasing function of one | E_P[T] − E_Q[f*(T)] |
    | "dv" | "kl" and "reverse_kl" | E_P[v] − log E_Q[e^v], its bias taken off; and exchanged |

    The interval begins a standard error's multiple below the value. It ends above the
    bound on the draws that the networks were fitted to, by that multiple of the standard error
    and of the distance of the two bounds together. Not to be trusted are an estimate whose
    terms have a tail without variance (Pareto shape above ½), and one where draws of one side
    lie where the other has none, by more than two standard errors: `low` is then the certified
    bound, `high` ∞.

    Args:
        pair: the draws, numbers and labels in any mix.
        target: which divergence.
        confidence: of the interval.
        seed: of folds, weights and batches. The same seed gives the same answer on one machine;
            torch's and NumPy's own generators are left alone.
        bound: see above.
        width: of the two hidden layers.
        patience: how many checks without progress end the training.

    Returns:
        An `Estimate` in nats; `evaluations` is the number of draws.

    Raises:
        InputError: a divergence that is no function of an f-divergence, an unknown bound, "dv"
            for another divergence than KL, or options below 1.

    Source: Nguyen, Wainwright & Jordan (2010), Estimating Divergence Functionals and the
    Likelihood Ratio by Convex Risk Minimization, lemma 1; Belghazi et al. (2018), MINE, theorem 1.

    Example:
        >>> import numpy as np
        >>> from kullback.distributions.targets import target_of
        >>> from kullback.samples.draws import draws_of
        >>> chance = np.random.default_rng(0)
        >>> pair = draws_of(chance.normal(1.0, 1.0, 500), chance.normal(0.0, 1.0, 500))
        >>> found = critic(pair, target_of("kl"), width=8)
        >>> found.low < 0.5 < found.high  # KL = 1/2
        True
    """
    record = _record_of(target, bound)
    _check_at_least_one(width=width, patience=patience)
    p, q = inputs_of(pair)
    said = trained_scores(p, q, width=width, patience=patience, seed=seed)
    held, ceiling = _judged(record, said, bound, confidence)
    quantile = t_quantile((1 + confidence) / 2, min(len(p), len(q)) - 1)
    doubt = _doubt(held, said)
    value = max(held.value, 0.0) if math.isfinite(held.value) else 0.0
    if doubt:
        low = lower_bound(pair, target, confidence=confidence, seed=seed)
        high = math.inf
        value = max(linked(target, value), low)
    else:
        low = linked(target, max(held.value - quantile * held.stderr, 0.0))
        top = max(ceiling.value, value)
        # How far the two are apart says how much the critics themselves vary, too.
        spread = math.hypot(max(ceiling.stderr, held.stderr), top - held.value)
        top += quantile * spread
        high = linked(target, min(top, record.upper))
        value = linked(target, min(value, record.upper))
    return Estimate(
        value=value,
        low=low,
        high=high,
        stderr=slope(target, max(held.value, 0.0)) * held.stderr,
        confidence=confidence,
        method=f"critic, {bound.upper()} bound on held-out draws of {FOLDS} folds",
        evaluations=len(p) + len(q),
        trusted=not doubt,
        diagnosis=doubt,
    )


def _record_of(target: Target, bound: str) -> Divergence:
    if bound not in get_args(BoundName):
        raise InputError(f"bound={bound!r} is not one of {list(get_args(BoundName))}")
    if not isinstance(target.record, Divergence):
        raise InputError(
            f"{target.name!r} is no f-divergence and no function of one, and only those have the "
            'bound that a critic learns: for cross-entropy, add method="nearest_neighbor" of the '
            'entropy to a critic\'s "kl"'
        )
    if bound == "dv" and target.record.name not in ("kl", "reverse_kl"):
        raise InputError(
            f'bound="dv" is a bound of "kl" and of "reverse_kl", not of {target.name!r}: take '
            'bound="nwj"'
        )
    return target.record


def _check_at_least_one(**options: int) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r}: it is a whole number of at least 1")


def _judged(record: Divergence, said: Scores, bound: str, confidence: float) -> tuple[Bound, Bound]:
    """The bounds on draws that the critics have not seen, and on those that they have.

    Where the first is not told from 0, the critics may have stopped before they learned what
    there is; the second is then that of the last check, after all of the patience.
    """
    normalised = bound == "dv"
    held = bound_of(record, said.p, said.q, normalised=normalised)
    nothing = not held.value > t_quantile((1 + confidence) / 2, len(said.p)) * held.stderr
    seen: Ceiling = said.last if nothing else said.best
    return held, bound_of(record, seen.p, seen.q, normalised=normalised)


def _doubt(held: Bound, said: Scores) -> str:
    """Why not to lean on the interval; "" where there is no reason."""
    if not said.finite or not math.isfinite(held.value) or not math.isfinite(held.stderr):
        return (
            "the training of a critic failed: its scores are beyond all numbers; look for draws "
            "far outside of the others"
        )
    if math.isnan(held.tail):
        return "too few draws to see how heavy the tail of the bound's terms is: take 30 or more"
    if held.tail > _INFINITE_VARIANCE:
        return (
            f"the terms of the bound have a tail (Pareto shape {held.tail:.2f}) without variance: "
            'the divergence is too large for so many draws; ask for "js" or '
            '"total_variation", which are bounded'
        )
    if held.unseen > _MOST_UNSEEN * held.stderr:
        return (
            f"draws of one side lie where the other has none, and {held.unseen:.2g} of the bound "
            "hangs on what cannot be seen there: the supports may be apart"
        )
    return ""
