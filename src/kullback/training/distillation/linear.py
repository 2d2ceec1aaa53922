"""The loss from hidden states and heads: logits exist for a few positions at a time only.

Both sides' logits of a chunk are made, one kernel turns them into values and gradients in place,
and two products carry the gradients on to hidden states and head. These are the products that
autograd makes too; what falls away is all that it keeps between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kullback import kernels
from kullback.divergences import Functional
from kullback.errors import InputError
from kullback.training.distillation.chunks import refuse_rows, working_dtype
from kullback.training.distillation.linear_inputs import Parts, check, opened
from kullback.training.distillation.objective import Objective, make_objective
from kullback.training.distillation.sides import Side
from kullback.training.once import once
from kullback.training.positions import Positions, Reduction, count_positions
from kullback.training.uncompiled import uncompiled

__all__ = ["fused_linear_distillation"]

# Bytes for logits, at least and as a share of the head's. Shorter chunks spend their time on
# reading the head and its gradient: at half the budget a step took a fifth longer.
_BUDGET, _SHARE = 72 << 20, 0.4
# Without a head's gradient there is room for longer ones.
_BUDGET_FROZEN = 112 << 20


@uncompiled
def fused_linear_distillation(
    student_hidden: Tensor,
    student_head: Tensor | torch.nn.Linear,
    teacher_hidden: Tensor,
    teacher_head: Tensor | torch.nn.Linear,
    *,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    divergence: str | Functional = "kl",
    alpha: float | None = None,
    beta: float | None = None,
    temperature: float = 1.0,
    scale_by_temperature: bool = True,
    mask: Tensor | None = None,
    labels: Tensor | None = None,
    ignore_index: int = -100,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    logit_softcap: float | tuple[float | None, float | None] | None = None,
    vocabulary: int | None = None,
    teacher_gradient: bool = False,
    validate: bool = True,
    memory_budget: int | None = None,
) -> Tensor:
    """D(teacher‖student) of hidden @ head.T (+ bias) at every position, the logits never stored.

    The value is that of `distillation_loss` on the logits, and the gradients in hidden states,
    head and bias are exact. Loss and gradients are made in one pass, in float32 from half
    precision; where a position does not count nothing is computed. With reduction="none" the
    gradients need a pass of their own.

    Args:
        student_hidden: [..., hidden size of the student].
        student_head: [vocabulary, hidden size], or a Linear, whose bias is then taken; frozen if
            it does not require a gradient, which saves a third of the work and the memory.
        teacher_hidden: [..., hidden size of the teacher], the same positions.
        teacher_head: [vocabulary, hidden size of the teacher], or a Linear.
        student_bias, teacher_bias: [vocabulary].
        vocabulary: how many tokens the two heads share, from the first on; for heads padded to
            different sizes.
        memory_budget: bytes for logits; by default 72 MiB (112 if the head is frozen) or 0.4 of
            the student's head in the working dtype, the larger.
        divergence, alpha, beta, temperature, scale_by_temperature: as in `distillation_loss`.
        mask, labels, ignore_index, weights, reduction: as in `distillation_loss`.
        logit_softcap, teacher_gradient, validate: as in `distillation_loss`.

    Returns:
        A scalar, or [...] for reduction="none", in float32 (float64 if any side is).

    Raises:
        ShapeError: hidden states, heads or biases that do not fit.
        VocabularyMismatch: heads over different numbers of tokens, and no `vocabulary`.
        DtypeError: a side that is not floating.
        NonFiniteError: a counted position whose logits are no distribution; which, is said.
        InputError: an option out of its range.

    Example:
        >>> hidden, head = torch.randn(6, 8, requires_grad=True), torch.randn(50, 8)
        >>> loss = fused_linear_distillation(hidden, head, torch.randn(6, 4), torch.randn(50, 4))
        >>> loss.backward()
        >>> hidden.grad.shape
        torch.Size([6, 8])
    """
    student_head, student_bias = opened(student_head, student_bias, "student")
    teacher_head, teacher_bias = opened(teacher_head, teacher_bias, "teacher")
    student = Parts("student", student_hidden, student_head, student_bias)
    teacher = Parts("teacher", teacher_hidden, teacher_head, teacher_bias)
    if not teacher_gradient:
        teacher = teacher.detached()
    check(student, teacher, vocabulary)
    if memory_budget is not None and memory_budget <= 0:
        raise InputError(f"memory_budget={memory_budget}: bytes for logits, such as 1 << 28")
    job = _Job(
        make_objective(
            divergence,
            alpha=alpha,
            beta=beta,
            temperature=temperature,
            scale_by_temperature=scale_by_temperature,
            logit_softcap=logit_softcap,
        ),
        count_positions(
            student_hidden.shape[:-1],
            student_hidden.device,
            mask=mask,
            labels=labels,
            ignore_index=ignore_index,
            weights=weights,
            reduction=reduction,
        ),
        validate,
        vocabulary or min(len(student_head), len(teacher_head)),
        memory_budget,
    )
    return _run(job, (*student.parts, *teacher.parts))


@dataclass(frozen=True)
class _Job:
    objective: Objective
    positions: Positions
    validate: bool
    vocabulary: int
    memory_budget: int | None
    needs: tuple[bool, ...] = (False,) * 6


def _run(job: _Job, parts: tuple[Tensor | None, ...]) -> Tensor:
    # Inside of the function's forward gradients are always off.
    needs = tuple(torch.is_grad_enabled() and x is not None and x.requires_grad for x in parts)
    return _FusedLoss.apply(replace(job, needs=needs), *parts)  # type: ignore[no-any-return]


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: _Job, *parts: Tensor | None) -> Tensor:  # type: ignore[override]
        # What ran in inference mode cannot be saved, and needs no watching: it never changes.
        still = [x if x is not None and x.is_inference() else None for x in parts]
        ctx.save_for_backward(
            *(x if other is None else None for x, other in zip(parts, still, strict=True))
        )
        ctx.job, ctx.still = job, still
        positions = job.positions
        at_once = job.needs if positions.reduced else (False,) * len(parts)
        values, ctx.gradients = _all_chunks(job, at_once, parts, positions.weight)
        if positions.reduced:
            return (values.double() * positions.weight).sum().to(values.dtype)
        return (values * positions.weight.to(values.dtype)).reshape(positions.shape)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        job = ctx.job
        parts = [x if y is None else y for x, y in zip(ctx.saved_tensors, ctx.still, strict=True)]
        # Handed over rather than kept, so that they become the parameters' .grad without a copy;
        # whoever goes backward a second time has them made again.
        gradients, ctx.gradients = ctx.gradients, None
        with torch.no_grad():
            if gradients is None or not job.positions.reduced:
                weight = job.positions.weight * upstream.double().reshape(-1)
                _, gradients = _all_chunks(job, job.needs, parts, weight)
            elif float(upstream) != 1:
                for gradient in gradients:
                    if gradient is not None:
                        gradient.mul_(upstream)
            found = [
                None if gradient is None else gradient.to(part.dtype)
                for gradient, part in zip(gradients, parts, strict=True)
            ]
        return None, *(once(gradient, *parts, upstream) for gradient in found)


def _all_chunks(
    job: _Job, needs: tuple[bool, ...], parts: Sequence[Tensor | None], weight: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The values of all positions, and the gradients of Σ weight·D for the parts that need one."""
    tensors = [None if x is None else x.detach() for x in parts]
    dtype = working_dtype(*(x for x in tensors if x is not None))
    counted, objective = job.positions.counted, job.objective
    chosen = None if counted is None else counted.nonzero()[:, 0]
    sides = []
    for of_side, cap in zip((0, 3), objective.softcap, strict=True):
        hidden, head, bias = tensors[of_side : of_side + 3]
        assert hidden is not None
        assert head is not None
        flat = hidden.reshape(-1, hidden.shape[-1])
        sides.append(
            Side(
                flat if chosen is None else flat[chosen],
                head[: job.vocabulary],
                None if bias is None else bias[: job.vocabulary],
                cap,
                objective.temperature,
                needs[of_side : of_side + 3],  # type: ignore[arg-type]
                dtype,
            )
        )
    kept = weight if chosen is None else weight[chosen]
    places: Any = range(len(kept)) if chosen is None else chosen
    found = _sweep(job, sides[0], sides[1], kept * objective.factor, places)
    values = found * objective.factor
    if chosen is not None:
        values = values.new_zeros(counted.shape).index_put_((chosen,), values)  # type: ignore[union-attr]
    return values, _laid_out(sides, tensors, chosen, job.vocabulary)


