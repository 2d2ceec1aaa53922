"""Numbers that change as training goes on: for β, for a floor of free bits, for a capacity.

A schedule changes where `step()` is called and nowhere else, so that a forward pass repeated, for
validation or by checkpointing, sees the same number.

| schedule | the share of the way from start to end, u = count/steps |
| --- | --- |
| `LinearSchedule` | u |
| `CosineSchedule` | (1 − cos πu)/2 |
| `SigmoidSchedule` | a logistic in u, stretched to meet both ends |
| `CyclicalSchedule` | rises and stays, several times over |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from kullback.errors import InputError
from kullback.training.plain import finite_number, plain_int

__all__ = [
    "CosineSchedule",
    "CyclicalSchedule",
    "LinearSchedule",
    "Schedule",
    "SigmoidSchedule",
]


class Schedule(ABC):
    """A number that `step()` moves from `start` to `end` in `steps` steps, and then leaves there.

    Args:
        start: the value before the first step.
        end: the value after `steps` steps; it may lie below.
        steps: how many.

    Raises:
        InputError: an end that is not finite, or steps that are no whole number from 1 on.
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, *, steps: int) -> None:
        self.start, self.end = finite_number(start, "start"), finite_number(end, "end")
        self.steps = plain_int(
            steps, "steps", least=1, advice="; without a schedule use the number"
        )
        self.count = 0

    @property
    def value(self) -> float:
        """The number now; reading it changes nothing."""
        if self.count >= self.steps:
            return self.end
        share = self._share()
        return (1 - share) * self.start + share * self.end

    def step(self) -> float:
        """Go one step on, and return the value there: once for each optimiser step."""
        self.count += 1
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """How far it has come, for a checkpoint; what it was made with is not in it."""
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            InputError: no such state.
        """
        count = state.get("count") if isinstance(state, Mapping) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InputError(
                f"the state {state!r} is none of a schedule: pass what state_dict() returned, "
                'such as {"count": 100}'
            )
        self.count = count

    def __repr__(self) -> str:
        options = "".join(f", {name}={value}" for name, value in self._options().items())
        return (
            f"{type(self).__name__}({self.start}, {self.end}, steps={self.steps}{options}), "
            f"at {self.count}: {self.value:.6g}"
        )

    @abstractmethod
    def _share(self) -> float:
        """How far from start to end the value is, for count < steps."""

    def _options(self) -> dict[str, Any]:
        return {}


class LinearSchedule(Schedule):
    """In equal steps: a warm-up of β, or the capacity of Burgess et al. (2018).

    Source: Sønderby, Raiko, Maaløe, Sønderby & Winther (2016), Ladder Variational Autoencoders,
    section 2.3 (the warm-up).

    Example:
        >>> beta = LinearSchedule(steps=4)
        >>> [beta.value] + [beta.step() for _ in range(5)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        >>> again = LinearSchedule(steps=4)
        >>> again.load_state_dict({"count": 3})
        >>> again
        LinearSchedule(0.0, 1.0, steps=4), at 3: 0.75
    """

    def _share(self) -> float:
        return self.count / self.steps


class CosineSchedule(Schedule):
    """Along half a wave: slowly away from the start, and slowly into the end.

    Source: Loshchilov & Hutter (2017), SGDR, eq. 5, of learning rates.

    Example:
        >>> beta = CosineSchedule(steps=3)
        >>> [round(x, 3) for x in (beta.value, beta.step(), beta.step(), beta.step())]
        [0.0, 0.25, 0.75, 1.0]
    """

    def _share(self) -> float:
        return math.sin(0.5 * math.pi * self.count / self.steps) ** 2


class SigmoidSchedule(Schedule):
    """Along a logistic function with its middle at half of the steps, stretched to meet both ends.

    Args:
        start: the value before the first step.
        end: the value after `steps` steps.
        steps: how many.
        steepness: the logistic's argument goes from −steepness/2 to steepness/2.

    Source: Bowman, Vilnis, Vinyals, Dai, Jozefowicz & Bengio (2016), Generating Sentences from a
    Continuous Space, section 3.1 (there without stretching).

    Example:
        >>> beta = SigmoidSchedule(steps=4)
        >>> [round(x, 3) for x in (beta.value, *(beta.step() for _ in range(4)))]
        [0.0, 0.045, 0.5, 0.955, 1.0]
    """

    def __init__(
        self, start: float = 0.0, end: float = 1.0, *, steps: int, steepness: float = 12.0
    ) -> None:
        super().__init__(start, end, steps=steps)
        self.steepness = finite_number(steepness, "steepness")
        if self.steepness <= 0:
            raise InputError(f"steepness={steepness}: it must be positive, such as 12.0")

    def _share(self) -> float:
        # tanh(x/2) is 2/(1 + e⁻ˣ) − 1, without an overflow.
        middle = self.steepness * (self.count / self.steps - 0.5)
        return 0.5 + 0.5 * math.tanh(0.5 * middle) / math.tanh(0.25 * self.steepness)

    def _options(self) -> dict[str, Any]:
        return {"steepness": self.steepness}


class CyclicalSchedule(Schedule):
    """Several cycles, each a linear rise from start to end and then a rest at the end.

    Each new cycle begins at `start` again, with an encoder that has learned to say something.
    Cycle k begins at step ⌈k·steps/cycles⌉: where `cycles` does not divide `steps`, some are one
    step longer than others.

    Args:
        start: the value at the beginning of each cycle.
        end: the value after each rise, and after `steps` steps.
        steps: of all cycles together.
        cycles: how many, each of at least two steps: one alone would never leave `start`.
        rise: the share of a cycle in which the value rises.

    Source: Fu, Li, Liu, Gao, Celikyilmaz & Carin (2019), Cyclical Annealing Schedule:
    A Simple Approach to Mitigating KL Vanishing.

    Example:
        >>> beta = CyclicalSchedule(steps=8, cycles=2)
        >>> [beta.value] + [beta.step() for _ in range(8)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        start: float = 0.0,
        end: float = 1.0,
        *,
        steps: int,
        cycles: int = 4,
        rise: float = 0.5,
    ) -> None:
        super().__init__(start, end, steps=steps)
        self.cycles = cycles = plain_int(cycles, "cycles", least=1)
        if steps < 2 * cycles and cycles > 1:
            raise InputError(
                f"cycles={cycles} in steps={steps}: each needs two steps or more to rise; "
                f"at most cycles={max(1, steps // 2)}"
            )
        self.rise = finite_number(rise, "rise")
        if not 0 < self.rise <= 1:
            raise InputError(f"rise={rise}: a share of the cycle, above 0 and at most 1")

    def _share(self) -> float:
        cycle = self.count * self.cycles // self.steps
        first, next_first = self._first(cycle), self._first(cycle + 1)
        return min(1.0, (self.count - first) / ((next_first - first) * self.rise))

    def _first(self, cycle: int) -> int:
        """The step at which a cycle begins: ⌈cycle·steps/cycles⌉."""
        return -(-cycle * self.steps // self.cycles)

    def _options(self) -> dict[str, Any]:
        return {"cycles": self.cycles, "rise": self.rise}
