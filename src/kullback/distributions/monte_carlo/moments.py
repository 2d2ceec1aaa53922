"""The mean of many values as they come, with its standard error and its tail.

Independent values and quasi-random ones differ in one thing only: what is independent of what.
Of the first each value is, of the second each randomisation is, whose own mean is then one value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size
from kullback.numerics import t_quantile

__all__ = ["Moments", "Tail"]


class Moments:
    """Mean and standard error of all values that were added, [side, point, ...].

    A value is one of each side, averaged. With `replicates` the points are [replicate, n]
    flattened, and the replicates' means are what is independent.
    """

    def __init__(self, replicates: int) -> None:
        self._replicates = replicates
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Add values [side, point, ...]; every call has the same trailing shape."""
        values = values.mean(0)
        if self._replicates:
            values = values.reshape(self._replicates, -1, *values.shape[1:])
            count, mean = values.shape[1], values.mean(1)
            self._mean = self._mean + (mean - self._mean) * (count / (self._count + count))
            self._count += count
            return
        # The sums of squares around the means are merged, so that nothing cancels (Chan 1979).
        count, mean = len(values), values.mean(0)
        step, together = mean - self._mean, self._count + count
        within = ((values - mean) ** 2).sum(0)
        self._squares = self._squares + within + step**2 * (self._count * count / together)
        self._mean = self._mean + step * (count / together)
        self._count = together

    @property
    def mean(self) -> Tensor:
        return self._mean.mean(0) if self._replicates else self._mean

    @property
    def stderr(self) -> Tensor:
        if self._replicates:
            return self._mean.std(0) / self._replicates**0.5
        return (self._squares / (self._count * (self._count - 1))).sqrt()

    def reaches(self, confidence: float) -> tuple[Tensor, Tensor]:
        """How far the interval of Student's t goes below and above the mean.

        Few replicates may be skewed, and the interval then misses on one side. It is widened to
        also hold the one that undoes their skewness (Hall 1992, On the Removal of Skewness by
        Transformation, eq. 2.2).
        """
        count = self._replicates or self._count
        # Beyond a million degrees the quantile is the normal's to all digits that matter.
        quantile = t_quantile((1 + confidence) / 2, min(count, 10**6) - 1)
        plain = quantile * self.stderr
        if not self._replicates:
            return plain, plain
        centred = self._mean - self.mean
        variance = (centred**2).mean(0)
        still = variance == 0
        skewness = (centred**3).mean(0) / torch.where(still, 1.0, variance) ** 1.5
        step, deviation = quantile / count**0.5, self._mean.std(0)
        below = deviation * _unskewed(step, skewness, count)
        above = -deviation * _unskewed(-step, skewness, count)
        return torch.maximum(plain, below), torch.maximum(plain, above)


def _unskewed(step: float, skewness: Tensor, count: int) -> Tensor:
    """The y whose Hall's transform y + γy²/3 + γ²y³/27 + γ/6n is `step`."""
    # At γ = 0 it is `step` itself, and close to it too, to the square of γ.
    level = torch.where(skewness.abs() < 1e-4, 1e-4, skewness)
    cube = 1 + level * (step - level / (6 * count))
    return 3 * (cube.sign() * cube.abs() ** (1 / 3) - 1) / level


class Tail:
    """The largest of all values that were added, and what they say of the tail.

    Attributes:
        carriers: (Σx)²/Σx² of the sizes: how many equal ones would weigh as much (Kish 1965).
        carriers_of_variance: the same of the values' squares. Where there is a variance it grows
            with the number of draws; where there is none a few largest values have it all.
    """

    def __init__(self, draws: int) -> None:
        self._most = tail_size(draws)
        self._count = 0
        self._largest: Tensor | None = None
        self._powers = torch.zeros(())

    def add(self, values: Tensor, sizes: Tensor) -> None:
        """Add values [n, ...] ≥ 0 whose tail is asked about, and sizes ≥ 0 that make the sum."""
        self._count += len(values)
        powers = [sizes, sizes**2, values**2, values**4]
        self._powers = self._powers + torch.stack([power.sum(0) for power in powers])
        if self._largest is not None:
            values = torch.cat([self._largest, values])
        self._largest = values.topk(min(self._most + 1, len(values)), dim=0).values

    @property
    def shape(self) -> Tensor:
        """The tail's shape k: from ½ on the variance is infinite, from 1 on the mean."""
        assert self._largest is not None, "nothing was added"
        return pareto_shape(self._largest[: tail_size(self._count) + 1])

    @property
    def carriers(self) -> Tensor:
        return self._number(self._powers[0], self._powers[1])

    @property
    def carriers_of_variance(self) -> Tensor:
        return self._number(self._powers[2], self._powers[3])

    def _number(self, total: Tensor, squares: Tensor) -> Tensor:
        return torch.where(squares == 0, float(self._count), total**2 / squares)