def _sweep(job: _Job, student: Side, teacher: Side, weight: Tensor, places: Any) -> Tensor:
    """Chunk after chunk: logits, the kernel, gradients."""
    count, device, dtype = len(weight), student.hidden.device, student.dtype
    values = torch.empty(count, dtype=dtype, device=device)
    step = _positions_together(job, student, count)
    buffers = [torch.empty(step, job.vocabulary, dtype=dtype, device=device) for _ in range(2)]
    needs = teacher.needs_any, student.needs_any
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        q, p = (buffer[: rows.stop - start] for buffer in buffers)
        student.logits(rows, q)
        teacher.logits(rows, p)
        door = kernels.for_device(p, q)
        found = door.divergence_in_place(p, q, job.objective.record, weight[rows], needs)
        if job.validate and not bool(found.isfinite().all()):
            student.raw_logits(rows, q)
            teacher.raw_logits(rows, p)
            shape, names = job.positions.shape, ("the student", "the teacher")
            refuse_rows(found, q, p, places[rows], names, shape, finite=any(job.needs))
        values[rows] = found
        for side, gradient in ((student, q), (teacher, p)):
            if side.needs_any:
                side.receive(rows, gradient)
    return values


def _positions_together(job: _Job, student: Side, count: int) -> int:
    budget = job.memory_budget
    if budget is None:
        head = student.head.numel() * student.dtype.itemsize
        least = _BUDGET_FROZEN if student.gradients[1] is None else _BUDGET
        budget = max(least, int(_SHARE * head))
    capped = sum(cap is not None for cap in job.objective.softcap)
    of_one = (2 + capped) * job.vocabulary * student.dtype.itemsize
    # Chunks of equal size: a short last one would cost almost as much as a whole.
    most = max(1, budget // of_one)
    chunks = -(-count // most) if count else 1
    return max(1, -(-count // chunks))


def _laid_out(
    sides: list[Side], tensors: list[Tensor | None], chosen: Tensor | None, vocabulary: int
) -> list[Tensor | None]:
    """The gradients in the shapes of the parts: zero where nothing counted or was padding."""
    found: list[Tensor | None] = []
    for side, of_side in zip(sides, (0, 3), strict=True):
        for place, gradient in enumerate(side.gradients):
            whole = tensors[of_side + place]
            if gradient is None or whole is None:
                found.append(None)
                continue
            if not len(side.hidden):
                gradient.zero_()
            if place == 0:
                if chosen is not None:
                    rows = gradient.new_zeros(whole.shape[:-1].numel(), whole.shape[-1])
                    gradient = rows.index_put_((chosen,), gradient)
                gradient = gradient.reshape(whole.shape)
            elif vocabulary < len(whole):
                padded = gradient.new_zeros(whole.shape)
                padded[:vocabulary] = gradient
                gradient = padded
            found.append(gradient)
    return found
