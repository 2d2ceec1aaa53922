"""The bound that a score makes: E_P[T] − E_Q[f*(T)] with T = f′(e^v), at most D(P‖Q) for every v.

With v = log p/q, T is the best there is. Both T and f*(T) are slopes of the record's terms in p
and in q, at a pair whose log-ratio is v, so that every f-divergence has a bound, with or without
a conjugate of its own: f*(f′(u)) = u·f′(u) − f(u).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size
from kullback.divergences import Divergence
from kullback.numerics import make_pair

__all__ = ["Bound", "bound_of"]


@dataclass(frozen=True)
class Bound:
    """A bound of D(P‖Q) over draws, and what is to be known of its error.

    Attributes:
        value: mean of T over P less mean of f*(T) over Q.
        stderr: of that, of independent draws.
        tail: the larger Pareto shape of the two sides' tails; NaN of too few draws.
        unseen: what f*(T) should have added where only P has draws, and T where only Q has.
    """

    value: float
    stderr: float
    tail: float
    unseen: float


def bound_of(record: Divergence, p: Tensor, q: Tensor, *, normalised: bool) -> Bound:
    """The bound of scores v of draws of P and of Q, float64 [n] and [m].

    `normalised` adds the constant to v that makes the bound largest (Donsker–Varadhan, for KL in
    either direction), less the bias of that, Var(e^v)/(2m E²[e^v]) to the first order.

    Source: Nguyen, Wainwright & Jordan (2010), lemma 1; Donsker & Varadhan (1983).
    """
    if not normalised:
        return _linear(record, p, q)
    forward = record.name == "kl"
    constant = _log_mean_exp(q) if forward else -_log_mean_exp(-p)
    p, q = p - constant, q - constant
    ratios = q.exp() if forward else (-p).exp()
    found = _linear(record, p, q)
    bias = float(ratios.var()) / (2 * len(ratios))
    return Bound(found.value - bias, found.stderr, found.tail, found.unseen)


def _linear(record: Divergence, p: Tensor, q: Tensor) -> Bound:
    on_p, on_q = _best(record, p), _conjugate(record, q)
    variance = float(on_p.var()) / len(p) + float(on_q.var()) / len(q)
    # A weight of e^−v carries a mean over P to Q, where P has draws and Q has none; and back.
    beyond, below = p[p > q.max()], q[q < p.min()]
    unseen = float((_conjugate(record, beyond) * (-beyond).exp()).abs().sum()) / len(p) + float(
        (_best(record, below) * below.exp()).abs().sum()
    ) / len(q)
    return Bound(
        value=float(on_p.mean()) - float(on_q.mean()),
        stderr=math.sqrt(variance),
        tail=_heavier(_tail(-on_p), _tail(on_q)),
        unseen=unseen,
    )


def _best(record: Divergence, v: Tensor) -> Tensor:
    """T = f′(e^v), less f′(1): the slope of a term in p."""
    pair = make_pair(torch.zeros_like(v), -v, "log_probs", "log_probs")
    return record.log_slopes(pair)[0]


def _conjugate(record: Divergence, v: Tensor) -> Tensor:
    """f*(T) of the same: the slope of a term in q, with the other sign."""
    pair = make_pair(v, torch.zeros_like(v), "log_probs", "log_probs")
    return -record.log_slopes(pair)[1]


def _log_mean_exp(v: Tensor) -> Tensor:
    return v.logsumexp(0) - math.log(len(v))


def _tail(values: Tensor) -> float:
    return float(pareto_shape(values.topk(tail_size(len(values))).values))


def _heavier(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
