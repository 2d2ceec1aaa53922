"""A divergence and its error from calibrated log ratios, as means over both samples together.

With D = σ(g) the share of P among draws at log ratio g, p = 2D and q = 2(1 − D) are the densities
against the even mixture of P and Q, of which all draws together are a sample. Means under P and
under Q become means over the mixture, in which no weight exceeds 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from kullback.divergences import Functional
from kullback.numerics import Pair

__all__ = ["Mixture"]


@dataclass(frozen=True)
class Mixture:
    """Log ratios g at draws of both sides, with weights that sum to 1.

    Attributes:
        ratio: float64 [k].
        weight: float64 [k]; the draws of either side sum to one half.
    """

    ratio: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls, ratios: tuple[np.ndarray, np.ndarray], weights: tuple[np.ndarray, np.ndarray]
    ) -> Mixture:
        """From the log ratios at draws of P and of Q, and how many draws each stands for."""
        weight = np.concatenate([0.5 * w / w.sum() for w in weights])
        return cls(np.concatenate(ratios), weight)

    @property
    def _pair(self) -> Pair:
        g = torch.from_numpy(self.ratio)
        log_p, log_q = logsigmoid(g) + math.log(2), logsigmoid(-g) + math.log(2)
        return Pair(log_p.exp(), log_q.exp(), log_p, log_q, -g)

    def value(self, record: Functional) -> float:
        """The divergence of the laws of g: a mean of terms ≥ 0."""
        return float(record.terms(self._pair).numpy() @ self.weight)

    def influences(self, record: Functional) -> tuple[np.ndarray, np.ndarray]:
        """What one more draw at g changes, on the side of P and on that of Q: f′(u), f − u f′."""
        pair = self._pair
        of_p, of_q = record.log_slopes(pair)
        return (of_p / pair.p).numpy(), (of_q / pair.q).numpy()

    def variances(self, record: Functional) -> tuple[float, float]:
        """Of the influences of one draw of P and of one of Q; inf where a ratio is beyond e^700."""
        pair = self._pair
        on_p, on_q = self.influences(record)
        found = []
        for density, influence in ((pair.p.numpy(), on_p), (pair.q.numpy(), on_q)):
            share = self.weight * density
            if not np.isfinite(influence).all():
                found.append(np.inf)
                continue
            mean = share @ influence / share.sum()
            found.append(float(share @ (influence - mean) ** 2 / share.sum()))
        return found[0], found[1]
