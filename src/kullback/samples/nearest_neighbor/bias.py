"""How wrong nearest neighbours may be: what they say of a tenth of the draws, and what all say.

The bias falls with n so slowly, in many dimensions or in thin tails, that it outweighs the noise
long before it is gone. But it can be seen to fall: ten disjoint parts give the same sum of fewer
draws, a tenth or a share that is cheap. Their spread is the standard error of the whole, and their
mean, a step behind the whole, says where the whole is heading.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kullback.numerics import t_quantile
from kullback.samples.nearest_neighbor.sums import Question

__all__ = ["PARTS", "Heading", "Interval", "heading_of", "interval_of"]

PARTS = 10
_LARGEST = 2000
"""Draws in a part: more would cost time and tell no more."""

# The bias of n draws is to that of n/r as 1 to r^rate. In theory the rate is 2/d where densities
# are smooth; of Gaussians and Student's t in 2, 5 and 10 dimensions at n = 1,000 to 10,000, it was
# measured as 0.8 to 0.9 over d, and as 0.3 where thin tails rule.
_SMOOTH, _TAILS = 0.8, 0.3
# The whole and the mean of its parts hardly correlate, and measured a little.
_OF_BOTH = 0.85


class Heading(NamedTuple):
    """What all draws say, and where that is heading.

    Attributes:
        value: of all draws.
        error: its standard error.
        step: from the mean of the parts to `value`.
        noise: the standard error of the step.
        steps: how many such steps more there are to go.
        touching: how many draws lie on others.
        hidden: how much of the way there is taken to be bias that noise hides, 0 for none to 1.
    """

    value: float
    error: float
    step: float
    noise: float
    steps: float
    touching: int
    hidden: float

    @property
    def certain(self) -> float:
        """How far the step is more than noise: 0 for none of it, towards 1 for all."""
        return max(0.0, 1 - (self.noise / self.step) ** 2) if self.step else 0.0

    def error_after(self, steps: float) -> float:
        """The standard error `steps` further on, as far as these are more than noise."""
        sure = max(self.certain, self.hidden)
        return math.hypot(self.error, math.sqrt(sure) * steps * self.noise)

    @property
    def still_to_go(self) -> float:
        """From `value` to where it is heading, as far as the step is more than noise."""
        return self.steps * self.step * self.certain


class Interval(NamedTuple):
    """A value with its ends and its standard error, and whether bias outweighs what is seen."""

    value: float
    low: float
    high: float
    error: float
    biased: bool

    def moved(self, by: float) -> Interval:
        """The same interval elsewhere."""
        return self._replace(value=self.value + by, low=self.low + by, high=self.high + by)


def heading_of(question: Question, x: np.ndarray, y: np.ndarray, k: int) -> Heading:
    """The sum from the draws [n, d] and [m, d], in random order, and from ten parts of them."""
    whole = question.ask(x, y, k)
    ratio = max(PARTS, min(len(x), len(y)) // _LARGEST)
    parts = [question.ask(x[i::ratio], y[i::ratio], k).value for i in range(PARTS)]
    spread = float(np.std(parts, ddof=1))
    # In small parts the k-th neighbours are far, and log-ratios flatter than in the whole.
    error = max(spread / math.sqrt(ratio), whole.error)
    d = x.shape[1]
    steps = 1 / (ratio ** min(_TAILS, _SMOOTH / d) - 1)
    return Heading(
        value=whole.value,
        error=error,
        step=whole.value - float(np.mean(parts)),
        noise=_OF_BOTH * math.hypot(error, spread / math.sqrt(PARTS)),
        steps=steps,
        touching=whole.touching,
        # Off the line there is bias whether or not it shows through the noise.
        hidden=0.0 if d == 1 else steps / (1 + steps),
    )


def interval_of(found: Heading, beyond: float, confidence: float) -> Interval:
    """From what is seen to where it is heading, both with their noise.

    `beyond` is what the draws of P beyond those of Q may add; it widens upwards only.
    """
    quantile = t_quantile((1 + confidence) / 2, PARTS - 1)
    noise, noise_there = quantile * found.error, quantile * found.error_after(found.steps)
    end = found.value + found.steps * found.step
    share = found.steps / (1 + found.steps)
    return Interval(
        value=found.value + share * found.still_to_go,
        low=min(found.value - noise, end - noise_there),
        high=max(found.value + noise, end + noise_there) + beyond,
        error=found.error_after(share * found.steps),
        biased=abs(found.still_to_go)
        > 0.4 * abs(found.value) + quantile * math.hypot(found.error, found.steps * found.noise),
    )
