"""Bernoulli, and the two cells of a trial that Binomial, Geometric and their kin are made of.

A trial is success or failure, with log-ratios built from what each side was made of: from the
difference of probabilities, or of logits, so that neither nearly equal sides nor certain ones
lose their digits. Every form of these families is a multiple of a sum over the two cells.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from kullback.distributions.dispatch import closed_form
from kullback.distributions.integers import trial_probs
from kullback.distributions.parameters import given, wide
from kullback.divergences import KL
from kullback.divergences import alpha as alpha_record
from kullback.numerics import Pair, expm1, log_power_mean, log_ratio, times
from kullback.numerics.fused import fused

__all__ = [
    "Trial",
    "are_narrow",
    "covered",
    "divergence_of_trial",
    "entropy_of_trial",
    "power_excess",
    "power_of_trial",
    "renyi_of_trial",
    "trial",
    "weighted_log_ratio",
]

Trial = tuple[Pair, Pair]
"""The cells of success and failure."""


@closed_form("kl", Bernoulli, Bernoulli, source="Cover & Thomas (2006), example 2.3.1")
def _kl(p: Bernoulli, q: Bernoulli) -> Tensor:
    """p log(p/q) + (1 − p) log((1 − p)/(1 − q))."""
    if given(p) == given(q) == "probs":
        return fused("bernoulli_probs", _of_probs, (p.probs, q.probs))
    if given(p) == given(q) == "logits":
        return fused("bernoulli_logits", _of_logits, (p.logits, q.logits))
    return divergence_of_trial(trial(p, q))


def _of_probs(p: Tensor, q: Tensor) -> Tensor:
    if are_narrow(p, q):
        prob_p, prob_q = wide(p, q)
        gap = prob_p - prob_q
        return weighted_log_ratio(prob_p, prob_q, gap) + weighted_log_ratio(
            1 - prob_p, 1 - prob_q, -gap
        )
    sides = (Bernoulli(probs=x, validate_args=False) for x in (p, q))
    return divergence_of_trial(trial(*sides))


def _of_logits(a: Tensor, b: Tensor) -> Tensor:
    sides = (Bernoulli(logits=x, validate_args=False) for x in (a, b))
    return divergence_of_trial(trial(*sides))


@closed_form("renyi", Bernoulli, Bernoulli, source="van Erven & Harremoës (2014), eq. 1")
def _renyi(p: Bernoulli, q: Bernoulli, alpha: float) -> Tensor:
    """log(p^α q^(1−α) + (1 − p)^α (1 − q)^(1−α))/(α − 1)."""
    return renyi_of_trial(trial(p, q), alpha)


@closed_form("entropy", Bernoulli, source="Cover & Thomas (2006), eq. 2.5")
def _entropy(p: Bernoulli) -> Tensor:
    """−p log p − (1 − p) log(1 − p)."""
    return entropy_of_trial(p)


def are_narrow(*parameters: Tensor) -> bool:
    """Whether these are computed with far more digits than they have.

    Unequal numbers of float32 differ by 6e-8 of themselves at least, and float64 then has the
    digits for a difference of two logarithms, in a fifth of the time that care for it takes.
    """
    return all(wide(x)[0].dtype.itemsize > x.dtype.itemsize for x in parameters)


def weighted_log_ratio(y: Tensor, x: Tensor, gap: Tensor) -> Tensor:
    """y log(y/x) as y·log1p(gap/x), gap = y − x unrounded; 0 for y = 0, +inf for y > 0 = x.

    Its error is a rounding of the gap, so that sums in which gaps cancel keep their sign.
    """
    empty, lacking = y == 0, x == 0
    relative = torch.where(empty | lacking, 0.0, gap) / torch.where(lacking, 1.0, x)
    return torch.where(lacking & ~empty, math.inf, y * relative.log1p())


def trial(p: Distribution, q: Distribution) -> Trial:
    """The cells of one trial of each side, both of the broadcast batch shape."""
    (prob_p, log_p), (rest_p, log_rest_p) = trial_probs(p)
    (prob_q, log_q), (rest_q, log_rest_q) = trial_probs(q)
    if given(p) == given(q) == "probs":
        ratio = log_ratio(prob_p, prob_q)
        rest_ratio = _ratio_of_failures(prob_p, prob_q, log_rest_p, log_rest_q)
    elif given(p) == given(q) == "logits":
        ratio, rest_ratio = _ratios_of_logits(p, q, log_p, log_q, log_rest_p, log_rest_q)
    else:
        ratio, rest_ratio = _difference(log_q, log_p), _difference(log_rest_q, log_rest_p)
    return (
        Pair(*torch.broadcast_tensors(prob_p, prob_q, log_p, log_q, ratio)),
        Pair(*torch.broadcast_tensors(rest_p, rest_q, log_rest_p, log_rest_q, rest_ratio)),
    )


def divergence_of_trial(cells: Trial) -> Tensor:
    """KL of one trial, +inf where P alone fills a cell."""
    safe, escaped = covered(cells)
    value = KL.terms(safe[0]) + KL.terms(safe[1])
    return torch.where(escaped, math.inf, value)


def entropy_of_trial(p: Distribution) -> Tensor:
    """−p log p − (1 − p) log(1 − p)."""
    (success, log_success), (failure, log_failure) = trial_probs(p)
    return times(success, -log_success) + times(failure, -log_failure)


def renyi_of_trial(cells: Trial, alpha: float) -> Tensor:
    """log1p(α(α − 1)·D_α)/(α − 1), or where that is far from 0 the logarithm of the power sum."""
    growth = power_of_trial(cells, alpha)
    near = growth.abs() < 0.5
    close = torch.where(near, growth, 0.0).log1p()
    exponents = [log_power_mean(cell, alpha) for cell in cells]
    infinite = near | (exponents[0] == math.inf) | (exponents[1] == math.inf)
    apart = (exponents[0] == -math.inf) & (exponents[1] == -math.inf)
    first, second = (torch.where(infinite | apart, 0.0, x) for x in exponents)
    far = torch.where(apart, -math.inf, torch.logaddexp(first, second))
    far = torch.where(infinite, math.inf, far)
    return torch.where(near, close, far) / (alpha - 1)


def power_of_trial(cells: Trial, alpha: float) -> Tensor:
    """p^α q^(1−α) + (1 − p)^α (1 − q)^(1−α) − 1, exact near 0; +inf where it diverges."""
    return power_excess(cells[0], alpha) + power_excess(cells[1], alpha)


def power_excess(pair: Pair, alpha: float) -> Tensor:
    """p^α q^(1−α) − α p − (1 − α) q, with finite gradients where one side is 0."""
    alone = pair.d.isinf()
    one = torch.ones_like(pair.p)
    p, q = torch.where(alone, one, pair.p), torch.where(alone, one, pair.q)
    logs = (torch.where(alone, 0.0, x) for x in (pair.log_p, pair.log_q, pair.d))
    both = alpha * (alpha - 1) * alpha_record(alpha).terms(Pair(p, q, *logs))
    single = -alpha * pair.p - (1 - alpha) * pair.q
    if alpha > 1:
        single = torch.where(pair.d == -math.inf, math.inf, single)
    return torch.where(alone, single, both)


def covered(cells: Trial) -> tuple[Trial, Tensor]:
    """The cells with P put for Q where P has mass that Q lacks, and where that was."""
    lacking = [(cell.log_q == -math.inf) & (cell.log_p > -math.inf) for cell in cells]
    escaped = lacking[0] | lacking[1]
    success, failure = (
        Pair(
            cell.p,
            torch.where(escaped, cell.p, cell.q),
            cell.log_p,
            torch.where(escaped, cell.log_p, cell.log_q),
            torch.where(escaped, 0.0, cell.d),
        )
        for cell in cells
    )
    return (success, failure), escaped


def _ratio_of_failures(p: Tensor, q: Tensor, log_rest_p: Tensor, log_rest_q: Tensor) -> Tensor:
    """log((1 − q)/(1 − p)), where close from p − q, which has not been rounded by 1 − p."""
    rest = 1 - p
    near = (p - q).abs() < 0.5 * rest
    relative = torch.where(near, p - q, 0.0) / torch.where(near, rest, 1.0)
    return torch.where(near, relative.log1p(), _difference(log_rest_q, log_rest_p))


def _ratios_of_logits(p: Any, q: Any, *logs: Tensor) -> tuple[Tensor, Tensor]:
    """The log-ratios of σ(a), σ(b) and of their complements, where close from b − a.

    log σ(b) − log σ(a) = −log(1 + σ(−a)·expm1(a − b)).
    """
    a, b = wide(p.logits, q.logits)
    log_p, log_q, log_rest_p, log_rest_q = logs
    near = (b - a).abs() < 1
    step = torch.where(near, b, 0.0) - torch.where(near, a, 0.0)
    success = -(torch.sigmoid(-a) * expm1(-step)).log1p()
    failure = -(torch.sigmoid(a) * expm1(step)).log1p()
    return (
        torch.where(near, success, _difference(log_q, log_p)),
        torch.where(near, failure, _difference(log_rest_q, log_rest_p)),
    )


def _difference(y: Tensor, x: Tensor) -> Tensor:
    """y − x of two logarithms, 0 where both are −inf."""
    y_empty, x_empty = y == -math.inf, x == -math.inf
    plain = torch.where(y_empty, 0.0, y) - torch.where(x_empty, 0.0, x)
    one = torch.where(y_empty, -math.inf, math.inf)
    return torch.where(y_empty | x_empty, torch.where(y_empty & x_empty, 0.0, one), plain)
