"""The coefficient of a KL penalty that follows a target in proportion to the error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from kullback.errors import InputError
from kullback.training.policy.processes import mean_over_processes
from kullback.training.policy.states import from_state, require_positive

__all__ = ["AdaptiveKL"]


@dataclass(frozen=True)
class AdaptiveKL:
    """β of a penalty β·KL(π‖ref), moved so that the KL comes near `target`.

        e = KL/target − 1, within ±clip;    β ← β (1 + e · samples/horizon)

    Frozen: `step` returns the next one, and nothing changes in a forward pass. samples/horizon is
    the paper's K_β, which is 0.1 there.

    Attributes:
        coefficient: β, positive.
        target: of the KL, in nats; of what it is a KL (a token, a sequence) is for you to keep.
        horizon: the samples after which β has grown by a factor near e^clip, if the KL stays
            above (1 + clip)·target.
        clip: the largest error that counts, relative to the target.

    Raises:
        InputError: a number that is not positive and finite.

    Source: Ziegler et al. (2019), Fine-Tuning Language Models from Human Preferences, section 2.2;
    with samples and horizon as in the code published with it.

    Example:
        >>> penalty = AdaptiveKL(coefficient=0.2, target=6.0)
        >>> loss_of_kl = penalty.coefficient * 9.0
        >>> penalty = penalty.step(9.0, samples=1000)
        >>> print(f"{penalty.coefficient:.3f}")
        0.204
        >>> AdaptiveKL.from_state_dict(penalty.state_dict()) == penalty
        True
    """

    coefficient: float
    target: float
    horizon: float = 10_000.0
    clip: float = 0.2

    def __post_init__(self) -> None:
        require_positive(self)

    def step(self, kl: Tensor | float, samples: Tensor | float, *, group: Any = None) -> AdaptiveKL:
        """The controller after a batch of `samples` whose mean KL was `kl`, in nats.

        The more samples, the farther β moves, in the unit of `horizon`: sequences for a batch of
        sequences.

        Where `torch.distributed` is initialised, kl is averaged over the processes of `group`
        (all of them by default), each with its number of samples: every one has to call this,
        and all get the same coefficient. An estimated KL may be negative.

        Raises:
            ShapeError: a KL of more than one number.
            InputError: samples that are no positive number, or so many that β would not stay
                positive.
            NonFiniteError: a KL that is NaN or infinite.
        """
        mean, number = mean_over_processes(kl, samples, group)
        error = min(max(mean / self.target - 1, -self.clip), self.clip)
        factor = 1 + error * number / self.horizon
        if factor <= 0:
            raise InputError(
                f"samples={number:g} of a horizon of {self.horizon:g}: the coefficient would be "
                f"multiplied by {factor:.3g}. Take a horizon longer than {self.clip:g}·samples"
            )
        return AdaptiveKL(self.coefficient * factor, self.target, self.horizon, self.clip)

    def state_dict(self) -> dict[str, float]:
        """All of it as plain numbers, for `torch.save` or JSON."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, float]) -> AdaptiveKL:
        """The controller that `state_dict` was taken of.

        Raises:
            InputError: a state with other names in it, or numbers that cannot be.
        """
        return from_state(cls, state)
