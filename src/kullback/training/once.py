"""Gradients that are computed by a kernel, and so cannot be differentiated again: that is said."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kullback.errors import InputError

__all__ = ["once"]


def once(gradient: Tensor | None, *sources: Tensor | None) -> Tensor | None:
    """The gradient as it is; under create_graph=True one whose own gradient is an error.

    Args:
        gradient: made outside of autograd's sight.
        sources: what it depends on.
    """
    if gradient is None or not torch.is_grad_enabled():
        return gradient
    return _Once.apply(gradient, *sources)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.count = len(sources)
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        raise InputError(
            "this gradient is made by a kernel and cannot be differentiated again: for second "
            "derivatives build the loss from kullback.kl_divergence(p, q, space='logits')"
        )
