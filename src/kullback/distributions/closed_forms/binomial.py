"""Binomial: as many independent trials as were made, where both sides made as many.

Q with a larger number of trials covers P as well, and is summed over the support.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Binomial

from kullback.distributions.closed_forms.bernoulli import (
    divergence_of_trial,
    renyi_of_trial,
    trial,
)
from kullback.distributions.dispatch import Declined, closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics import times

__all__: list[str] = []

_EQUAL = "it has one where both sides have the same total_count"


@closed_form("kl", Binomial, Binomial, source="Cover & Thomas (2006), theorem 2.5.3")
def _kl(p: Binomial, q: Binomial) -> Tensor:
    """n [p log(p/q) + (1 − p) log((1 − p)/(1 − q))]."""
    return _of_trials(p, q, divergence_of_trial(trial(p, q)))


@closed_form("renyi", Binomial, Binomial, source="van Erven & Harremoës (2014), theorem 28")
def _renyi(p: Binomial, q: Binomial, alpha: float) -> Tensor:
    """n log(p^α q^(1−α) + (1 − p)^α (1 − q)^(1−α))/(α − 1)."""
    return _of_trials(p, q, renyi_of_trial(trial(p, q), alpha))


def _of_trials(p: Binomial, q: Binomial, value: Tensor) -> Tensor:
    n, m = wide(p.total_count, q.total_count)
    # Unlike other conditions this one may break a compiled graph: where it fails, the sum over
    # the support has the answer.
    if torch.compiler.is_compiling() and not bool((n == m).all()):
        raise Declined(_EQUAL)
    return only_where(n == m, times(n, value), _EQUAL)
