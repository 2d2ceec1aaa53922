"""The Wasserstein distance of draws on the line: exact, column by column, and differentiable.

On the line the cheapest coupling joins what has the same rank, so that sorting is all there is to
do. The distance is that of the two sets of draws themselves; how far it is from the distance of
what they were drawn from, `wasserstein` says with an interval.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.tensors.orders import number_of

__all__ = ["check_order", "wasserstein_line"]

Array = TypeVar("Array", Tensor, np.ndarray)


def wasserstein_line(x: Array, y: Array, order: float = 1.0) -> Array:
    """W_order between the draws x of P and y of Q on the line, one number for each column.

    W_p = (∫₀¹ |F⁻¹(u) − G⁻¹(u)|^p du)^(1/p) with the quantile functions of the two sets of draws:
    the exact distance between those sets, in the unit of the draws.

    Args:
        x, y: [n] and [m], or [n, columns] and [m, columns]; two tensors or two NumPy arrays.
            n and m may differ. Whole numbers are taken as float64, half precision as float32.
        order: the p above, at least 1.

    Returns:
        A scalar, or [columns], of the kind of the inputs, float64 if either side is. A tensor
        carries gradients in x and y, once differentiable on the CPU; at a distance of 0 they
        are 0, and so is the gradient of draws that their partner equals.

    Raises:
        InputError: an order below 1 or not finite.
        ShapeError: sides with other columns, or no draws.
        DtypeError: a tensor and an array, complex numbers or labels, two devices.
        NonFiniteError: NaN or an infinity, naming the first.

    Source: Santambrogio (2015), Optimal Transport for Applied Mathematicians, proposition 2.17.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
        >>> distance = wasserstein_line(x, torch.tensor([5.0, 6.0, 8.0]))
        >>> distance.item()
        5.0
        >>> distance.backward()
        >>> x.grad
        tensor([-0.3333, -0.3333, -0.3333])
        >>> float(wasserstein_line(np.array([0.0, 1.0]), np.array([0.0, 0.0, 3.0]), order=2))
        1.224744871391589
    """
    order = check_order(order)
    _check(x, y)
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        of_x, of_y = _of_one_dtype(x, y)
        return _of_tensors(of_x, of_y, order)
    kind = np.result_type(x, y, np.float32)
    kind = np.dtype(np.float32 if kind == np.float32 else np.float64)
    one, other = np.asarray(x).astype(kind, copy=False), np.asarray(y).astype(kind, copy=False)
    found = _measured(one, other, order)
    return found.reshape(one.shape[1:]).astype(kind)[()]  # type: ignore[return-value]


def check_order(order: Any) -> float:
    """The order as a float; InputError unless it is at least 1 and finite."""
    order = number_of(order, "order")
    if not 1 <= order < float("inf"):
        raise InputError(f"order={order} must be at least 1 and finite")
    return order


def _check(x: Any, y: Any) -> None:
    kinds = {isinstance(side, Tensor) for side in (x, y)}
    if len(kinds) == 2 or not all(isinstance(side, (Tensor, np.ndarray)) for side in (x, y)):
        raise DtypeError(
            f"x is a {type(x).__name__} and y a {type(y).__name__}: give two tensors or two NumPy "
            "arrays"
        )
    for side, name in ((x, "x"), (y, "y")):
        real = not side.is_complex() if isinstance(side, Tensor) else side.dtype.kind in "iuf"
        if not real or side.dtype in (torch.bool,):
            raise DtypeError(f"{name} has dtype {side.dtype}: draws on the line are real numbers")
        if side.ndim not in (1, 2) or 0 in side.shape:
            raise ShapeError(
                f"{name} has shape {tuple(side.shape)}: draws are [n], or [n, columns] with a "
                "distance for each column"
            )
    if x.shape[1:] != y.shape[1:]:
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}: both need the same columns, "
            "only the number of draws may differ"
        )
    if isinstance(x, Tensor) and x.device != y.device:
        raise DtypeError(f"x is on {x.device} and y on {y.device}: move one to the other's device")


def _of_one_dtype(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    narrow = (torch.float32, torch.float16, torch.bfloat16)
    kind = torch.float32 if x.dtype in narrow and y.dtype in narrow else torch.float64
    return x.to(kind), y.to(kind)


def _of_tensors(x: Tensor, y: Tensor, order: float) -> Tensor:
    if x.device.type != "cpu":
        found = by_gathering(x, y, order)
        if not bool(torch.isfinite(found).all()):
            _refuse(x.detach().cpu().numpy(), y.detach().cpu().numpy())
        return found
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return _Line.apply(x, y, order)  # type: ignore[return-value]
    found = _measured(x.detach().numpy(), y.detach().numpy(), order)
    return torch.from_numpy(found).to(x.dtype).reshape(x.shape[1:])


def _measured(x: np.ndarray, y: np.ndarray, order: float) -> np.ndarray:
    from kullback.samples.transport.line_loops import distances

    found = distances(x.reshape(len(x), -1), y.reshape(len(y), -1), order)
    if not np.isfinite(found).all():
        _refuse(x, y)
    return found


def _refuse(x: np.ndarray, y: np.ndarray) -> None:
    for side, name in ((x, "x"), (y, "y")):
        bad = np.argwhere(~np.isfinite(side))
        if len(bad):
            where = tuple(int(index) for index in bad[0])
            raise NonFiniteError(
                f"{name}{list(where)} is {side[where]} ({len(bad)} in all): draws are finite; "
                "leave those out only if they are missing at random"
            )
    raise NonFiniteError("distances between the draws overflow: divide both sides by one number")


class _Line(torch.autograd.Function):
    """The distances, with the slopes that the same walk over both sides gives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, order: float) -> Tensor:
        from kullback.samples.transport.line_loops import slopes

        one, other = x.detach().numpy(), y.detach().numpy()
        found, of_x, of_y = slopes(one.reshape(len(one), -1), other.reshape(len(other), -1), order)
        if not np.isfinite(found).all():
            _refuse(one, other)
        ctx.save_for_backward(
            torch.from_numpy(of_x).to(x.dtype).reshape(x.shape),
            torch.from_numpy(of_y).to(y.dtype).reshape(y.shape),
        )
        return torch.from_numpy(found).to(x.dtype).reshape(x.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_y = ctx.saved_tensors
        return of_x * grads[0], of_y * grads[0], None


def by_gathering(x: Tensor, y: Tensor, order: float) -> Tensor:
    """The same by torch's own operations, on any device; differentiable like them.

    Which ranks meet depends on n and m alone, and so is known before anything is sorted.
    """
    xs, ys = x.sort(dim=0).values, y.sort(dim=0).values
    n, m = len(x), len(y)
    if n == m:
        gaps, weight = xs - ys, torch.full((1,), 1 / n, dtype=x.dtype, device=x.device)
    else:
        steps = [torch.arange(1, a + 1, device=x.device) * b for a, b in ((n, m), (m, n))]
        upper = torch.cat(steps).unique()
        level = torch.cat([upper.new_zeros(1), upper[:-1]])
        gaps = xs[level // m] - ys[level // n]
        weight = ((upper - level).double() / n / m).to(x.dtype)
    scale = gaps.detach().abs().amax(0)
    scale = torch.where(scale > 0, scale, 1.0)
    shares = weight.reshape(-1, *(1,) * (x.ndim - 1)) ** (1 / order)
    return scale * torch.linalg.vector_norm(gaps / scale * shares, ord=order, dim=0)
