"""The coefficient of a KL penalty that doubles or halves when the KL leaves a band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from kullback.errors import InputError
from kullback.training.policy.processes import mean_over_processes
from kullback.training.policy.states import from_state, require_positive

__all__ = ["PPOPenalty"]


@dataclass(frozen=True)
class PPOPenalty:
    """β of a penalty β·KL(π_old‖π), in the rule of PPO with a penalty instead of clipping.

    | the mean KL | β becomes |
    | --- | --- |
    | above band·target | factor·β |
    | below target/band | β/factor |
    | between | β |

    Frozen: `step` returns the next one, and nothing changes in a forward pass.

    Attributes:
        coefficient: β, positive.
        target: of the KL of an update, in nats.
        band: how far the KL may be from the target, as a ratio above 1.
        factor: what β is multiplied or divided by, above 1.

    Raises:
        InputError: a number that is not positive and finite, or a ratio of at most 1.

    Source: Schulman et al. (2017), Proximal Policy Optimization Algorithms, section 4.

    Example:
        >>> penalty = PPOPenalty(coefficient=1.0, target=0.01)
        >>> [penalty.step(kl).coefficient for kl in (0.002, 0.012, 0.02)]
        [0.5, 1.0, 2.0]
    """

    coefficient: float
    target: float
    band: float = 1.5
    factor: float = 2.0

    def __post_init__(self) -> None:
        require_positive(self)
        for name, value in (("band", self.band), ("factor", self.factor)):
            if value <= 1:
                raise InputError(f"{name}={value}: it is a ratio above 1, such as 1.5 or 2.0")

    def step(
        self, kl: Tensor | float, samples: Tensor | float = 1, *, group: Any = None
    ) -> PPOPenalty:
        """The penalty after an update whose mean KL over `samples` was `kl`, in nats.

        Where `torch.distributed` is initialised, kl is averaged over the processes of `group`
        (all of them by default), each with its number of samples: every one has to call this,
        and all get the same coefficient.

        Raises:
            ShapeError: a KL of more than one number.
            InputError: samples that are no positive number, or a coefficient that has left the
                range of a float.
            NonFiniteError: a KL that is NaN or infinite.
        """
        mean, _ = mean_over_processes(kl, samples, group)
        coefficient = self.coefficient
        if mean > self.band * self.target:
            coefficient *= self.factor
        elif mean < self.target / self.band:
            coefficient /= self.factor
        return PPOPenalty(coefficient, self.target, self.band, self.factor)

    def state_dict(self) -> dict[str, float]:
        """All of it as plain numbers, for `torch.save` or JSON."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, float]) -> PPOPenalty:
        """The penalty that `state_dict` was taken of.

        Raises:
            InputError: a state with other names in it, or numbers that cannot be.
        """
        return from_state(cls, state)
