"""Does P reach where Q was never seen? There log q is anybody's guess, and KL may hang on it.

Draws of P farther out than all draws of Q are measured by Q's own tail: were it exponential, log q
would fall by 1 for every mean excess. Thinner tails fall faster, so that this is what to expect
at the least; and heavier tails of P than of Q foretell more of it than was drawn.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size

__all__ = ["Reach", "reach_of"]


class Reach(NamedTuple):
    """How far P goes beyond Q.

    Attributes:
        share: of the draws of P that lie farther out than all of Q's.
        nats: what they add to KL if the tail of Q is exponential.
        heavier: by how many standard errors the tail of P is heavier than Q's.
    """

    share: float
    nats: float
    heavier: float

    @property
    def may_add(self) -> float:
        """What to allow for in nats: three times what an exponential tail adds, and more of it
        the heavier the tail of P."""
        return 3 * self.nats * max(1.0, self.heavier)


def reach_of(x: np.ndarray, y: np.ndarray) -> Reach:
    """How far the draws `x` of P go beyond the draws `y` of Q, from the median of Q."""
    center = np.median(y, axis=0)
    of_x, of_y = (np.sqrt(((side - center) ** 2).sum(1)) for side in (x, y))
    last = of_y.max()
    outside = np.maximum(of_x - last, 0.0)
    if not outside.any():
        return Reach(0.0, 0.0, 0.0)
    threshold = np.quantile(of_y, 0.9)
    if last == threshold:
        # A tenth of Q's draws are as far out as any: its tail ends there.
        return Reach(float((outside > 0).mean()), math.inf, 0.0)
    excess = float((of_y[of_y > threshold] - threshold).mean())
    shapes, errors = zip(*map(_tail, (of_x, of_y)), strict=True)
    return Reach(
        share=float((outside > 0).mean()),
        nats=float(outside.mean()) / excess,
        heavier=(shapes[0] - shapes[1]) / math.hypot(*errors),
    )


def _tail(distances: np.ndarray) -> tuple[float, float]:
    """The tail's shape, and its standard error: Smith (1987), (1 + k)/√tail."""
    size = tail_size(len(distances))
    largest = np.partition(distances, len(distances) - size)[-size:]
    shape = float(pareto_shape(torch.from_numpy(largest)))
    return shape, (1 + max(shape, 0.0)) / math.sqrt(size)
