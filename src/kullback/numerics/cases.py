"""A function in two pieces: each piece sees only the elements it is for.

What one piece would make of the other's elements (an overflow, a NaN derivative) never arises,
and the costlier piece is not computed where it is not needed. Where values cannot be looked at,
in compiled or mapped code, both pieces see every element, with harmless arguments in the place of
those that are not theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

__all__ = ["by_case"]


def by_case(
    condition: Tensor,
    holds: Callable[..., Tensor],
    fails: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    harmless: tuple[Sequence[float], Sequence[float]],
) -> Tensor:
    """holds(*arguments) where the condition does, fails(*arguments) elsewhere.

    Args:
        condition: a mask that broadcasts with the arguments.
        holds: from tensors to one tensor, element by element.
        fails: likewise.
        arguments: tensors that broadcast.
        harmless: values of the arguments at which `holds` is smooth, and such for `fails`.
    """
    if torch.compiler.is_compiling() or is_functorch_wrapped_tensor(condition):
        to_hold, to_fail = (zip(arguments, values, strict=True) for values in harmless)
        held = holds(*(torch.where(condition, x, value) for x, value in to_hold))
        failed = fails(*(torch.where(condition, value, x) for x, value in to_fail))
        return torch.where(condition, held, failed)
    if bool(condition.all()):
        return holds(*arguments)
    if not bool(condition.any()):
        return fails(*arguments)
    condition, *arguments = torch.broadcast_tensors(condition, *arguments)
    flat = [x.reshape(-1) for x in arguments]
    ours = condition.reshape(-1).nonzero().squeeze(-1)
    theirs = (~condition).reshape(-1).nonzero().squeeze(-1)
    held = holds(*(x.index_select(0, ours) for x in flat))
    failed = fails(*(x.index_select(0, theirs) for x in flat))
    whole = held.new_zeros(condition.numel())
    return whole.index_copy(0, ours, held).index_copy(0, theirs, failed).reshape(condition.shape)
