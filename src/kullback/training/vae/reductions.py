"""What becomes of many KLs, one for each latent dimension: summed over what, divided by what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal

from torch import Tensor

from kullback.errors import InputError, ShapeError
from kullback.numerics import accumulation_dtype
from kullback.training.plain import plain_int

__all__ = ["LatentReduction", "check_reduction", "divisor_of", "reduce_latents"]

LatentReduction = (
    Literal["mean_over_samples", "mean_over_all", "sum", "per_sample", "none"] | float | Tensor
)
"""How KLs of each latent dimension are summed; a number is what their sum is divided by."""

_NAMES = ("mean_over_samples", "mean_over_all", "sum", "per_sample", "none")


def check_reduction(reduction: LatentReduction, latent_dims: int, shape: tuple[int, ...]) -> None:
    """Raises where KLs of this shape cannot be reduced so.

    Raises:
        InputError: an unknown reduction, a divisor that is not positive and finite, or
            `latent_dims` that are no whole number.
        ShapeError: fewer dimensions than `latent_dims`, or nothing to average.
    """
    if isinstance(reduction, str):
        if reduction not in _NAMES:
            raise InputError(
                f"reduction={reduction!r} is not one of {list(_NAMES)}, nor a number to divide "
                "the sum by"
            )
    elif isinstance(reduction, bool) or not (
        isinstance(reduction, Real) or (isinstance(reduction, Tensor) and reduction.numel() == 1)
    ):
        raise InputError(
            f"reduction={reduction!r} is of {type(reduction).__name__}: pass one of "
            f"{list(_NAMES)}, or a number to divide the sum by"
        )
    elif not (float(reduction) > 0 and math.isfinite(float(reduction))):
        raise InputError(
            f"reduction={float(reduction)}: a divisor must be positive and finite, such as the "
            "batch size"
        )
    if plain_int(latent_dims, "latent_dims", least=0) > len(shape):
        raise ShapeError(
            f"latent_dims={latent_dims}, and the KLs have shape {shape}: it is how many of their "
            "last dimensions are one sample's latents"
        )
    if 0 in shape:
        raise ShapeError(f"the KLs have shape {shape}: there is nothing in it to add up")


def reduce_latents(each: Tensor, reduction: LatentReduction, latent_dims: int) -> Tensor:
    """The KLs [*samples, *latents] reduced, accumulated wide, in their own dtype."""
    if reduction == "none":
        return each
    wide = accumulation_dtype(each)
    divisor = divisor_of(reduction, each.shape, latent_dims)
    if divisor is None:
        latents = tuple(range(each.dim() - latent_dims, each.dim()))
        return each.sum(latents, dtype=wide).to(each.dtype) if latents else each
    return (each.sum(dtype=wide) / divisor).to(each.dtype)


def divisor_of(
    reduction: LatentReduction, shape: Sequence[int], latent_dims: int
) -> float | Tensor | None:
    """What the sum of all KLs is divided by; None where it is not all of them that are summed."""
    if not isinstance(reduction, str):
        return reduction
    samples = math.prod(shape[: len(shape) - latent_dims])
    divisors = {
        "mean_over_samples": samples,
        "mean_over_all": math.prod(shape),
        "sum": 1.0,
    }
    return divisors.get(reduction)
