"""From a sum with an interval to the divergence that is an increasing function of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kullback.distributions.estimation.answers import Answer, Note, merged
from kullback.distributions.estimation.questions import Question
from kullback.distributions.integrands import from_p_alone
from kullback.distributions.monte_carlo.sampling import can_sample
from kullback.distributions.targets import Target
from kullback.divergences import Functional
from kullback.results import Estimate

__all__ = ["linked"]

# A relative error of the sum grows by this factor at most before the far way is taken.
_MOST_GROWTH = 4.0


def linked(question: Question, find: Callable[[Functional], Answer]) -> Estimate[Tensor]:
    """The estimate of a target, where `find` gives the sum of a record's terms.

    Where the link magnifies the relative error, since two sides hardly overlap and it takes the
    difference of nearly equal numbers, the target's other way is taken.
    """
    target, far = question.target, question.target.far
    if far is None:
        return _estimate(question, _through(target, find(target.record)))
    if not can_sample(question.side_q.source) and not from_p_alone(target.record):
        return _estimate(question, _through(far, find(far.record)))
    total = find(target.record)
    near = _through(target, total)
    growth = (total.value * _slope(target, total.value) / near.value).abs().detach()
    lost = ~(growth < _MOST_GROWTH) & (total.value > 0) & (total.value < torch.inf)
    if not bool(lost.any()):
        return _estimate(question, near)
    return _estimate(question, merged(near, _through(far, find(far.record)), lost))


def _through(target: Target, found: Answer) -> Answer:
    """The answer carried through the link; a falling one exchanges the ends."""
    ends = target.link(found.low), target.link(found.high)
    slope = _slope(target, found.value)
    stderr = torch.where(found.stderr == 0, 0.0, slope.abs() * found.stderr)
    return replace(
        found,
        value=target.link(found.value),
        low=torch.fmin(*ends),
        high=torch.fmax(*ends),
        stderr=stderr,
    )


def _slope(target: Target, at: Tensor) -> Tensor:
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(target.link(x).sum(), x)
    return slope


def _estimate(question: Question, found: Answer) -> Estimate[Tensor]:
    trusted = bool(found.trusted.all())
    value = found.value
    return Estimate(
        value=value,
        low=found.low.detach(),
        high=found.high.detach(),
        stderr=found.stderr.detach(),
        confidence=found.confidence,
        method=found.method,
        evaluations=found.evaluations,
        trusted=trusted,
        diagnosis="; ".join(_said(note, question.batch) for note in found.notes if _applies(note)),
    )


def _applies(note: Note) -> bool:
    return note[0] is None or bool(note[0].any())


def _said(note: Note, batch: torch.Size) -> str:
    mask, words = note
    if mask is None or not batch or bool(mask.all()):
        return words
    return f"{int(mask.sum())} of {mask.numel()}: {words}"
