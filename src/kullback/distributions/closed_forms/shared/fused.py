"""KL of large batches of Normals in one pass on the CPU, for the most frequent question of all.

A variational autoencoder asks for KL(N(μ, σ²)‖N(0, 1)) at every step. The formula in
`closed_forms.normal` answers everywhere; where the parameters are float32 in this machine's
memory, and only their values and first derivatives are asked for, the kernel here is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

__all__ = ["fused_normal_kl"]

# With fewer elements torch's own operations are done before the kernel has begun.
_PAYS = 1024


def fused_normal_kl(
    loc_p: Tensor, scale_p: Tensor, loc_q: Tensor, scale_q: Tensor
) -> Tensor | None:
    """KL(N(loc_p, scale_p²)‖N(loc_q, scale_q²)) in float32, or None where the kernel cannot serve.

    Example:
        >>> loc, scale = torch.zeros(2048), torch.full((2048,), 2.0)
        >>> fused_normal_kl(loc, scale, torch.zeros(()), torch.ones(()))[:2]
        tensor([0.8069, 0.8069])
        >>> fused_normal_kl(loc.double(), scale.double(), torch.zeros(()), torch.ones(())) is None
        True
    """
    parameters = loc_p, scale_p, loc_q, scale_q
    if loc_p.numel() < _PAYS and loc_q.numel() < _PAYS:
        return None
    # Forward mode and dispatch modes say whether they are on in private names only.
    if (
        torch.compiler.is_compiling()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    ):
        return None
    recorded = False
    for x in parameters:
        if not _is_plain(x):
            return None
        recorded = recorded or x.requires_grad
    if recorded and torch.is_grad_enabled():
        return _FusedNormalKL.apply(*parameters)
    from kullback.kernels.cpu_normal import normal_kl

    return normal_kl(*parameters)


def _is_plain(x: Tensor) -> bool:
    """A float32 tensor in this machine's memory, and not one that stands for another."""
    known = type(x) is Tensor or type(x) is torch.nn.Parameter
    return known and x.dtype is torch.float32 and x.is_cpu and not is_functorch_wrapped_tensor(x)


class _FusedNormalKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> Tensor:  # type: ignore[override]
        from kullback.kernels.cpu_normal import normal_kl

        ctx.save_for_backward(*parameters)
        return normal_kl(*parameters)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        parameters, needs = ctx.saved_tensors, ctx.needs_input_grad
        # Grad mode is on in a backward exactly when its result has to be differentiable.
        if torch.is_grad_enabled() or not _is_plain(weight):
            loc, of_p, of_q = _slopes(parameters, weight)
        else:
            from kullback.kernels.cpu_normal import normal_kl_slopes

            loc, of_p, of_q = normal_kl_slopes(*parameters, weight=weight, of_q=needs[3])
        found = (loc, of_p, -loc if needs[2] else None, of_q)
        return tuple(
            slope.sum_to_size(x.shape) if needed and slope is not None else None
            for slope, x, needed in zip(found, parameters, needs, strict=True)
        )


def _slopes(parameters: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """weight · ∂KL in loc_p, in scale_p and in scale_q, from operations that differentiate."""
    loc_p, scale_p, loc_q, scale_q = parameters
    z = (loc_p - loc_q) / scale_q
    spread = (scale_p - scale_q) / scale_q * ((scale_p + scale_q) / scale_q)
    return weight * z / scale_q, weight * spread / scale_p, -weight * (spread + z * z) / scale_q
