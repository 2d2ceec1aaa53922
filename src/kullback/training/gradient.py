"""The value of one thing with the gradient of another.

An estimator whose value is right need not have the right gradient, and the other way round.
Written as value + (s − s.detach()) an infinite s would turn a finite value into NaN; here it
never meets it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["with_gradient_of"]


def with_gradient_of(surrogate: Tensor, value: Tensor) -> Tensor:
    """`value`, a constant of the shape of `surrogate`, differentiated as if it were `surrogate`."""
    return _WithGradientOf.apply(surrogate, value)  # type: ignore[no-any-return]


class _WithGradientOf(torch.autograd.Function):
    # torch.func differentiates and maps functions that are written like this.
    generate_vmap_rule = True

    @staticmethod
    def forward(surrogate: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        return value.detach().clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return weight, None
