"""Large batches on the CPU go through one loop, everything else through the formula as it stands.

The formulas answer everywhere: in compiled and mapped code, in forward mode, on any device, for
any number. Where the arguments are plain float32 or float64 tensors in this machine's memory, a
loop of `cpu` gives the same value in one pass; where an element is no moderate number, or a
gradient has to be differentiated again, it is the formula that is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

from kullback.numerics import slopes

__all__ = ["fused", "in_reach"]

Formula = Callable[..., Tensor]

# With fewer elements torch's own operations are done before the loop has begun.
_PAYS = 1024
# Elements are handed out in portions of 0.1 to 1 ms of work.
_PORTION = 1 << 15


def fused(
    loop: str,
    formula: Formula,
    arguments: Sequence[Tensor],
    *,
    rows: bool = False,
) -> Tensor:
    """formula(*arguments), by the loop of that name in `cpu` where it serves and pays.

    Args:
        loop: a name in `cpu`; it serves where gradients are recorded if `slopes` has that name.
        formula: from tensors that broadcast to their values, element by element.
        arguments: what the formula takes; all float32 gives float32, if the loop serves.
        rows: whether the formula takes the last dimension as one argument.

    Returns:
        The values, of the shape to which the arguments broadcast, without the last dimension for
        rows.
    """
    if not any(x.numel() >= _PAYS for x in arguments) or not in_reach(arguments):
        return formula(*arguments)
    if torch.is_grad_enabled() and any(x.requires_grad for x in arguments):
        if not hasattr(slopes, loop):
            return formula(*arguments)
        return _Fused.apply(loop, formula, *arguments)
    return _values(loop, formula, rows, arguments)[0]


def in_reach(arguments: Sequence[Tensor]) -> bool:
    """Whether a loop may read them: plain numbers in this machine's memory, and nobody traces.

    Example:
        >>> in_reach([torch.zeros(3)]), in_reach([torch.zeros(3, device="meta")])
        (True, False)
    """
    # Forward mode and dispatch modes say whether they are on in private names only.
    if (
        torch.compiler.is_compiling()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    ):
        return False
    return all(map(_is_plain, arguments))


def _is_plain(x: Tensor) -> bool:
    known = type(x) is Tensor or type(x) is torch.nn.Parameter
    wide = x.dtype is torch.float64 or x.dtype is torch.float32
    return known and wide and x.is_cpu and not is_functorch_wrapped_tensor(x)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, loop: str, formula: Formula, *arguments: Tensor
    ) -> Tensor:
        value, whole = _values(loop, formula, False, arguments)
        ctx.save_for_backward(*arguments)
        ctx.formula, ctx.slopes = formula, getattr(slopes, loop) if whole else None
        return value

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        arguments = ctx.saved_tensors
        # Grad mode is on in a backward exactly when its result has to be differentiable.
        if torch.is_grad_enabled() or ctx.slopes is None:
            found = _differentiated(ctx.formula, arguments)
        else:
            found = ctx.slopes(*(x.double() for x in arguments))
        needs = ctx.needs_input_grad[2:]
        gradients = (
            (weight * slope).sum_to_size(x.shape).to(x.dtype) if needed else None
            for slope, x, needed in zip(found, arguments, needs, strict=True)
        )
        return None, None, *gradients


def _differentiated(formula: Formula, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The slopes of the formula in each argument, to be differentiated again in grad mode."""
    again = torch.is_grad_enabled()
    whole = torch.broadcast_tensors(*arguments)
    with torch.enable_grad():
        # Views: an argument may have been computed from another, which is not to be followed.
        whole = [
            x.view_as(x) if again and x.requires_grad else x.detach().requires_grad_()
            for x in whole
        ]
        return torch.autograd.grad(
            formula(*whole).sum(), whole, create_graph=again, materialize_grads=True
        )


def _values(
    loop: str, formula: Formula, rows: bool, arguments: Sequence[Tensor]
) -> tuple[Tensor, bool]:
    """The values, and whether the loop alone has found them."""
    from kullback.numerics import cpu

    wide = any(x.dtype is torch.float64 for x in arguments)
    dtype = torch.float64 if wide else torch.float32
    full = torch.broadcast_shapes(*(x.shape for x in arguments))
    shape, events = (full[:-1], full[-1]) if rows else (full, 1)
    size = math.prod(shape)
    arrays = [_numbers(x.detach().to(dtype), full, rows) for x in arguments]
    result = np.empty(size, np.float64 if wide else np.float32)
    whole = _in_portions(getattr(cpu, loop), arrays, events, result)
    value = torch.from_numpy(result).view(shape)
    if not whole:
        odd = value.isnan()
        with torch.no_grad():
            theirs = formula(*(x.detach().expand(full)[odd] for x in arguments))
        value[odd] = theirs.to(dtype)
    return value, whole


def _numbers(x: Tensor, full: Sequence[int], rows: bool) -> np.ndarray:
    """The numbers of x in a row, as many as there are results, or a single one as it is."""
    if x.numel() == 1 and not rows:
        return x.numpy().ravel()
    return x.expand(tuple(full)).contiguous().numpy().ravel()


def _in_portions(
    loop: Callable[..., bool], arrays: Sequence[np.ndarray], events: int, result: np.ndarray
) -> bool:
    """Runs the loop on torch's number of threads; whether every element was moderate."""
    size, step = result.size, max(1, _PORTION // events)
    steady = [np.full(min(step, size), x[0], x.dtype) if x.size == 1 else None for x in arrays]
    starts = iter(range(0, size, step))

    def work() -> bool:
        whole = True
        # next() on a shared range iterator hands every start to one thread only.
        for first in starts:
            last = min(first + step, size)
            parts = (
                x[first * events : last * events] if same is None else same[: last - first]
                for x, same in zip(arrays, steady, strict=True)
            )
            whole &= loop(result[first:last], *parts)
        return whole

    threads = min(torch.get_num_threads(), -(-size // step))
    if threads <= 1:
        return work()
    with ThreadPoolExecutor(threads - 1) as pool:
        helpers = [pool.submit(work) for _ in range(threads - 1)]
        return all([work(), *(helper.result() for helper in helpers)])
