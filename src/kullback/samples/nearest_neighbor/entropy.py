"""KL from draws to a density: of the two log-densities only that of the draws is estimated."""

from __future__ import annotations

import math

import numpy as np

from kullback.samples.nearest_neighbor.bias import PARTS
from kullback.samples.nearest_neighbor.distances import to_own
from kullback.samples.nearest_neighbor.sums import Found, Question, digamma

__all__ = ["FEWEST", "NEIGHBOR", "relative_entropy"]

NEIGHBOR = 4
"""Which neighbour to measure to."""
FEWEST = PARTS * (NEIGHBOR + 2)
"""So many draws are the fewest that can be split into parts."""


def _ask(x: np.ndarray, log_q: np.ndarray, k: int) -> Found:
    """The mean of log p̂ − log q over the draws [n, d], given log q as [n, 1].

    Source: Kozachenko & Leonenko (1987); Kraskov, Stögbauer & Grassberger (2004), eq. 20, with k.
    """
    own, touching = to_own(x, k)
    n, d = x.shape
    log_ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
    log_p = float(digamma(k)) - math.log(n - 1) - log_ball - d * np.log(own)
    values = log_p - log_q[:, 0]
    return Found(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), touching)


relative_entropy = Question(_ask)
