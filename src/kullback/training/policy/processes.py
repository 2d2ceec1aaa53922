"""One mean over all processes, so that each of them takes the same step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.training.plain import plain_number

__all__ = ["mean_over_processes"]


def mean_over_processes(
    kl: Tensor | float, samples: Tensor | float, group: Any
) -> tuple[float, float]:
    """The mean KL weighted by samples, and their number, over the processes of `group`.

    Without an initialised `torch.distributed` they are those of this process.

    Raises:
        ShapeError: a tensor of more than one number.
        InputError: samples that are no positive number, here or in another process.
        NonFiniteError: a mean that is NaN or infinite; in every process at once.
    """
    # A process that raised alone would leave the others waiting: what is wrong travels as NaN.
    wrong, value, count = None, math.nan, math.nan
    try:
        value, count = _one_number(kl, "kl"), _positive(samples)
    except InputError as error:
        wrong = error
    mean, number = _gathered(value, count, kl, group)
    if wrong is not None:
        raise wrong
    if math.isnan(number):
        raise InputError(
            "another process passed a kl that is not one number, or samples that are not the "
            "positive number which kl is the mean of: its own error says which"
        )
    if not math.isfinite(mean):
        raise NonFiniteError(
            f"the mean KL is {mean}, here {value}: the coefficient is as it was. Look for actions "
            "that the reference cannot take, or for an overflow"
        )
    return mean, number


def _one_number(x: Tensor | float, name: str) -> float:
    if not isinstance(x, Tensor):
        return plain_number(x, name)
    if x.numel() != 1:
        raise ShapeError(f"{name} has shape {tuple(x.shape)}: pass one number for the whole batch")
    return float(x.detach())


def _positive(samples: Tensor | float) -> float:
    count = _one_number(samples, "samples")
    if not (count > 0 and math.isfinite(count)):
        raise InputError(
            f"samples={samples}: it is the positive number of samples that kl is the mean of"
        )
    return count


def _gathered(value: float, count: float, kl: Tensor | float, group: Any) -> tuple[float, float]:
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return value, count
    device = kl.device if isinstance(kl, Tensor) else torch.device("cpu")
    if device.type == "cpu" and distributed.get_backend(group) == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    sums = torch.tensor([value * count, count], dtype=torch.float64, device=device)
    distributed.all_reduce(sums, group=group)
    summed, number = sums.tolist()
    return summed / number, number
