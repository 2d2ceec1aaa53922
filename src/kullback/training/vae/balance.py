"""KL balancing: posterior and prior pull at each other, and each gives way at its own pace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError
from kullback.training.plain import plain_number

__all__ = ["balanced_kl"]


def balanced_kl(
    kl: Callable[..., Tensor],
    posterior: Sequence[Tensor],
    prior: Sequence[Tensor],
    *,
    balance: float = 0.8,
) -> Tensor:
    """KL(posterior‖prior) whose gradient is shared out: `balance` to the prior, else the posterior.

    The value is that of balance·KL(sg(q)‖p) + (1 − balance)·KL(q‖sg(p)), sg a stopped gradient:
    KL(q‖p) itself. With a learned prior and balance > ½ the prior is trained towards the posterior
    faster than the posterior is regularised towards a prior that knows nothing yet.

    DreamerV3's 0.5·max(1, KL(sg(q)‖p)) + 0.1·max(1, KL(q‖sg(p))) is 0.6 times
    `FreeBits(1.0, per="all", over="sample")` of this with balance=5/6.

    Args:
        kl: a function of the posterior's parameters and then the prior's: `gaussian_kl`, or any
            other, with its options by `functools.partial`.
        posterior: the parameters of q, such as (mean, log_variance).
        prior: the parameters of p.
        balance: the prior's share, between 0 and 1.

    Returns:
        What `kl` returns, evaluated once.

    Raises:
        InputError: a share out of its range, or a bare tensor for the parameters of a side.
        DtypeError: a parameter that is no tensor.

    Source: Hafner, Lillicrap, Norouzi & Ba (2021), Mastering Atari with Discrete World Models,
    algorithm 2; Hafner, Pasukonis, Ba & Lillicrap (2023), Mastering Diverse Domains through World
    Models, section on the world model.

    Example:
        >>> from kullback.training.vae.gaussian import gaussian_kl
        >>> q = torch.tensor([[1.0]], requires_grad=True), torch.zeros(1, 1)
        >>> p = torch.tensor([[0.0]], requires_grad=True), torch.zeros(1, 1)
        >>> balanced_kl(gaussian_kl, q, p).backward()
        >>> print(f"{q[0].grad.item():.1f} {p[0].grad.item():.1f}")
        0.2 -0.8
    """
    balance = plain_number(balance, "balance", advice=", such as 0.8")
    if not 0 <= balance <= 1:
        raise InputError(f"balance={balance}: the prior's share lies between 0 and 1, such as 0.8")
    q = [_scaled(x, 1 - balance) for x in _parameters(posterior, "posterior")]
    p = [_scaled(x, balance) for x in _parameters(prior, "prior")]
    return kl(*q, *p)


def _parameters(side: Any, name: str) -> list[Tensor]:
    # A tensor would be iterated over too, its rows for parameters.
    if isinstance(side, Tensor) or not isinstance(side, Iterable):
        raise InputError(
            f"{name} is a {type(side).__name__}: pass the parameters that kl takes in a tuple, "
            "such as (mean, log_variance)"
        )
    parameters = list(side)
    for place, x in enumerate(parameters):
        if not isinstance(x, Tensor):
            raise DtypeError(f"{name}[{place}] is of {type(x).__name__}: pass a tensor")
    return parameters


def _scaled(x: Tensor, factor: float) -> Tensor:
    """x itself, bit for bit, through which a gradient passes times `factor`."""
    return _ScaledGradient.apply(x, factor)  # type: ignore[no-any-return]


class _ScaledGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.factor * gradient, None
