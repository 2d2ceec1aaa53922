"""KL from N(0, 1) in one pass, where an encoder's output lies in this machine's memory.

Every step of a variational autoencoder asks for it. The formula in `gaussian` answers everywhere,
in some forty passes over the batch; the loop in `numerics.cpu` finds each KL in one, and its slope
with it, which backward then has to scale only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from kullback.numerics.fused import in_reach
from kullback.training.vae.reductions import LatentReduction, divisor_of, reduce_latents

__all__ = ["standard_normal_kl"]


class _Found(NamedTuple):
    """What the loop has found: KLs, reduced where `divisor` says by what, and ∂KL/∂log σ²."""

    value: Tensor
    slope: Tensor
    divisor: float


def standard_normal_kl(
    mean: Tensor, log_variance: Tensor, reduction: LatentReduction, latent_dims: int
) -> Tensor | None:
    """KL(N(mean, exp(log_variance))‖N(0, 1)), reduced, or None where the loop cannot serve.

    Both are of one dtype, float32 or float64. None also where a parameter is no moderate number.

    Example:
        >>> standard_normal_kl(torch.ones(2, 3), torch.zeros(2, 3), "sum", 1)
        tensor(3.)
    """
    if not in_reach((mean, log_variance)):
        return None
    if mean.shape != log_variance.shape:
        mean, log_variance = torch.broadcast_tensors(mean, log_variance)
    recorded = torch.is_grad_enabled() and (mean.requires_grad or log_variance.requires_grad)
    swept = _sweep(mean.detach(), log_variance.detach(), recorded)
    if swept is None:
        return None
    each, slope = swept
    if not recorded:
        return reduce_latents(each, reduction, latent_dims)
    divisor = divisor_of(reduction, each.shape, latent_dims)
    if divisor is None or isinstance(divisor, Tensor):
        each = _Recorded.apply(mean, log_variance, _Found(each, slope, 1.0))
        return reduce_latents(each, reduction, latent_dims)
    # Reduced before it is recorded, which leaves backward a number to multiply by, and no batch.
    value = reduce_latents(each, divisor, latent_dims)
    return _Recorded.apply(mean, log_variance, _Found(value, slope, divisor))


def _sweep(mean: Tensor, log_variance: Tensor, sloped: bool) -> tuple[Tensor, Tensor] | None:
    from kullback.kernels.cpu import over_rows
    from kullback.numerics.cpu import standard_normal

    mu, v = mean.numpy().ravel(), log_variance.numpy().ravel()
    each = torch.empty(mean.shape, dtype=mean.dtype)
    slope = torch.empty(mean.shape if sloped else 0, dtype=mean.dtype)
    values, slopes = each.numpy().ravel(), slope.numpy().ravel()
    whole: list[bool] = []

    def portion(first: int, last: int) -> None:
        part = slice(first, last)
        whole.append(standard_normal(values[part], slopes[part], mu[part], v[part]))

    over_rows(portion, mu.size, 1)
    return (each, slope) if all(whole) else None


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, mean: Tensor, log_variance: Tensor, found: _Found
    ) -> Tensor:
        ctx.save_for_backward(mean, log_variance, found.slope)
        ctx.divisor = found.divisor
        return found.value

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        mean, log_variance, slope = ctx.saved_tensors
        # Grad mode is on in a backward exactly when its result has to be differentiable.
        if torch.is_grad_enabled():
            slope = 0.5 * torch.expm1(log_variance)
        if ctx.divisor != 1:
            weight = weight / ctx.divisor
        of_mean, of_variance, _ = ctx.needs_input_grad
        return weight * mean if of_mean else None, weight * slope if of_variance else None, None
