"""Where the points of a Monte Carlo mean come from: half from P and half from Q.

Weighed by the mixture m = (p + q)/2 that they follow, p/m and q/m are at most 2 whatever the two
sides are, so that neither can hide mass from the other; and q/m − p/m, whose mean is known to be
0, is a control variate. Where only P can be drawn from, its draws alone have to do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from kullback.distributions.monte_carlo.inverses import Inverse, inverse_of
from kullback.distributions.monte_carlo.sampling import Side, can_sample
from kullback.numerics import accumulation_dtype

__all__ = ["REPLICATES", "Points", "points_for"]

REPLICATES = 32
"""Independent randomisations of quasi-random points: their spread gives the error."""

# Beyond, quasi-random points have no advantage left that would pay for their making.
_MOST_COORDINATES = 256


class Points(ABC):
    """A source of points; each call goes on where the last one ended.

    Attributes:
        sides: whom the points are drawn from, in equal parts: P and Q, or P alone.
        replicates: into how many independent groups of equal size a call's points fall, first
            group first; 0 where every point is independent of the others.
    """

    words: str
    replicates: int

    def __init__(self, p: Side, q: Side) -> None:
        self.p, self.q = p, q
        self.sides = [p, q] if can_sample(q.source) else [p]

    @property
    def mixed(self) -> bool:
        """Whether the points follow (p + q)/2, and not p."""
        return len(self.sides) == 2

    @abstractmethod
    def _draw(self, side: int, count: int) -> Tensor:
        """`count` points (of each replicate) from one side."""

    def log_densities(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """(log p, log q) at `count` new points (of each replicate) from each side."""
        found = []
        for side in range(len(self.sides)):
            x = self._on_both_grids(self._aligned(self._draw(side, count), self.sides[side]))
            found.append((self.p.log_prob(x), self.q.log_prob(x)))
        return found

    def _aligned(self, x: Tensor, drawn_from: Side) -> Tensor:
        """The points with as many batch dimensions as the two sides have together."""
        missing = max(len(self.p.batch_shape), len(self.q.batch_shape)) - len(
            drawn_from.batch_shape
        )
        return x.reshape(len(x), *(1,) * missing, *x.shape[1:])

    def _on_both_grids(self, x: Tensor) -> Tensor:
        """The points rounded to the narrower dtype of the two, so that both see the same ones."""
        for dtype in (self.p.dtype, self.q.dtype):
            if dtype is not None and x.is_floating_point():
                x = x.to(dtype)
        return x.to(accumulation_dtype(x)) if x.is_floating_point() else x


class _IndependentPoints(Points):
    replicates = 0

    @property
    def words(self) -> str:
        return "independent draws, half from P and half from Q" if self.mixed else "draws from P"

    def _draw(self, side: int, count: int) -> Tensor:
        return self.sides[side].sample(count)


class _QuasiRandomPoints(Points):
    replicates = REPLICATES
    words = f"quasi-random points (Sobol, {REPLICATES} randomisations), half from P and half from Q"

    def __init__(self, p: Side, q: Side, inverses: list[Inverse], device: torch.device) -> None:
        super().__init__(p, q)
        self._inverses = inverses
        self._device = device
        self._engines = [
            [
                SobolEngine(inverse.dimension, scramble=True, seed=int(torch.randint(2**62, ())))
                for _ in range(REPLICATES)
            ]
            for inverse in inverses
        ]

    def _draw(self, side: int, count: int) -> Tensor:
        drawn = [engine.draw(count, dtype=torch.float64) for engine in self._engines[side]]
        # The middle of a cell of the grid: its corner may be 0, which maps to infinity.
        u = torch.cat(drawn) + 0.5 / 2**SobolEngine.MAXBIT
        return self._inverses[side].draws(u.to(self._device))


def points_for(p: Side, q: Side) -> Points:
    """Quasi-random points where both sides can be inverted, independent ones elsewhere."""
    inverses = [inverse_of(side.source) for side in (p, q)]
    known = [inverse for inverse in inverses if inverse is not None]
    narrow = all(inverse.dimension <= _MOST_COORDINATES for inverse in known)
    if len(known) < 2 or not narrow:
        return _IndependentPoints(p, q)
    with torch.no_grad():
        device = (
            known[0].draws(torch.full((1, known[0].dimension), 0.5, dtype=torch.float64)).device
        )
    return _QuasiRandomPoints(p, q, known, device)
