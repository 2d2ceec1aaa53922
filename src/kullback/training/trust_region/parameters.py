"""The parameters of a module as one vector: gradients in it, steps along it, and the way back.

The vector is float32, float64 where any parameter is, on the device of the first. Parameters keep
their own dtypes and devices; those that a closure does not use have a zero gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError

__all__ = ["Parameters", "open_parameters"]


@dataclass(frozen=True)
class Parameters:
    """What is moved.

    Attributes:
        tensors: leaves that require gradients, each once.
    """

    tensors: tuple[Tensor, ...]

    @property
    def size(self) -> int:
        """How many numbers they hold."""
        return sum(x.numel() for x in self.tensors)

    def joined(self, parts: Sequence[Tensor | None]) -> Tensor:
        """One entry for each parameter as a vector; None is 0."""
        wide = any(x.dtype == torch.float64 for x in self.tensors)
        dtype = torch.float64 if wide else torch.float32
        device = self.tensors[0].device
        return torch.cat(
            [
                (torch.zeros_like(x) if part is None else part).to(device, dtype).reshape(-1)
                for x, part in zip(self.tensors, parts, strict=True)
            ]
        )

    def split(self, vector: Tensor) -> list[Tensor]:
        """The inverse of `joined`, but for the dtype, which stays the vector's."""
        parts = vector.split([x.numel() for x in self.tensors])
        return [
            part.view(x.shape).to(x.device) for x, part in zip(self.tensors, parts, strict=True)
        ]

    def gradient(self, value: Tensor) -> Tensor:
        """The gradient of a scalar, as a vector; no `.grad` is touched."""
        return self.joined(torch.autograd.grad(value, self.tensors, allow_unused=True))

    def saved(self) -> list[Tensor]:
        """A copy of every parameter."""
        return [x.detach().clone() for x in self.tensors]

    @torch.no_grad()
    def restore(self, saved: Sequence[Tensor]) -> None:
        """The parameters as they were saved, bit for bit."""
        for x, old in zip(self.tensors, saved, strict=True):
            x.copy_(old)

    @torch.no_grad()
    def move(self, saved: Sequence[Tensor], step: Tensor) -> None:
        """The parameters as saved, plus a vector: added in its dtype, and rounded once."""
        for x, old, part in zip(self.tensors, saved, self.split(step), strict=True):
            x.copy_(old + part)


def open_parameters(parameters: Iterable[Tensor]) -> Parameters:
    """What `module.parameters()` gives, without those that are frozen.

    Raises:
        InputError: none that can be moved, one that is given twice or is the result of a
            computation, or a bare tensor.
        DtypeError: complex numbers.
    """
    if isinstance(parameters, Tensor):
        raise InputError(
            f"parameters is one tensor, of shape {tuple(parameters.shape)}: pass a list of them, "
            "or module.parameters()"
        )
    if not isinstance(parameters, Iterable):
        raise InputError(
            f"parameters is a {type(parameters).__name__}: pass tensors, module.parameters()"
        )
    kept: list[Tensor] = []
    seen: set[int] = set()
    for place, x in enumerate(parameters):
        if not isinstance(x, Tensor):
            raise InputError(
                f"parameter {place} is a {type(x).__name__}: pass tensors, such as "
                "module.parameters(); one step moves them all, so there are no parameter groups"
            )
        if id(x) in seen:
            raise InputError(
                f"parameter {place}, of shape {tuple(x.shape)}, is given twice: leave one out"
            )
        seen.add(id(x))
        if not x.requires_grad:
            continue
        if x.is_complex():
            raise DtypeError(f"parameter {place} is {x.dtype}: pass torch.view_as_real of it")
        if not x.is_leaf:
            raise InputError(
                f"parameter {place}, of shape {tuple(x.shape)}, was computed from others: pass "
                "what it was computed from"
            )
        kept.append(x)
    if not sum(x.numel() for x in kept):
        raise InputError(
            f"of {len(seen)} parameters none can be moved: pass some with requires_grad=True"
        )
    return Parameters(tuple(kept))
