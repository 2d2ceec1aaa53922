"""What a loss's KLs have to be before anything is computed from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from kullback.errors import DtypeError, NonFiniteError

__all__ = ["check_kls"]


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
