"""Hidden states, heads and biases as they were passed, and whether they fit together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, ShapeError, VocabularyMismatch


@dataclass(frozen=True)
class Parts:
    """What one side consists of, as it was passed."""

    name: str
    hidden: Tensor
    head: Tensor
    bias: Tensor | None

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.hidden, self.head, self.bias

    def detached(self) -> Parts:
        bias = None if self.bias is None else self.bias.detach()
        return Parts(self.name, self.hidden.detach(), self.head.detach(), bias)


def opened(
    head: Tensor | torch.nn.Linear, bias: Tensor | None, name: str
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a head that may be a Linear."""
    if isinstance(head, Tensor):
        return head, bias
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise DtypeError(
            f"{name}_head is a {type(head).__name__}: pass the weight [vocabulary, hidden] or a "
            "torch.nn.Linear, such as model.get_output_embeddings()"
        )
    of_module = getattr(head, "bias", None)
    if bias is not None and of_module is not None:
        raise InputError(f"{name}_bias is given, and {name}_head has a bias of its own: pass one")
    return weight, bias if of_module is None else of_module


def check(student: Parts, teacher: Parts, vocabulary: int | None) -> None:
    """Raises DtypeError, ShapeError or VocabularyMismatch: parts that do not fit together."""
    for side in (student, teacher):
        for part, x in zip(("hidden", "head", "bias"), side.parts, strict=True):
            if x is not None and not (isinstance(x, Tensor) and x.is_floating_point()):
                raise DtypeError(f"{side.name}_{part} must be a floating tensor")
        size = side.hidden.shape[-1] if side.hidden.dim() else None
        if side.head.dim() != 2 or side.head.shape[1] != size:
            raise ShapeError(
                f"{side.name}_hidden has shape {tuple(side.hidden.shape)} and {side.name}_head "
                f"{tuple(side.head.shape)}: hidden is [..., hidden size], head [vocabulary, hidden "
                "size]"
            )
        if side.bias is not None and side.bias.shape != side.head.shape[:1]:
            raise ShapeError(
                f"{side.name}_bias has shape {tuple(side.bias.shape)}: it is [vocabulary], here "
                f"({len(side.head)},)"
            )
    if student.hidden.shape[:-1] != teacher.hidden.shape[:-1]:
        raise ShapeError(
            f"student_hidden has shape {tuple(student.hidden.shape)} and teacher_hidden "
            f"{tuple(teacher.hidden.shape)}: all dimensions but the last are positions and equal"
        )
    sizes = len(student.head), len(teacher.head)
    if vocabulary is None and sizes[0] != sizes[1]:
        raise VocabularyMismatch(
            f"the student's head has {sizes[0]} tokens and the teacher's {sizes[1]}: if they share "
            "the first ones and the rest is padding, say how many, vocabulary="
        )
    if vocabulary is not None and (
        not isinstance(vocabulary, int) or not 0 < vocabulary <= min(sizes)
    ):
        raise ShapeError(
            f"vocabulary={vocabulary}: the heads have {sizes[0]} and {sizes[1]} tokens"
        )
    devices = {x.device for side in (student, teacher) for x in side.parts if x is not None}
    if len(devices) > 1:
        raise ShapeError(f"hidden states, heads and biases are on {sorted(map(str, devices))}")
