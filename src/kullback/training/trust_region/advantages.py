"""How much better an action was than its state: generalised advantages from rewards and values.

An episode that ended is worth nothing afterwards. One that was cut off, by a time limit or by the
end of the batch, goes on without us: it is worth what the critic says of the state that was
reached. The two are kept apart, and neither lets a later episode's rewards into an earlier one's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.plain import plain_number

__all__ = ["generalized_advantages"]


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    *,
    terminated: Tensor,
    truncated: Tensor | None = None,
    discount: float = 0.99,
    decay: float = 0.95,
) -> Tensor:
    """Âₜ = Σₗ (discount·decay)ˡ δₜ₊ₗ over the rest of the episode, δ = r + discount·V′ − V.

    The regression target of the critic is `advantages + values`.

    Args:
        rewards: [steps, ...], time first; the rest are environments.
        values: V of the state that each action was taken in, of the same shape.
        next_values: V of the state that it led to: of the last state of an episode that was cut
            off, not of the first of the next. Not read where terminated.
        terminated: whether the episode ended there; of the same shape.
        truncated: whether it was cut off there. The last step of the batch need not be marked.
        discount: γ, between 0 and 1.
        decay: λ: 0 is one step's δ, 1 the discounted return less the value.

    Returns:
        [steps, ...], without gradients: to the policy advantages are constants.

    Raises:
        ShapeError: other shapes than that of the rewards, or no steps.
        DtypeError: rewards or values that are not floating point.
        NonFiniteError: NaN or an infinity that is read.
        InputError: γ or λ out of range, or an ending that is neither 0 nor 1.

    Source: Schulman et al. (2016), High-dimensional continuous control using generalized advantage
    estimation, eq. 16; cut episodes as in Pardo et al. (2018), Time limits in reinforcement
    learning: partial-episode bootstrapping.

    Example:
        >>> generalized_advantages(
        ...     torch.tensor([1.0, 1.0, 1.0]),
        ...     torch.zeros(3),
        ...     torch.tensor([0.0, 0.0, 8.0]),
        ...     terminated=torch.tensor([False, True, False]),
        ...     discount=0.5,
        ...     decay=1.0,
        ... )
        tensor([1.5000, 1.0000, 5.0000])
    """
    for name, value in (("discount", discount), ("decay", decay)):
        if not 0 <= plain_number(value, name) <= 1:
            raise InputError(f"{name}={value}: it lies between 0 and 1, such as 0.99")
    if not isinstance(rewards, Tensor):
        raise DtypeError(f"rewards are a {type(rewards).__name__}: pass a tensor, [steps, ...]")
    if rewards.ndim == 0 or not rewards.numel():
        raise ShapeError(f"rewards have shape {tuple(rewards.shape)}: pass at least one step")
    ended = _flags(terminated, rewards, "terminated")
    cut = ended if truncated is None else ended | _flags(truncated, rewards, "truncated")
    rewards, values, next_values = (
        _numbers(x, rewards, name)
        for x, name in ((rewards, "rewards"), (values, "values"), (next_values, "next_values"))
    )
    delta = rewards + discount * torch.where(ended, 0.0, next_values) - values
    if not bool(delta.isfinite().all()):
        place = tuple((~delta.isfinite()).nonzero()[0].tolist())
        raise NonFiniteError(
            f"step {place[0]}, position {place}: reward {float(rewards[place])}, value "
            f"{float(values[place])}, next value {float(next_values[place])}. Look for where the "
            "environment or the critic made it"
        )
    advantages = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for step in range(len(delta) - 1, -1, -1):
        following = delta[step] + discount * decay * torch.where(cut[step], 0.0, following)
        advantages[step] = following
    return advantages


def _like(x: Tensor, rewards: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise DtypeError(f"{name} is a {type(x).__name__}: pass a tensor, torch.as_tensor({name})")
    if x.shape != rewards.shape:
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)} and the rewards {tuple(rewards.shape)}: give one "
            "entry for each step"
        )
    return x.to(rewards.device)


def _flags(x: Tensor, rewards: Tensor, name: str) -> Tensor:
    told = _like(x, rewards, name)
    if x.dtype != torch.bool and not bool(((told == 0) | (told == 1)).all()):
        raise InputError(f"{name} is 1 where it happened and 0 where not, or boolean: other values")
    return told != 0


def _numbers(x: Tensor, rewards: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = f"dtype {x.dtype}" if isinstance(x, Tensor) else f"type {type(x).__name__}"
        raise DtypeError(f"{name} have {kind}: pass floating point, such as {name}.float()")
    return _like(x, rewards, name).detach()
