"""What an option or a loss's KLs have to be before anything is computed from them."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from kullback.errors import DtypeError, InputError, NonFiniteError

__all__ = ["check_kls", "finite", "whole"]


def finite(value: Any, name: str, *, least: float = -math.inf, advice: str = "") -> float:
    """A finite number.

    Raises:
        NonFiniteError: NaN.
        InputError: no number, an infinity, or one below `least`.

    Example:
        >>> finite(0.5, "nats", least=0)
        0.5
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name}={value!r} is of {type(value).__name__}: pass a number{advice}")
    number = float(value)
    if math.isnan(number):
        raise NonFiniteError(f"{name}={value}: pass a number{advice}")
    if not (math.isfinite(number) and number >= least):
        above = "" if least == -math.inf else f" and at least {least:g}"
        raise InputError(f"{name}={value}: it must be finite{above}{advice}")
    return number


def whole(value: Any, name: str, *, least: int, advice: str = "") -> int:
    """A whole number of at least `least`.

    Raises:
        InputError: anything else, 2.0 too.

    Example:
        >>> whole(3, "steps", least=1)
        3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name}={value!r}: it must be a whole number, at least {least}{advice}")
    return int(value)


def check_kls(kl: Any, advice: str, validate: bool) -> None:
    """Raises where a loss's KLs are no floating tensor, or, if `validate`, where one is NaN.

    Raises:
        DtypeError: no floating tensor.
        NonFiniteError: NaN; the message says where.
    """
    if not isinstance(kl, Tensor) or not kl.is_floating_point():
        kind = kl.dtype if isinstance(kl, Tensor) else type(kl).__name__
        raise DtypeError(f"kl is of {kind}: pass {advice}, a floating tensor")
    if not validate or torch.compiler.is_compiling() or is_functorch_wrapped_tensor(kl):
        return
    wrong = kl.detach().isnan()
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        raise NonFiniteError(
            f"kl{place or ''} is nan: if training diverged, look at the loss of the steps before"
        )
