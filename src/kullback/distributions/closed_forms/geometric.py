"""Geometric and NegativeBinomial: a trial repeated until it fails, or succeeds, often enough.

The number of trials is a stopping time, so that the divergence is its mean times that of one
trial (Wald's identity): 1/p trials for Geometric, r/(1 − p) for NegativeBinomial with equal r.
A Geometric counts failures before a success: it is a NegativeBinomial of r = 1 with the two
names exchanged.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Geometric, NegativeBinomial

from kullback.distributions.closed_forms.bernoulli import (
    Trial,
    covered,
    power_of_trial,
    trial,
)
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.integers import trial_probs
from kullback.distributions.parameters import given, wide
from kullback.divergences import KL
from kullback.numerics import exp_remainder, expm1, log_power_mean, times
from kullback.numerics.fused import fused

__all__: list[str] = []

_EQUAL = "it has one where both sides have the same total_count"
_ONE_FAILURE = "it has one where the NegativeBinomial has total_count 1"
_UNDERFLOW = "a probability is too small for a float64"

_ONE_FAILURE = "it has one where the NegativeBinomial has total_count 1"
_EQUAL = "it has one where both sides have the same total_count"
_UNDERFLOW = "a probability is too small for a float64"


@closed_form("kl", Geometric, Geometric, source="that of one trial, by Wald (1944)")
def _kl_geometric(p: Geometric, q: Geometric) -> Tensor:
    """[p log(p/q) + (1 − p) log((1 − p)/(1 − q))]/p."""
    if given(p) == given(q) == "probs":
        return fused("geometric_probs", _of_probs, (p.probs, q.probs))
    return _kl_until_stop(trial(p, q))


def _of_probs(p: Tensor, q: Tensor) -> Tensor:
    sides = (Geometric(probs=x, validate_args=False) for x in (p, q))
    return _kl_until_stop(trial(*sides))


@closed_form("kl", NegativeBinomial, NegativeBinomial, source="that of one trial, by Wald (1944)")
def _kl_negative_binomial(p: NegativeBinomial, q: NegativeBinomial) -> Tensor:
    """r [p log(p/q) + (1 − p) log((1 − p)/(1 − q))]/(1 − p)."""
    success, failure = trial(p, q)
    return _times_count(p, q, _kl_until_stop((failure, success)))


@closed_form("kl", Geometric, NegativeBinomial, source="a NegativeBinomial of r = 1 is a Geometric")
@closed_form("kl", NegativeBinomial, Geometric, source="a NegativeBinomial of r = 1 is a Geometric")
def _kl_mixed(p: Any, q: Any) -> Tensor:
    return _kl_geometric(_as_geometric(p), _as_geometric(q))


@closed_form("renyi", Geometric, Geometric, source="van Erven & Harremoës (2014), eq. 1")
def _renyi_geometric(p: Geometric, q: Geometric, alpha: float) -> Tensor:
    """log[p^α q^(1−α)/(1 − (1 − p)^α (1 − q)^(1−α))]/(α − 1)."""
    return _renyi_until_stop(trial(p, q), alpha)


@closed_form("renyi", NegativeBinomial, NegativeBinomial, source="van Erven & Harremoës, eq. 1")
def _renyi_negative_binomial(p: NegativeBinomial, q: NegativeBinomial, alpha: float) -> Tensor:
    """r log[(1 − p)^α (1 − q)^(1−α)/(1 − p^α q^(1−α))]/(α − 1)."""
    success, failure = trial(p, q)
    return _times_count(p, q, _renyi_until_stop((failure, success), alpha))


@closed_form("renyi", Geometric, NegativeBinomial, source="that of r = 1 is a Geometric")
@closed_form("renyi", NegativeBinomial, Geometric, source="that of r = 1 is a Geometric")
def _renyi_mixed(p: Any, q: Any, alpha: float) -> Tensor:
    return _renyi_geometric(_as_geometric(p), _as_geometric(q), alpha)


@closed_form("entropy", Geometric, source="Cover & Thomas (2006), problem 2.1")
def _entropy_geometric(p: Geometric) -> Tensor:
    """−log p − (1 − p) log(1 − p)/p."""
    (_, log_stop), (go, log_go) = trial_probs(p)
    return -log_stop + times(go, -log_go) * (-log_stop).exp()


def _kl_until_stop(cells: Trial) -> Tensor:
    """KL of the trials up to the one that stops, cells in the order (stop, go): a trial's over p.

    The first term, q/p − 1 − log(q/p), is left whole: p may be tiny on both sides.
    """
    (stop, go), escaped = covered(cells)
    one = torch.ones_like(stop.d)
    value = exp_remainder(one, stop.d.exp(), stop.d)
    value = value + times(KL.terms(go), (-stop.log_p).exp())
    return torch.where(escaped, math.inf, value)


def _renyi_until_stop(cells: Trial, alpha: float) -> Tensor:
    """log(A/(1 − m))/(α − 1) for the powers A of stopping and m of going on, +inf where m ≥ 1.

    Near equality it is log1p(G), G = (A + m − 1)/(1 − m), with the power sum of one trial above.
    """
    stop, go = cells
    log_go = log_power_mean(go, alpha)
    infinite = log_go >= 0
    ended = -expm1(torch.where(infinite, -1.0, log_go))
    growth = torch.where(infinite, 0.0, power_of_trial(cells, alpha)) / ended
    near = growth.abs() < 0.5
    close = torch.where(near, growth, 0.0).log1p()
    far = log_power_mean(stop, alpha) - ended.log()
    value = torch.where(infinite, math.inf, torch.where(near, close, far) / (alpha - 1))
    return only_where((stop.p > 0) & (stop.q > 0), value, _UNDERFLOW)


def _times_count(p: NegativeBinomial, q: NegativeBinomial, value: Tensor) -> Tensor:
    r, other = wide(p.total_count, q.total_count)
    return only_where(r == other, times(r, value), _EQUAL)


def _as_geometric(p: Any) -> Geometric:
    """The same distribution as a Geometric, by its log-odds: a rounded 1 − p could be 1."""
    if isinstance(p, Geometric):
        return p
    (_, log_go), (_, log_stop) = trial_probs(p)
    (r,) = wide(p.total_count)
    logits = torch.where(log_go == -math.inf, math.inf, log_stop - log_go)
    return Geometric(logits=only_where(r == 1, logits, _ONE_FAILURE), validate_args=False)
