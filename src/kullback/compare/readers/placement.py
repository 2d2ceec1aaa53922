"""Where models run and in which arithmetic: the names `device=` and `dtype=` may give.

Names are checked before anything is loaded, since a large model takes minutes to arrive at a
device that is not there.
"""

from __future__ import annotations

from typing import Any

import torch

from kullback.errors import InputError

__all__ = ["pick_device", "pick_dtype"]


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, or the best there is for None and "auto".

    Raises `InputError` for a name that is none, and for a device that cannot be used here.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if device in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={device!r}: choose auto, cpu, cuda or mps") from error
    try:
        # A number has to come back: this fails for a driver that is missing, a GPU too many,
        # and devices that hold nothing.
        torch.zeros(1, device=found).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"device={str(device)!r} cannot be used here ({reason}): leave it out to run on the "
            "best there is"
        ) from error
    return found


def pick_dtype(dtype: Any, default: Any) -> Any:
    """The floating dtype of that name, "auto" as it is, and `default` for None.

    Raises `InputError` for anything else.

    >>> pick_dtype("bfloat16", None)
    torch.bfloat16
    """
    if dtype is None:
        return default
    if dtype == "auto":
        return dtype
    found = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={dtype!r}: choose auto, float32, bfloat16, float16 or float64")
    return found
