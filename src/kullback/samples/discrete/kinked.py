"""The total variation from counts: |p̂ − q̂| is too large by what noise adds at the kink.

With δ = p − q known to a standard deviation σ, E|δ̂| − |δ| is σ times 2φ(t) − 2tΦ(−t), t = |δ|/σ:
most where P = Q, nothing a few σ away. Events of like counts tell together how much of their δ̂ is
noise (Σσ² against Σδ̂²), and t is read off δ̂ shrunk by that much.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.guesses import Guess

__all__ = ["total_variation"]


def total_variation(counts: Counts) -> Guess:
    """½ Σ |p − q| less its bias; how large that bias is, is half a guess."""
    p, q = counts.frequencies()
    gap = np.abs(p - q)
    deviation = np.sqrt(p * (1 - p) / counts.n + q * (1 - q) / counts.m)
    # One event that is all there is has neither gap nor deviation.
    t = gap * _kept(counts, gap, deviation) / np.where(deviation > 0, deviation, 1.0)
    bias = float(deviation @ _rise(t)) / 2
    return Guess(float(gap.sum()) / 2 - bias, bias / 2)


def _kept(counts: Counts, gap: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """√(1 − Σσ²/Σδ̂²) over the events of like counts, and 0 where noise alone explains them."""
    octave = np.log2(counts.of_p + counts.of_q).astype(np.int64)
    noise = np.bincount(octave, deviation**2)
    seen = np.bincount(octave, gap**2)
    signal = np.where(seen > noise, seen - noise, 0.0)
    return np.sqrt(signal / np.where(seen > 0, seen, 1.0))[octave]


def _rise(t: np.ndarray) -> np.ndarray:
    """E|t + Z| − t for t ≥ 0 and a standard normal Z."""
    beyond = torch.special.ndtr(torch.as_tensor(-t)).numpy()
    return 2 * np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) - 2 * t * beyond
