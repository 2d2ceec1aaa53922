"""The numbers that a trust region is run with, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from kullback.errors import InputError
from kullback.training.plain import plain_bool, plain_int, plain_number

__all__ = ["Options"]

_PLAIN: dict[str, Callable[[Any, str], float | int | bool]] = {
    "float": plain_number,
    "int": plain_int,
    "bool": plain_bool,
}


@dataclass(frozen=True)
class Options:
    """As in `TrustRegion`, stored as float, int and bool.

    Raises:
        InputError: a number out of its range, or what is no number.
    """

    max_kl: float
    damping: float
    cg_iterations: int
    cg_tolerance: float
    backtracking: float
    line_search_steps: int
    accept_ratio: float
    damped_length: bool

    def __post_init__(self) -> None:
        for field in fields(self):
            plain = _PLAIN[str(field.type)]
            object.__setattr__(self, field.name, plain(getattr(self, field.name), field.name))
        if not (self.max_kl > 0 and math.isfinite(self.max_kl)):
            raise InputError(f"max_kl={self.max_kl}: it must be positive, such as 0.01 nats")
        if not (self.damping >= 0 and math.isfinite(self.damping)):
            raise InputError(f"damping={self.damping}: it must be at least 0, such as 0.1")
        for name in ("cg_iterations", "line_search_steps"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name}={value}: it must be a whole number from 1 on, such as 20")
        if not 0 <= self.cg_tolerance < 1:
            raise InputError(f"cg_tolerance={self.cg_tolerance}: it lies in [0, 1), such as 1e-5")
        if not 0 < self.backtracking < 1:
            raise InputError(f"backtracking={self.backtracking}: it lies in (0, 1), such as 0.8")
        if not 0 <= self.accept_ratio < 1:
            raise InputError(f"accept_ratio={self.accept_ratio}: it lies in [0, 1), such as 0.1")
