"""A number known up to an error, and how numbers are put into JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, SupportsFloat, TypeVar

__all__ = ["Estimate", "json_number"]

Number = TypeVar("Number", bound=SupportsFloat)


def _plain(number: Any) -> float:
    """A float, also of a tensor that records gradients."""
    return float(number.detach() if hasattr(number, "detach") else number)


@dataclass(frozen=True)
class Estimate(Generic[Number]):
    """A number known up to an error: its value, an interval, and how the interval was made.

    `low` and `high` bound the interval of the given `confidence`; `stderr` is the standard
    error of `value`. All three are NaN when no interval can be formed. `evaluations` counts
    what the value was averaged over. `trusted` is False when the interval should not be
    leaned on; `diagnosis` then says why, and may also explain a trusted but unusual value.

    The four numbers are floats, or tensors of one shape for a batch of distributions; then
    `trusted` speaks for all of it, and `diagnosis` says how many elements it is about.

    >>> kl = Estimate(0.00737, 0.0051, 0.0096, stderr=0.0011, method="by document")
    >>> print(kl)
    0.00737 [0.00510, 0.00960] (95 %)
    >>> float(kl)
    0.00737
    """

    value: Number
    low: Number
    high: Number
    stderr: Number | float = math.nan
    confidence: float = 0.95
    method: str = ""
    evaluations: int = 0
    trusted: bool = True
    diagnosis: str = ""

    def __float__(self) -> float:
        return _plain(self.value)

    def __str__(self) -> str:
        shape = tuple(getattr(self.value, "shape", ()))
        if shape:
            lines = [f"{self.method}, shape {shape}{'' if self.trusted else ', not to be trusted'}"]
            lines += [f"{name}: {getattr(self, name)}" for name in ("value", "low", "high")]
            return "\n".join(lines + [self.diagnosis] * bool(self.diagnosis))
        if math.isinf(_plain(self.value)):
            return f"{_three_digits(self.value)} ({self.diagnosis or self.method})"
        if self.confidence == 1 and _plain(self.stderr) >= 0:
            doubt = "" if self.trusted else f"; not to be trusted: {self.diagnosis}"
            error = f" ± {_plain(self.stderr):.1g}" if _plain(self.stderr) else ""
            return f"{_plain(self.value):.10g}{error} ({self.method}{doubt})"
        if math.isnan(_plain(self.low)) or math.isnan(_plain(self.high)):
            return f"{_three_digits(self.value)} (no interval: {self.diagnosis or 'unknown'})"
        ends = f"[{_three_digits(self.low)}, {_three_digits(self.high)}]"
        doubt = "" if self.trusted else f", not to be trusted: {self.diagnosis}"
        return f"{_three_digits(self.value)} {ends} ({100 * self.confidence:g} %{doubt})"

    def to_dict(self) -> dict[str, Any]:
        """The estimate as a dictionary that is valid JSON, under the keys of `docs/compare.md`.

        >>> Estimate(math.inf, math.inf, math.inf).to_dict()["mean"]
        'inf'
        """
        return {
            "mean": json_number(_plain(self.value)),
            "low": json_number(_plain(self.low)),
            "high": json_number(_plain(self.high)),
            "stderr": json_number(_plain(self.stderr)),
            "trusted": self.trusted,
            "diagnosis": self.diagnosis,
        }


def json_number(value: float) -> float | str | None:
    """A number that JSON can hold: infinities as the strings "inf" and "-inf", NaN as None.

    >>> json_number(0.5), json_number(-math.inf), json_number(math.nan)
    (0.5, '-inf', None)
    """
    if math.isnan(value):
        return None
    return str(float(value)) if math.isinf(value) else float(value)


def _three_digits(number: Any) -> str:
    value = _plain(number)
    return f"{value:#.3g}" if value else "0"
