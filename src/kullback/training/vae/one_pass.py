"""The KL of Gaussians in one pass, where an encoder's output lies in this machine's memory.

Every step of a variational autoencoder asks for it. The formula in `gaussian` answers everywhere,
in some forty passes over the batch; the loops in `numerics.cpu` find each KL in one, and its slopes
with it, which backward then has to scale only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from kullback.numerics.fused import in_reach
from kullback.training.vae.reductions import LatentReduction, divisor_of, reduce_latents

__all__ = ["gaussian_kl_in_one_pass"]


class _Found(NamedTuple):
    """What a loop has found: KLs, reduced where `divisor` says by what, and the slopes.

    Those in the mean and the log-variances; against N(0, 1) in the log-variance alone, since the
    one in the mean is the mean.
    """

    value: Tensor
    slopes: Tensor
    divisor: float


def gaussian_kl_in_one_pass(
    sides: tuple[Tensor, ...], reduction: LatentReduction, latent_dims: int
) -> Tensor | None:
    """The KL of Gaussians, reduced, or None where the loop cannot serve.

    Args:
        sides: mean and log-variance, against N(0, 1), and then those of the prior, if there is one;
            of one dtype, float32 or float64.
        reduction, latent_dims: as in `gaussian_kl`.

    Returns:
        None also where a parameter is no moderate number.

    Example:
        >>> gaussian_kl_in_one_pass((torch.ones(2, 3), torch.zeros(2, 3)), "sum", 1)
        tensor(3.)
    """
    if not in_reach(sides):
        return None
    if any(x.shape != sides[0].shape for x in sides):
        sides = torch.broadcast_tensors(*sides)  # type: ignore[assignment]
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in sides)
    swept = _sweep([x.detach() for x in sides], recorded)
    if swept is None:
        return None
    each, slopes = swept
    if not recorded:
        return reduce_latents(each, reduction, latent_dims)
    divisor = divisor_of(reduction, each.shape, latent_dims)
    if divisor is None or isinstance(divisor, Tensor):
        each = _Recorded.apply(_Found(each, slopes, 1.0), *sides)
        return reduce_latents(each, reduction, latent_dims)
    # Reduced before it is recorded, which leaves backward a number to multiply by, and no batch.
    value = reduce_latents(each, divisor, latent_dims)
    return _Recorded.apply(_Found(value, slopes, divisor), *sides)


def _sweep(sides: list[Tensor], sloped: bool) -> tuple[Tensor, Tensor] | None:
    from kullback.kernels.cpu import over_rows
    from kullback.numerics import cpu

    against_prior = len(sides) == 4
    loop = cpu.gaussian if against_prior else cpu.standard_normal
    shape, dtype = sides[0].shape, sides[0].dtype
    arrays = [x.numpy().ravel() for x in sides]
    each = torch.empty(shape, dtype=dtype)
    slopes = torch.empty(((3,) if against_prior else ()) + shape if sloped else 0, dtype=dtype)
    size = each.numel()
    values = each.numpy().ravel()
    rows = slopes.numpy().reshape((3, -1) if against_prior else -1)
    whole: list[bool] = []

    def portion(first: int, last: int) -> None:
        part = slice(first, last)
        whole.append(loop(values[part], rows[..., part], *(x[part] for x in arrays)))

    over_rows(portion, size, 1)
    return (each, slopes) if all(whole) else None


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: _Found, *sides: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(found.slopes, *sides)
        ctx.divisor = found.divisor
        return found.value

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        slopes, *sides = ctx.saved_tensors
        if ctx.divisor != 1:
            weight = weight / ctx.divisor
        gradients = _gradients(slopes, sides, weight, ctx.needs_input_grad[1:])
        return None, *gradients


def _gradients(
    slopes: Tensor, sides: list[Tensor], weight: Tensor, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    # Grad mode is on in a backward exactly when its result has to be differentiable.
    again = torch.is_grad_enabled()
    mean, log_variance, *prior = sides
    if not prior:
        found = [mean, 0.5 * torch.expm1(log_variance) if again else slopes]
    else:
        of_mean, of_variance, of_prior = _again(*sides) if again else slopes
        found = [of_mean, of_variance, -of_mean, of_prior]
    return [weight * slope if needed else None for slope, needed in zip(found, needs, strict=True)]


def _again(mean: Tensor, v: Tensor, prior_mean: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    """The slopes in the mean and the log-variances, recorded."""
    gap = mean - prior_mean
    of_mean, of_variance = gap * (-w).exp(), 0.5 * torch.expm1(v - w)
    return of_mean, of_variance, -(of_variance + 0.5 * gap * of_mean)
