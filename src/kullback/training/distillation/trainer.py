"""Distillation inside of Hugging Face's `Trainer`, right under gradient accumulation.

`Trainer` hands its `compute_loss_func` the student's outputs and the labels, but not the tokens
that a teacher would have to read. So the function holds the options and the teacher, and
`DistillationMixin` shows the teacher each batch before `Trainer` goes its usual way. The divisor is
the count of labels over all accumulated batches (and processes), which `Trainer` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kullback.divergences import Functional
from kullback.errors import InputError
from kullback.training.distillation.hidden_states import (
    States,
    after_head,
    compare_with_model,
    linear_head,
    without_logits,
)
from kullback.training.distillation.labels import IGNORED, cross_entropy
from kullback.training.distillation.linear import fused_linear_distillation
from kullback.training.distillation.loss import distillation_loss
from kullback.training.distillation.objective import make_objective

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

__all__ = ["CausalDistillation", "DistillationMixin", "compute_loss_func"]


def compute_loss_func(
    teacher: torch.nn.Module | None = None,
    *,
    divergence: str | Functional = "kl",
    alpha: float | None = None,
    beta: float | None = None,
    temperature: float = 1.0,
    scale_by_temperature: bool = True,
    label_weight: float = 0.0,
    fused: bool = True,
    vocabulary: int | None = None,
    validate: bool = True,
    memory_budget: int | None = None,
) -> CausalDistillation:
    """The `compute_loss_func` that makes Hugging Face's `Trainer` minimise D(teacher‖student).

    The loss is Σ (1 − w)·D + w·cross-entropy over the positions whose next token is a label (not
    −100), divided by `num_items_in_batch`, Trainer's count of them: the gradients of accumulated
    batches are those of one large batch. D is in nats. Logits at position t predict the token at
    t + 1, as in every causal language model of transformers; the labels are passed unshifted, as
    `Trainer` has them.

    | the teacher's predictions come from | use |
    | --- | --- |
    | a model | `compute_loss_func(teacher)` in a `Trainer` with `DistillationMixin` |
    | the batch, as "teacher_logits" | `compute_loss_func()` in a `Trainer` with the mixin |
    | the student's outputs, as "teacher_logits" | `compute_loss_func()` in a plain `Trainer` |

    Args:
        teacher: a causal language model of transformers; it is set to eval mode.
        divergence, alpha, beta, temperature, scale_by_temperature, validate: as in
            `distillation_loss`.
        label_weight: w, the share of the labels' cross-entropy (at temperature 1), in [0, 1].
            Fused, its logits are made a few positions at a time, and again on the way back.
        fused: train from hidden states and heads, so that logits are never made
            (`fused_linear_distillation`); needs the mixin and heads that are plain `Linear`s, whole
            on this device. Evaluation makes logits, for those who compute metrics of them.
        vocabulary: how many tokens the two models share, from the first on; for padded ones.
        memory_budget: as in `fused_linear_distillation`.

    Returns:
        A function of (outputs, labels, num_items_in_batch).

    Raises:
        InputError: an option out of its range. When called: no labels, or no teacher's logits.

    Source: Hinton, Vinyals & Dean (2015), Distilling the Knowledge in a Neural Network, section 2.

    Example:
        >>> loss = compute_loss_func(divergence="js", label_weight=0.5)
        >>> logits = {"logits": torch.zeros(1, 3, 5), "teacher_logits": torch.zeros(1, 3, 5)}
        >>> print(f"{loss(logits, torch.tensor([[4, 1, -100]]), num_items_in_batch=1):.4f}")
        0.8047

        With a teacher that is a model::

            class Distilling(DistillationMixin, Trainer): ...

            Distilling(student, args, compute_loss_func=compute_loss_func(teacher), ...).train()
    """
    objective: dict[str, Any] = {
        "divergence": divergence,
        "alpha": alpha,
        "beta": beta,
        "temperature": temperature,
        "scale_by_temperature": scale_by_temperature,
    }
    make_objective(**objective, logit_softcap=None)
    if not 0 <= label_weight <= 1:
        raise InputError(f"label_weight={label_weight}: a share, between 0 and 1")
    return CausalDistillation(
        teacher if teacher is None else teacher.eval(),
        {**objective, "validate": validate},
        label_weight,
        fused,
        vocabulary,
        memory_budget,
    )


class CausalDistillation:
    """What `compute_loss_func` returns."""

    def __init__(
        self,
        teacher: torch.nn.Module | None,
        options: dict[str, Any],
        label_weight: float,
        fused: bool,
        vocabulary: int | None,
        memory_budget: int | None,
    ) -> None:
        self.teacher, self.fused = teacher, fused
        self._options, self._label_weight = options, label_weight
        self._vocabulary, self._memory_budget = vocabulary, memory_budget
        self._of_batch: Callable[[Any], tuple[Any, Any]] | None = None
        self._known_heads: set[int] = set()

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The loss; without `num_items_in_batch` the mean over this batch's labels."""
        if labels is None:
            raise InputError("the batch has no labels: they say which positions count, −100 not")
        # The last position predicts a token that the batch does not have.
        targets = torch.nn.functional.pad(labels[..., 1:], (0, 1), value=IGNORED)
        divisor = (targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        # Where nothing counts the sum is 0, whatever it is divided by.
        divisor = float(divisor) or 1.0
        student, teacher = (self._of_batch or _logits_of)(outputs)
        loss: Any = 0.0
        if self._label_weight < 1:
            loss = (1 - self._label_weight) * self._divergence(student, teacher, targets, divisor)
        if self._label_weight > 0:
            loss = loss + self._label_weight * cross_entropy(student, targets) / divisor
        return loss

    @contextmanager
    def reading(self, student: torch.nn.Module, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Within, the student's next outputs are compared with the teacher's view of `batch`.

        What is yielded is the batch for the student.
        """
        batch = dict(batch)
        stored = batch.pop("teacher_logits", None)
        if (stored is None) == (self.teacher is None):
            where = "neither is there" if stored is None else "both are there"
            raise InputError(
                "the teacher is a model, compute_loss_func(teacher), or its logits are in the "
                f'batch, "teacher_logits" (with remove_unused_columns=False): {where}'
            )
        fused = self.fused and student.training and stored is None
        try:
            if fused:
                teacher = self._teacher_states(batch)
                with without_logits(student) as caught:
                    self._of_batch = lambda outputs: (
                        self._states(student, caught, outputs),
                        teacher,
                    )
                    yield batch
            else:
                logits = self._teacher_logits(batch) if stored is None else stored
                self._of_batch = lambda outputs: (_entry(outputs, "logits"), logits)
                yield batch
        finally:
            self._of_batch = None

    def _teacher_logits(self, batch: dict[str, Any]) -> Tensor:
        assert self.teacher is not None
        with torch.no_grad():
            return _entry(self.teacher(**_without_labels(batch)), "logits")

    def _teacher_states(self, batch: dict[str, Any]) -> States:
        assert self.teacher is not None
        with torch.no_grad(), without_logits(self.teacher) as caught:
            outputs = self.teacher(**_without_labels(batch))
            return self._states(self.teacher, caught, outputs)

    def _states(self, model: torch.nn.Module, caught: list[Tensor], outputs: Any) -> States:
        if len(caught) != 1:
            raise InputError(
                f"{type(model).__name__} used its head {len(caught)} times in one forward pass; "
                "pass fused=False"
            )
        states = States(caught[0], linear_head(model), *after_head(model))
        if id(model) not in self._known_heads:
            compare_with_model(states, _entry(outputs, "logits"), type(model).__name__)
            self._known_heads.add(id(model))
        return states

    def _divergence(self, student: Any, teacher: Any, targets: Tensor, divisor: float) -> Tensor:
        common = {**self._options, "labels": targets, "reduction": divisor}
        if isinstance(student, Tensor):
            shared = slice(self._vocabulary)
            return distillation_loss(student[..., shared], teacher[..., shared], **common)
        return fused_linear_distillation(
            student.hidden * student.scale if student.scale != 1 else student.hidden,
            student.head.weight,
            teacher.hidden * teacher.scale if teacher.scale != 1 else teacher.hidden,
            teacher.head.weight,
            student_bias=student.scaled_bias,
            teacher_bias=teacher.scaled_bias,
            logit_softcap=(student.cap, teacher.cap),
            vocabulary=self._vocabulary,
            memory_budget=self._memory_budget,
            **common,
        )


class DistillationMixin(_Trainer):
    """For a `Trainer` that distils: shows its `compute_loss_func`'s teacher every batch.

    Put it before `Trainer` (or a subclass that leaves `compute_loss` to it) and pass
    `compute_loss_func=compute_loss_func(teacher, ...)`. The student runs through whatever wraps it,
    and the loss is scaled for accumulation and processes by `Trainer` itself. The teacher is moved
    to the student's device. The first label of each sequence, which nothing predicts, is set to
    −100 in every batch: `Trainer` would count it for some models, GPT-2 among them.

    With sharded parameters (FSDP, ZeRO-3) heads are not whole outside of the forward pass: pass
    fused=False.

    Raises:
        InputError: another `compute_loss_func`, an encoder–decoder (whose labels are not shifted),
            or `torch.nn.DataParallel`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        loss = self.compute_loss_func
        if not isinstance(loss, CausalDistillation):
            raise InputError(
                f"compute_loss_func={loss!r}: pass kullback's compute_loss_func(teacher, ...)"
            )
        model: Any = self.model
        if getattr(model.config, "is_encoder_decoder", False):
            raise InputError(
                f"{type(model).__name__} is an encoder–decoder: its labels are not shifted"
            )
        if self.args.n_gpu > 1:
            raise InputError(
                f"DataParallel over {self.args.n_gpu} devices is not supported: start one process "
                "for each, torchrun"
            )
        self.data_collator = _FirstIsNoTarget(self.data_collator)
        if loss.teacher is not None:
            loss.teacher = self.accelerator.prepare_model(loss.teacher, evaluation_mode=True)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        loss: Any = self.compute_loss_func
        with loss.reading(self.accelerator.unwrap_model(model), inputs) as batch:
            return super().compute_loss(
                model,
                batch,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
            )


@dataclass(frozen=True)
class _FirstIsNoTarget:
    """A collator whose first labels, which no position predicts, do not count."""

    collate: Callable[[Any], Any]

    @property
    def tokenizer(self) -> Any:
        """What `Trainer` saves along with the model."""
        return getattr(self.collate, "tokenizer", None)

    def __call__(self, examples: Any) -> Any:
        batch = self.collate(examples)
        if "labels" in batch:
            batch["labels"] = batch["labels"].clone()
            batch["labels"][..., 0] = IGNORED
        return batch


def _logits_of(outputs: Any) -> tuple[Tensor, Tensor]:
    return _entry(outputs, "logits"), _entry(outputs, "teacher_logits")


def _entry(outputs: Any, name: str) -> Tensor:
    found = outputs.get(name) if isinstance(outputs, dict) else None
    if found is None:
        raise InputError(
            f"the outputs ({type(outputs).__name__}) have no {name!r}; where the teacher is a "
            "model or its logits are in the batch, put DistillationMixin before Trainer"
        )
    return found


def _without_labels(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in batch.items() if name != "labels"}
