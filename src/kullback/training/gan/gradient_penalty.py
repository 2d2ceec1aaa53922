"""The gradient penalty: a critic held near slope 1 between the data and the generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, ShapeError
from kullback.training.gan.scores import checked, refuse_non_finite
from kullback.training.plain import plain_number
from kullback.training.uncompiled import uncompiled

__all__ = ["gradient_penalty"]


@uncompiled
def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    weight: float = 10.0,
    generator: torch.Generator | None = None,
    validate: bool = True,
) -> Tensor:
    """weight · mean of (‖∇T(x̂)‖ − 1)² at x̂ = ε·real + (1 − ε)·fake, one ε ~ U(0, 1) an example.

    The norm is Euclidean, over all of an example's entries. It reaches the critic's parameters
    by a second backward, and not what made `real` and `fake`. The critic must score each example
    by itself: with batch normalisation the slope of one score would run over other examples.
    Compiled code has no second backward: within `torch.compile` this runs as it stands, and a
    critic that was compiled by itself is to be passed as it was before.

    Args:
        critic: T, from [n, ...] to one score an example: [n], or [n, 1].
        real: [n, ...], draws of P.
        fake: of the same shape, draws of Q.
        weight: λ, what the mean is multiplied by.
        generator: of the ε; by default torch's own of that device.
        validate: raise where a draw or a slope is not finite. It costs a look at them.

    Returns:
        A scalar, at least 0, to be added to `wasserstein_critic_loss`, in float32 (float64 if
        the draws are).

    Raises:
        ShapeError: shapes that differ, an empty batch, or not one score an example.
        DtypeError: draws that are not floating.
        NonFiniteError: NaN or an infinity in a draw, a score or a slope; the message says where.
        InputError: a weight out of its range, or scores that do not depend on the draws.

    Source: Gulrajani et al. (2017), Improved Training of Wasserstein GANs, eq. 3.

    Example:
        >>> real, fake = torch.randn(8, 2), torch.randn(8, 2)
        >>> print(f"{gradient_penalty(lambda x: x @ torch.tensor([3.0, 4.0]), real, fake):.1f}")
        160.0
    """
    weight = plain_number(weight, "weight")
    if not (weight > 0 and math.isfinite(weight)):
        raise InputError(f"weight={weight}: it must be positive, such as 10.0")
    _check(real, fake, validate)
    share_shape = (len(real), *([1] * (real.dim() - 1)))
    share = torch.rand(share_shape, generator=generator, dtype=real.dtype, device=real.device)
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    # The slope is part of the value: also where the caller wants no gradient of it.
    with torch.enable_grad():
        scores = checked(critic(between), "critic(x)", validate)
        if scores.shape not in ((len(real),), (len(real), 1)):
            raise ShapeError(
                f"the critic made scores of shape {tuple(scores.shape)} from {len(real)} examples: "
                f"one score an example is needed, [{len(real)}] or [{len(real)}, 1]"
            )
        slopes = _slopes(scores, between)
    if validate:
        refuse_non_finite(slopes, "the critic's slopes", "look at where the critic has a corner")
    lengths = torch.linalg.vector_norm(checked(slopes, "slopes", False).flatten(1), dim=1)
    return weight * (lengths - 1).square().mean()


def _check(real: Tensor, fake: Tensor, validate: bool) -> None:
    for x, name in ((real, "real"), (fake, "fake")):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise DtypeError(f"{name} is of {kind}: a slope needs draws in a floating tensor")
    if real.shape != fake.shape or real.dtype != fake.dtype:
        raise ShapeError(
            f"real is {tuple(real.shape)} of {real.dtype} and fake {tuple(fake.shape)} of "
            f"{fake.dtype}: each draw of the one is mixed with one of the other, so pass as many "
            "of both, of one shape and dtype"
        )
    if real.dim() < 2 or real.numel() == 0:
        raise ShapeError(
            f"real has shape {tuple(real.shape)}: pass [n, ...] with at least one example, draws "
            "on the line as [n, 1]"
        )
    if validate:
        refuse_non_finite(real, "real", "the data must be finite; look at how they were scaled")
        refuse_non_finite(fake, "fake", "the generator has left the finite numbers")


def _slopes(scores: Tensor, between: Tensor) -> Tensor:
    found = None
    if scores.requires_grad:
        (found,) = torch.autograd.grad(scores.sum(), between, create_graph=True, allow_unused=True)
    if found is None:
        raise InputError(
            "the critic's scores do not depend on its input by autograd: a detach() or no_grad() "
            "inside it would make the penalty a constant"
        )
    return found
