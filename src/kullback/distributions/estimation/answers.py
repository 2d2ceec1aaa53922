"""An estimated sum before it is a divergence: what every route of `estimate` hands to the door."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Answer", "bounded", "merged", "with_infinite"]

Note = tuple[Tensor | None, str]


@dataclass(frozen=True)
class Answer:
    """A sum of a record's terms, for each element of a batch, with an interval.

    Attributes:
        value, low, high, stderr: tensors of the batch shape; `stderr` is the bound on the error
            where that is no matter of chance.
        trusted: a mask of the batch shape.
        confidence: of the interval; 1 where it is a bound.
        method: how it was made, in words.
        evaluations: at how many points both densities were taken, for each element.
        notes: what there is to say, each with a mask of the elements it is about; None where the
            words say that themselves.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    stderr: Tensor
    trusted: Tensor
    confidence: float
    method: str
    evaluations: int
    notes: tuple[Note, ...] = ()


def bounded(value: Tensor, error: Tensor, method: str, evaluations: int = 0) -> Answer:
    """value ± error, where the error is a bound."""
    where_finite = value.isfinite()
    error = torch.where(where_finite, error, 0.0)
    return Answer(
        value=value,
        low=value - error,
        high=value + error,
        stderr=error.detach(),
        trusted=torch.ones_like(where_finite),
        confidence=1.0,
        method=method,
        evaluations=evaluations,
    )


def merged(first: Answer, second: Answer, where: Tensor) -> Answer:
    """`second` where the mask says so, else `first`."""
    numbers = {
        name: torch.where(where, getattr(second, name), getattr(first, name))
        for name in ("value", "low", "high", "stderr", "trusted")
    }
    of_first = tuple((~where if mask is None else mask & ~where, w) for mask, w in first.notes)
    of_second = tuple((where if mask is None else mask & where, w) for mask, w in second.notes)
    method = first.method
    if second.method != method:
        method = f"{method}; for {int(where.sum())} of {where.numel()} {second.method}"
    return replace(
        first,
        **numbers,
        confidence=min(first.confidence, second.confidence),
        method=method,
        evaluations=first.evaluations + second.evaluations,
        notes=of_first + of_second,
    )


def with_infinite(found: Answer, infinite: Tensor, reason: str) -> Answer:
    """The answer with +inf where that is proven, for the reason given."""
    numbers = {
        name: torch.where(infinite, torch.inf, getattr(found, name))
        for name in ("value", "low", "high")
    }
    # What a route says of itself is about the same elements.
    rest = tuple((mask & ~infinite, words) for mask, words in found.notes if mask is not None)
    return replace(
        found,
        **numbers,
        stderr=torch.where(infinite, 0.0, found.stderr),
        trusted=found.trusted | infinite,
        notes=((infinite, f"+inf: {reason}"), *rest),
    )
