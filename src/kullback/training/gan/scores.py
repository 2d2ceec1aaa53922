"""What a critic's scores have to be, and the two means of them that bounds are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from kullback.errors import DtypeError, NonFiniteError, ShapeError
from kullback.numerics import compute_dtype

__all__ = ["checked", "log_mean_exp", "refuse_non_finite", "refuse_overflow"]

_LEFT = (
    "the critic has left the finite numbers, often by too large a step; look at its inputs and "
    "its last update"
)


def checked(scores: Tensor, name: str, validate: bool = True) -> Tensor:
    """The scores, in float32 or float64.

    Raises:
        DtypeError: no floating tensor.
        ShapeError: not a single score.
        NonFiniteError: NaN or an infinity, if `validate`; the message says where.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise DtypeError(f"{name} is of {kind}: pass a floating tensor of the critic's scores")
    if scores.numel() == 0:
        raise ShapeError(
            f"{name} has shape {tuple(scores.shape)}, without a single score: its mean is not "
            "defined; skip empty batches"
        )
    if validate:
        refuse_non_finite(scores, name, _LEFT)
    return scores.to(compute_dtype(scores))


def refuse_non_finite(x: Tensor, name: str, advice: str) -> None:
    """Raise NonFiniteError at the first entry that is NaN or infinite."""
    if is_functorch_wrapped_tensor(x):
        # Mapped and differentiated code cannot look.
        return
    wrong = ~x.detach().isfinite()
    if bool(wrong.any()):
        place = tuple(wrong.nonzero()[0].tolist())
        raise NonFiniteError(f"{name}{list(place)} is {float(x.detach()[place])}: {advice}")


def refuse_overflow(value: Tensor, name: str, scores: Mapping[str, Tensor]) -> None:
    """Raise NonFiniteError with the largest score, where the value of finite scores is not."""
    if is_functorch_wrapped_tensor(value):
        return
    if bool(value.detach().isfinite()):
        return
    of, x = max(scores.items(), key=lambda item: float(item[1].detach().abs().max()))
    flat = x.detach().flatten()
    at = int(flat.abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(at), x.shape)]
    raise NonFiniteError(
        f"{name} is {float(value.detach())}: {of}{place} is {float(flat[at]):.6g}, the largest "
        f"score, and what f* makes of it is beyond {x.dtype}. The critic runs away, often by too "
        "large a step"
    )


def log_mean_exp(scores: Tensor) -> Tensor:
    """log of the mean of e^score, over all of them."""
    return scores.flatten().logsumexp(0) - math.log(scores.numel())
