"""What the digamma series leaves out of E_P[−log q]: the events that Q's draws have hardly met.

With λ = m·q(x) the expected count of an event, ψ(m + 1) − ψ(c + 1) falls short of −log q by
E₁(λ) on average, which matters below λ ≈ 2 only. How P's mass is spread over λ there can be read
from the mass W₀, W₁, … of the events met 0, 1, … times: a density c·λ^(s−1)·e^(−rλ) gives
W_j ∝ Γ(s + j)/j! · (1 + r)^(−j), and the shortfall is then W₀ times a number of s and r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

__all__ = ["Shortfall", "shortfall"]

_WINDOW = 3
"""Counts up to here tell the shape near λ = 0; larger ones speak of events that need no help."""

_LOG_SHAPE, _SHAPE_DEVIATION = 0.4, 0.5
"""Before the draws are seen, log s is Normal(0.4, 0.5): s = 1 is Dirichlet(1), s → ∞ one rate."""

_FEWEST = 2.0
"""This many unseen events are no crowd whose spread could be extrapolated."""

_LONE = 6.0
"""The variance that a single unseen event brings, in units of its mean shortfall squared: it may
be of the far tail of Q as well as of its edge."""


@dataclass(frozen=True)
class Shortfall:
    """What to add to the series: its size in nats, and the standard deviation of the guess."""

    size: float
    deviation: float


_NONE = Shortfall(0.0, 0.0)


def shortfall(weights: np.ndarray, counts: np.ndarray) -> Shortfall:
    """Σ p E₁(λ), from the mass `weights` [k] of events and how often others met them [k]."""
    masses = np.array([weights[counts == j].sum() for j in range(_WINDOW + 1)])
    if masses[0] == 0:
        return _NONE
    unseen = weights[counts == 0]
    # The masses are sums of unequal weights: worth as many draws as if all had this one.
    unit = float((weights[counts <= _WINDOW] ** 2).sum() / masses.sum())
    log_chances, log_factors, log_prior = _shapes()
    score = log_chances @ masses / unit + log_prior
    posterior = np.exp(score - score.max())
    posterior /= posterior.sum()
    center = float(posterior @ log_factors)
    deviation = math.sqrt(float(posterior @ (log_factors - center) ** 2))
    factor = math.exp(center)
    crowd = masses[0] ** 2 / float((unseen**2).sum())
    size = masses[0] * factor
    noise = math.sqrt(deviation**2 + _LONE / crowd)
    return Shortfall(float(max(1 - _FEWEST / crowd, 0.0) * size), float(size * noise))


@cache
def _shapes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid over s and ρ = 1/(1 + r): log W_j within the window, the log of shortfall/W₀, prior.

    By E₁(λ) = ∫₁^∞ e^(−λv)/v dv the shortfall over W₀ is (1/s)∫₀¹ (1 + r)ˢ/(1 + r·y^(1/s))ˢ dy.
    """
    shapes = np.exp(np.linspace(math.log(0.15), math.log(40), 24))
    means = np.append(np.exp(np.linspace(math.log(0.1), math.log(20), 24)), np.inf)
    s, mean = (part.reshape(-1, 1) for part in np.meshgrid(shapes, means, indexing="ij"))
    rate = np.maximum(s / mean - 1, 0.0)
    j = np.arange(_WINDOW + 1.0)
    log_chances = _log_gamma(s + j) - _log_gamma(s) - _log_gamma(j + 1) - j * np.log1p(rate)
    log_chances -= np.log(np.exp(log_chances).sum(1, keepdims=True))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    y = (nodes + 1) / 2
    integrand = np.exp(s * (np.log1p(rate) - np.log1p(rate * y ** (1 / s))))
    log_factors = np.log(integrand @ weights / 2) - np.log(s[:, 0])
    log_prior = -(((np.log(s[:, 0]) - _LOG_SHAPE) / _SHAPE_DEVIATION) ** 2) / 2
    return log_chances, log_factors, log_prior


def _log_gamma(x: np.ndarray) -> np.ndarray:
    return torch.lgamma(torch.as_tensor(x)).numpy()
