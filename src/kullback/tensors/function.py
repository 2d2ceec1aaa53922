"""The one autograd function of the room: a sum of terms over the last dimension, any record.

The forward runs the fastest kernel there is and keeps only per-row numbers; the backward is a
kernel too, whose formulas come from the record's log-slopes and are as careful as the forward.
When the gradient itself has to be differentiated, and under `torch.compile`, the same formulas
run as plain torch operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kullback import kernels
from kullback.divergences import KL, Functional
from kullback.errors import InputError
from kullback.kernels import RowDivergence, reference
from kullback.numerics import Space, accumulation_dtype, make_pair, total
from kullback.tensors.inputs import check_rows

__all__ = ["row_divergence"]


def row_divergence(
    p: Tensor,
    q: Tensor,
    record: Functional,
    space_p: Space,
    space_q: Space,
    *,
    overwrite_q: bool = False,
    validate: bool = True,
) -> Tensor:
    """D(p‖q) over the last dimension of two tensors of equal shape."""
    if torch.compiler.is_compiling():
        return _TracedDivergence.apply(p, q, record, space_p, space_q)
    return _RowDivergence.apply(p, q, record, space_p, space_q, overwrite_q, validate)[0]


class _RowDivergence(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        p: Tensor,
        q: Tensor,
        record: Functional,
        space_p: Space,
        space_q: Space,
        overwrite_q: bool,
        validate: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if overwrite_q:
            _refuse_shared_memory(p, q)
        rows_p, rows_q = _as_rows(p), _as_rows(q)
        fast = _has_kernel(record, space_p, space_q)
        if fast:
            door = kernels.for_device(p, q)
            saved = door.kl_forward(rows_p, rows_q, normalized=space_p == "log_probs")
        else:
            value = reference.divergence_forward(rows_p, rows_q, record, space_p, space_q)
            unused = torch.zeros_like(value, dtype=accumulation_dtype(value))
            saved = RowDivergence(value, unused, unused.clone())
        if validate:
            largest_p, largest_q = saved[1:] if fast else (rows_p.amax(-1), rows_q.amax(-1))
            check_rows(rows_p, space_p, "p", saved.kl, largest_p)
            check_rows(rows_q, space_q, "q", saved.kl, largest_q)
        shape = p.shape[:-1]
        return saved[0].reshape(shape), saved[1].reshape(shape), saved[2].reshape(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        p, q, *ctx.choices = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(p, q, *output)
        ctx.save_for_forward(p, q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        p, q, *saved = ctx.saved_tensors
        record, space_p, space_q, overwrite_q, _ = ctx.choices
        needs = ctx.needs_input_grad[:2]
        weight = grads[0]
        # Grad mode is on in a backward exactly when its result has to be differentiable.
        if torch.is_grad_enabled():
            grad_p, grad_q = reference.gradients(p, q, weight, record, space_p, space_q)
            grad_p, grad_q = grad_p.to(p.dtype), grad_q.to(q.dtype)
        else:
            grad_p, grad_q = _fast_backward(p, q, saved, weight, ctx.choices, needs)
            if overwrite_q and needs[1]:
                # Whoever else saved these logits must hear that they are gone.
                torch.autograd.graph.increment_version(q)
        return grad_p if needs[0] else None, grad_q if needs[1] else None, *([None] * 5)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        p, q = ctx.saved_tensors
        record, space_p, space_q, *_ = ctx.choices
        unit = torch.ones_like(p[..., 0])
        change = torch.zeros_like(unit)
        slopes = reference.gradients(p, q, unit, record, space_p, space_q)
        for slope, tangent in zip(slopes, tangents[:2], strict=True):
            if tangent is not None:
                change = change + total(slope * tangent)
        return change, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        overwrite_q = args[5]
        if overwrite_q:
            raise InputError(
                "overwrite_q=True cannot reach q's own memory inside vmap: leave it out"
            )
        sides = []
        for side, dim in zip(args[:2], in_dims[:2], strict=True):
            if dim is None:
                sides.append(side.expand(info.batch_size, *side.shape))
            else:
                sides.append(side.movedim(dim, 0))
        return _RowDivergence.apply(*sides, *args[2:]), (0, 0, 0)


class _TracedDivergence(torch.autograd.Function):
    """The same in torch operations throughout, for the compiler to see through and to fuse."""

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        p: Tensor, q: Tensor, record: Functional, space_p: Space, space_q: Space
    ) -> Tensor:
        return total(record.terms(make_pair(p, q, space_p, space_q)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p, q, *ctx.choices = inputs
        ctx.save_for_backward(p, q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        p, q = ctx.saved_tensors
        grad_p, grad_q = reference.gradients(p, q, grads[0], *ctx.choices)
        return grad_p.to(p.dtype), grad_q.to(q.dtype), None, None, None


def _has_kernel(record: Functional, space_p: Space, space_q: Space) -> bool:
    return record is KL and space_p == space_q and space_p != "probs"


def _refuse_shared_memory(p: Tensor, q: Tensor) -> None:
    """The gradient needs a place of its own, of the full shape, that p does not read from."""
    if not q.is_contiguous() or p.untyped_storage().data_ptr() == q.untyped_storage().data_ptr():
        raise InputError(
            "overwrite_q=True writes the gradient into q: q must be a contiguous tensor of the "
            "full shape with its events in the last dimension, in memory that p does not share; "
            "pass q.contiguous() or q.clone(), or leave overwrite_q off"
        )


def _as_rows(x: Tensor) -> Tensor:
    """[..., events] as [rows, events] with unit stride over events; a view if it can be."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(-1) == 1 or rows.shape[-1] == 1 else rows.contiguous()


def _fast_backward(
    p: Tensor,
    q: Tensor,
    saved: list[Tensor],
    weight: Tensor,
    choices: list[Any],
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    record, space_p, space_q, overwrite_q, _ = choices
    rows_p, rows_q, weights = _as_rows(p), _as_rows(q), weight.reshape(-1)
    out_q = rows_q.detach() if overwrite_q else None
    if _has_kernel(record, space_p, space_q):
        grads = kernels.for_device(p, q).kl_backward(
            rows_p,
            rows_q,
            RowDivergence(*(x.reshape(-1) for x in saved)),
            weights.contiguous(),
            normalized=space_p == "log_probs",
            needs=needs,
            out_q=out_q,
        )
    else:
        grads = reference.divergence_backward(
            rows_p, rows_q, weights, record, space_p, space_q, needs, out_q
        )
    grad_p, grad_q = grads
    return (
        None if grad_p is None else grad_p.reshape(p.shape),
        None if grad_q is None else grad_q.reshape(q.shape),
    )
