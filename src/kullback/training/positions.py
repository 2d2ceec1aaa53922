"""Which positions count, how much each, and what their sum is divided by."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, ShapeError

__all__ = ["Positions", "Reduction", "count_positions"]

Reduction = Literal["mean", "sum", "none"] | float | Tensor
"""What becomes of the positions' losses; a number is what their sum is divided by."""

_said_nothing_counted = False


@dataclass(frozen=True)
class Positions:
    """The positions of a batch, flattened.

    Attributes:
        shape: as they came, without the vocabulary.
        counted: a mask of the flattened positions; None if all count.
        weight: of each flattened position in the loss, its share of the divisor included; 0 where
            it does not count.
        reduced: whether their sum is asked for, and not each by itself.
    """

    shape: torch.Size
    counted: Tensor | None
    weight: Tensor
    reduced: bool


def count_positions(
    shape: torch.Size,
    device: torch.device,
    *,
    mask: Tensor | None,
    labels: Tensor | None = None,
    ignore_index: int = -100,
    weights: Tensor | None = None,
    reduction: Reduction,
) -> Positions:
    """The positions that mask, labels and weights leave.

    Raises:
        ShapeError: a mask, labels or weights of another shape than the positions.
        InputError: negative or non-finite weights, or an unknown reduction.
    """
    counted = None
    if mask is not None:
        told = _of_shape(mask, shape, device, "mask")
        if mask.dtype != torch.bool and not bool(((told == 0) | (told == 1)).all()):
            raise InputError(
                "mask must be boolean, or 1 where a position counts and 0 where not: an additive "
                "mask is turned by mask == 0"
            )
        counted = told != 0
    if labels is not None:
        if isinstance(labels, Tensor) and labels.is_floating_point():
            raise DtypeError(f"labels have dtype {labels.dtype}: pass token ids, labels.long()")
        told = _of_shape(labels, shape, device, "labels") != ignore_index
        counted = told if counted is None else counted & told
    weight = torch.ones(shape.numel(), dtype=torch.float64, device=device)
    if weights is not None:
        if isinstance(weights, Tensor) and weights.requires_grad:
            raise InputError(
                "weights require a gradient, which this loss does not give: pass weights.detach(), "
                'or weigh the losses of reduction="none" yourself'
            )
        weight = _of_shape(weights, shape, device, "weights").detach().double()
        if not bool(((weight >= 0) & weight.isfinite()).all()):
            raise InputError("weights must be finite and at least 0, one for each position")
    if counted is not None:
        weight = torch.where(counted, weight, 0.0)
    divisor = _divisor(weight, reduction)
    if counted is not None or weights is not None:
        counted = weight > 0
        if bool(counted.all()):
            counted = None
        elif not bool(counted.any()):
            _say_nothing_counted()
    return Positions(shape, counted, weight / divisor, reduction != "none")


def _of_shape(x: Tensor, shape: torch.Size, device: torch.device, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise DtypeError(f"{name} is a {type(x).__name__}: pass a tensor, torch.tensor({name})")
    if x.shape != shape:
        shifted = ", shifted as the predictions are" if name == "labels" else ""
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)} and the positions {tuple(shape)}: give one entry "
            f"for each position{shifted}"
        )
    return x.to(device).reshape(-1)


def _divisor(weight: Tensor, reduction: Reduction) -> Tensor | float:
    if isinstance(reduction, str) and reduction == "mean":
        total = weight.sum()
        # Where nothing counts the sum is 0, whatever it is divided by.
        return torch.where(total > 0, total, 1.0)
    if isinstance(reduction, str) and reduction in ("sum", "none"):
        return 1.0
    number = isinstance(reduction, Real) and not isinstance(reduction, bool)
    if not number and not (isinstance(reduction, Tensor) and reduction.numel() == 1):
        raise InputError(
            f'reduction={reduction!r}: "mean" (over the counted positions), "sum", "none", or one '
            "number to divide the sum by, such as num_items_in_batch"
        )
    value = float(reduction)
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"reduction={value}: a divisor must be positive and finite")
    return value


def _say_nothing_counted() -> None:
    global _said_nothing_counted
    if not _said_nothing_counted:
        _said_nothing_counted = True
        warnings.warn(
            "no position of this batch counts (mask, labels or weights leave none): the loss is 0 "
            "and so is its gradient. This is said once.",
            # Above: this, count_positions, the loss, and what keeps the compiler out of it.
            stacklevel=5,
        )
