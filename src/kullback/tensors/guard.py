"""Checks that still run inside `torch.func` transforms.

A check has to look at numbers, and inside `vmap` or `grad` there are only wrapped tensors. An
autograd function that returns its input unchanged is handed the real ones, so the check goes
there. Under `torch.compile` nothing can be looked at, and nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kullback.numerics import Space
from kullback.tensors.inputs import check_side

__all__ = ["checked", "guarded"]


def guarded(x: Tensor, check: Callable[[Tensor], None]) -> Tensor:
    """`x` itself, after `check(x)` has had the chance to raise."""
    return x if torch.compiler.is_compiling() else _Guard.apply(x, check)


def checked(x: Tensor, space: Space, side: str) -> Tensor:
    """`x` itself, events last, after its rows were checked to be what `space` says."""
    return guarded(x, lambda rows: check_side(rows.reshape(-1, rows.shape[-1]), space, side))


class _Guard(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, check: Callable[[Tensor], None]) -> Tensor:  # type: ignore[override]
        check(x)
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return grads[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return tangents[0].view_as(tangents[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, check: Any) -> tuple[Any, Any]:
        if in_dims[0] is None:
            return _Guard.apply(x, check), None
        return _Guard.apply(x.movedim(in_dims[0], 0), check), 0
