"""Σ p^α q^(1−α) from counts by falling factorials of any order, for α beyond [0, 1].

A count c of N draws has E[c(c − 1)…(c − s + 1)] = N(N − 1)…(N − s + 1)·pˢ, and the ratio
Γ(c + 1)/Γ(c + 1 − s) continues that to every s: the error falls like e^(−Np). With s = −1 it puts
(m + 1)/(c + 1) in the place of 1/q, finite for an event that Q's draws never met.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from kullback.divergences import CHI_SQUARED, Functional
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.guesses import Guess

__all__ = ["order_of", "power"]


def order_of(record: Functional) -> tuple[float, float] | None:
    """(α, factor) of a record that is factor times an alpha-divergence of order outside [0, 1]."""
    if record is CHI_SQUARED:
        return 2.0, 2.0
    if record.name != "alpha":
        return None
    # f(u) = (uᵅ − 1)/(α(α − 1)) has f(4)/f(2) = 2ᵅ + 1.
    two, four = record.generator(torch.tensor([2.0, 4.0], dtype=torch.float64)).tolist()  # type: ignore[attr-defined]
    order = math.log2(four / two - 1)
    return None if 0 < order < 1 else (order, 1.0)


def power(order: float, factor: float, counts: Counts) -> Guess:
    """factor·(Σ p^α q^(1−α) − 1)/(α(α − 1)); what unseen events add to it is a guess."""
    terms = _falling(counts.of_p, order) * _falling(counts.of_q, 1 - order)
    scale = factor / (order * (order - 1))
    guessed = terms[(counts.of_q if order > 1 else counts.of_p) == 0].sum()
    return Guess(float(scale * (terms.sum() - 1)), float(abs(scale * guessed)))


def _falling(count: np.ndarray, order: float) -> np.ndarray:
    """Γ(c + 1)/Γ(c + 1 − s) over the same of all draws: pˢ on average."""
    top, bottom = torch.as_tensor(count + 1), torch.as_tensor(count + 1 - order)
    draws = torch.tensor(count.sum(), dtype=torch.float64)
    log_all = torch.lgamma(draws + 1) - torch.lgamma(draws + 1 - order)
    # Below 0 the gamma function changes its sign from one integer to the next.
    sign = torch.where((bottom < 0) & (bottom.floor() % 2 != 0), -1.0, 1.0)
    return (sign * (torch.lgamma(top) - torch.lgamma(bottom) - log_all).exp()).numpy()
