"""Linear layers in float32 on the CPU by oneDNN rather than by the BLAS that torch was built with.

torch hands float32 products to MKL, which on processors that are not Intel's runs at less than
half of their speed; oneDNN compiles its kernels for the machine it is on. Half precision goes
there anyway. Both add up in float32, in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["OneDnnLinear"]


class OneDnnLinear(TorchFunctionMode):
    """While it is active, `F.linear` of float32 tensors on the CPU is oneDNN's.

    Where this torch was built without it, or a gradient is asked for, nothing changes.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is nn.functional.linear and _fits(*args, **(kwargs or {})):
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _fits(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    tensors = [x for x in (input, weight, bias) if x is not None]
    return (
        _available()
        and all(type(x) in (Tensor, nn.Parameter) for x in tensors)
        and all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors)
        and not torch.is_grad_enabled()
        and input.numel() > 0
    )


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


def _available() -> bool:
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled  # type: ignore[attr-defined]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
