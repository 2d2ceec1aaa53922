"""Records of positive numbers that are saved and come back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from kullback.errors import InputError
from kullback.training.plain import plain_number

__all__ = ["from_state", "require_positive"]

Record = TypeVar("Record")


def require_positive(record: Any) -> None:
    """Store every field as a float; raise unless it is positive and finite, and name it."""
    for field in fields(record):
        value = plain_number(getattr(record, field.name), field.name)
        if not (value > 0 and math.isfinite(value)):
            raise InputError(
                f"{type(record).__name__}, {field.name}={value}: it must be positive and finite"
            )
        object.__setattr__(record, field.name, value)


def from_state(kind: type[Record], state: Mapping[str, float]) -> Record:
    """The record whose fields `state` has, no more and no fewer."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(state, Mapping) or set(state) != set(names):
        told = list(state) if isinstance(state, Mapping) else type(state).__name__
        raise InputError(f"a state of {kind.__name__} has {names}, and this one {told}")
    return kind(**state)
