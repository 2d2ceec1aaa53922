"""KL and its kin from counts: differences of E_P[−log q] and E_P[−log p], each by a series.

Σ_v (1 − q)^v/v = −log q, and its first m terms have an unbiased estimate from m draws: it is
ψ(m + 1) − ψ(c + 1) for an event drawn c times. The entropy is the same question about the other
n − 1 draws of P itself, for whom each draw is one of a − 1. What the tails leave out is `unseen`'s.

Source: Zhang & Grabchak (2014), Nonparametric Estimation of Kullback–Leibler Divergence, eq. 7;
the closed form of the series: Schürmann (2015), A Note on Entropy Estimation, eq. 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.guesses import Guess
from kullback.samples.discrete.unseen import shortfall

__all__ = ["LOGARITHMIC", "chao_shen", "series"]


def _surprisal(weights: np.ndarray, counts: np.ndarray, draws: float, tail: bool) -> Guess:
    """E[−log q] over events of mass `weights`, met `counts` times in `draws`."""
    size = torch.tensor(draws + 1, dtype=torch.float64)
    met = torch.as_tensor(counts + 1)
    terms = torch.special.digamma(size) - torch.special.digamma(met)
    total = float(weights @ terms.numpy())
    if not tail:
        return Guess(total)
    rest = shortfall(weights, counts)
    return Guess(total + rest.size, rest.deviation)


def _cross_entropy(counts: Counts, tail: bool) -> Guess:
    drawn = counts.of_p > 0
    return _surprisal(counts.of_p[drawn] / counts.n, counts.of_q[drawn], counts.m, tail)


def _kl(counts: Counts, tail: bool) -> Guess:
    drawn = counts.of_p[counts.of_p > 0]
    own = _surprisal(drawn / counts.n, drawn - 1, counts.n - 1, tail)
    return _cross_entropy(counts, tail) - own


def _chao_shen_kl(counts: Counts) -> float:
    return _chao_shen_cross_entropy(counts) - _covered(counts.of_p, counts.of_p)


def _chao_shen_cross_entropy(counts: Counts) -> float:
    return _covered(counts.of_p, counts.of_q)


def _covered(of_p: np.ndarray, of_q: np.ndarray) -> float:
    """−Σ p log q / (1 − (1 − p)ⁿ), each side shrunk by its coverage 1 − f₁/draws."""
    drawn = of_p > 0
    p, q = (count[drawn] * _coverage(count) / count.sum() for count in (of_p, of_q))
    if not q.all():
        return math.inf
    return float(-(p * np.log(q) / -np.expm1(of_p.sum() * np.log1p(-p))).sum())


def _coverage(count: np.ndarray) -> float:
    # With all draws alone the coverage would be 0 and its log infinite; one less is the custom.
    alone = min(float((count == 1).sum()), float(count.sum()) - 1)
    return 1 - alone / float(count.sum())


_Named = dict[str, Callable[[Counts], tuple[tuple[Callable[..., Guess], Counts], ...]]]
LOGARITHMIC: _Named = {
    "kl": lambda c: ((_kl, c),),
    "reverse_kl": lambda c: ((_kl, c.swapped()),),
    "jeffreys": lambda c: ((_kl, c), (_kl, c.swapped())),
    "cross_entropy": lambda c: ((_cross_entropy, c),),
}
"""The records that are sums of KL and cross-entropies, with those."""


def series(name: str, counts: Counts, tail: bool = True) -> Guess:
    """The record of that name by the digamma series, with its tail guessed or left out."""
    return sum((part(of, tail) for part, of in LOGARITHMIC[name](counts)), Guess(0.0))


def chao_shen(name: str, counts: Counts) -> Guess:
    """The record of that name by Horvitz and Thompson's sum over what was drawn.

    Source: Chao & Shen (2003), Nonparametric Estimation of Shannon's Index of Diversity, eq. 6.
    """
    ways = {_kl: _chao_shen_kl, _cross_entropy: _chao_shen_cross_entropy}
    return Guess(sum(ways[part](of) for part, of in LOGARITHMIC[name](counts)))
