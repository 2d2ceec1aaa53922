"""What Kullback hands back when a number is estimated rather than exact.

An `Estimate` never travels without its interval, the way that interval was made, and a word
when it should not be leaned on. A `Comparison` is the set of such numbers that answers "how
much of what the reference knows does the candidate lose, on this text?". Both are plain
frozen records: rooms make them, reports read them, nothing in here computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, SupportsFloat, TypeVar

__all__ = [
    "PERCENTILES",
    "Comparison",
    "ConfidenceBin",
    "Difference",
    "Estimate",
    "Floor",
    "Ranking",
    "Slice",
]

PERCENTILES: Mapping[str, float] = {
    "min": 0.0,
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.10,
    "p50": 0.50,
    "p90": 0.90,
    "p95": 0.95,
    "p99": 0.99,
    "p99_9": 0.999,
    "max": 1.0,
}
"""The percentiles a `Comparison` keeps, by the key they have in its dictionary."""


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


@dataclass(frozen=True)
class ConfidenceBin:
    """The positions at which the reference's top probability lies in [`low`, `high`).

    `share` is their share of all positions, `kl_share` their share of the summed KL (NaN when
    that sum is zero or infinite). The last bin includes 1.
    """

    low: float
    high: float
    positions: int
    share: float
    kl: Estimate
    same_top: Estimate
    kl_share: float

    def to_dict(self) -> dict[str, Any]:
        """The bin as a dictionary that is valid JSON."""
        return {
            "low": self.low,
            "high": self.high,
            "positions": self.positions,
            "share": json_number(self.share),
            "kl": self.kl.to_dict(),
            "same_top": self.same_top.to_dict(),
            "kl_share": json_number(self.kl_share),
        }


@dataclass(frozen=True)
class Floor:
    """What rounding alone does, in nats per position.

    `kl` is KL(reference‖reference), the second one run another way; `difference` the candidate's
    KL less that, paired position by position.
    """

    kl: Estimate
    difference: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The floor as a dictionary that is valid JSON."""
        return {"kl": self.kl.to_dict(), "difference": self.difference.to_dict()}


@dataclass(frozen=True)
class Slice:
    """The positions of one class or of one group, by name, in nats per position.

    `accuracy_p` and `accuracy_q` are the shares at which the reference's and the candidate's top
    event is the label, None where no label is known. `kl_share` is the slice's share of the
    summed KL of all positions (NaN when that sum is zero or infinite).
    """

    name: str
    positions: int
    kl: Estimate
    same_top: Estimate
    accuracy_p: Estimate | None
    accuracy_q: Estimate | None
    kl_share: float

    def to_dict(self) -> dict[str, Any]:
        """The slice as a dictionary that is valid JSON."""
        sides = {"reference": self.accuracy_p, "candidate": self.accuracy_q}
        return {
            "name": self.name,
            "positions": self.positions,
            "kl": self.kl.to_dict(),
            "same_top": self.same_top.to_dict(),
            "accuracy": None
            if self.accuracy_p is None
            else {side: value and value.to_dict() for side, value in sides.items()},
            "kl_share": json_number(self.kl_share),
        }


@dataclass(frozen=True)
class Comparison:
    """How much of what the reference P knows the candidate Q loses, on one text.

    Divergences and entropies are nats per position; `kl` is KL(P‖Q), `reverse_kl` KL(Q‖P).
    `same_top` is the share of positions where both sides rank the same token first. With
    p the probability of the token that really came next, `delta_p` is the mean of
    p_Q − p_P and `delta_p_rms` the root of its mean square. `perplexity_ratio` is Q's over
    P's, with an interval from the paired differences. What needs the next token is None when
    no position knew it.

    `percentiles` maps the keys of `PERCENTILES` to quantiles of the KL per position.
    `interval_method` and `clustered_by` ("document" or "chunk") say how the intervals were
    made, `columns` holds the means of whatever further columns a reader gave, and `notes`
    what a reader of the numbers has to know.
    """

    kl: Estimate
    reverse_kl: Estimate
    js: Estimate
    total_variation: Estimate
    same_top: Estimate
    entropy_p: Estimate
    entropy_q: Estimate
    delta_p: Estimate | None
    delta_p_rms: Estimate | None
    perplexity_reference: Estimate | None
    perplexity_candidate: Estimate | None
    perplexity_ratio: Estimate | None
    percentiles: Mapping[str, float]
    by_confidence: tuple[ConfidenceBin, ...]
    positions: int
    infinite_positions: int
    documents: int
    chunks: int
    clustered_by: str
    interval_method: str
    confidence: float
    convention: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unit: str = "token"
    """What a position is: "token", or "example" where labels came with a classifier."""
    accuracy_reference: Estimate | None = None
    """The share of labelled examples whose top event is the label; None without labels."""
    accuracy_candidate: Estimate | None = None
    accuracy_difference: Estimate | None = None
    """The candidate's accuracy minus the reference's, paired."""
    by_class: tuple[Slice, ...] = ()
    """The positions by label, the largest part of the KL first."""
    by_group: tuple[Slice, ...] = ()
    floor: Floor | None = None
    """What rounding alone does, where it was measured."""

    def to_dict(self) -> dict[str, Any]:
        """The comparison as a dictionary that is valid JSON, under the keys of `docs/compare.md`.

        Infinities become the strings "inf" and "-inf", which `float` reads back; what is
        unknown becomes None.
        """
        percentiles = {key: json_number(value) for key, value in self.percentiles.items()}
        return {
            "kl": self.kl.to_dict() | {"percentiles": percentiles},
            "reverse_kl": self.reverse_kl.to_dict(),
            "js": self.js.to_dict(),
            "total_variation": self.total_variation.to_dict(),
            "same_top": self.same_top.to_dict(),
            "entropy": {
                "reference": self.entropy_p.to_dict(),
                "candidate": self.entropy_q.to_dict(),
            },
            "delta_p": self._delta_p(),
            "perplexity": self._perplexity(),
            "by_confidence": [part.to_dict() for part in self.by_confidence],
            "columns": {name: value.to_dict() for name, value in self.columns.items()},
            "unit": self.unit,
            "accuracy": self._accuracy(),
            "by_class": [part.to_dict() for part in self.by_class],
            "by_group": [part.to_dict() for part in self.by_group],
            "floor": None if self.floor is None else self.floor.to_dict(),
            "positions": self.positions,
            "infinite_positions": self.infinite_positions,
            "documents": self.documents,
            "chunks": self.chunks,
            "clustered_by": self.clustered_by,
            "confidence": self.confidence,
            "interval_method": self.interval_method,
            "convention": self.convention,
            "provenance": _json_tree(self.provenance),
            "notes": list(self.notes),
        }

    def _accuracy(self) -> dict[str, Any] | None:
        sides = {
            "reference": self.accuracy_reference,
            "candidate": self.accuracy_candidate,
            "difference": self.accuracy_difference,
        }
        found = {name: value.to_dict() for name, value in sides.items() if value is not None}
        return found or None

    def _delta_p(self) -> dict[str, Any] | None:
        if self.delta_p is None or self.delta_p_rms is None:
            return None
        rms = self.delta_p_rms.to_dict()
        return self.delta_p.to_dict() | {
            "rms": rms.pop("mean"),
            "rms_interval": {key: rms[key] for key in ("low", "high", "stderr")},
        }

    def _perplexity(self) -> dict[str, Any]:
        sides = {
            "reference": self.perplexity_reference,
            "candidate": self.perplexity_candidate,
            "ratio": self.perplexity_ratio,
        }
        values: dict[str, Any] = {
            name: None if estimate is None else json_number(estimate.value)
            for name, estimate in sides.items()
        }
        for name, estimate in sides.items():
            values[f"{name}_interval"] = (
                None
                if estimate is None
                else {k: json_number(getattr(estimate, k)) for k in ("low", "high", "stderr")}
            )
        return values

    def __str__(self) -> str:
        return (
            f"KL(reference‖candidate) = {self.kl} nats per {self.unit}, same top "
            f"{'class' if self.unit == 'example' else 'token'} "
            f"{self.same_top}, on {self.positions:,} positions of {self.documents:,} documents"
        )


@dataclass(frozen=True)
class Difference:
    """How much more KL `more` has than `less`, in nats per position, on the same positions."""

    less: str
    more: str
    kl: Estimate

    @property
    def distinguishable(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return bool(self.kl.low > 0 or self.kl.high < 0)

    def to_dict(self) -> dict[str, Any]:
        """The difference as a dictionary that is valid JSON."""
        names = {"less": self.less, "more": self.more}
        return {**names, **self.kl.to_dict(), "distinguishable": self.distinguishable}

    def __str__(self) -> str:
        if not self.distinguishable:
            return f"{self.less} and {self.more} cannot be told apart: {self.kl}"
        return f"{self.more} loses {self.kl} nats per position more than {self.less}"


@dataclass(frozen=True)
class Ranking:
    """Several candidates against one reference, on the same positions, the least KL first.

    `comparisons` maps a candidate's name to its `Comparison`; `differences` has every two of
    them, each with an interval of its own, unadjusted for how many there are; `sizes` are bytes
    on disk, None where a candidate is no file.
    """

    comparisons: Mapping[str, Comparison]
    differences: tuple[Difference, ...]
    sizes: Mapping[str, int | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The ranking as a dictionary that is valid JSON."""
        return {
            "candidates": [
                {"name": name, "bytes": self.sizes.get(name), **comparison.to_dict()}
                for name, comparison in self.comparisons.items()
            ],
            "differences": [difference.to_dict() for difference in self.differences],
        }

    def __str__(self) -> str:
        return "\n".join(
            [f"{name}: {found}" for name, found in self.comparisons.items()]
            + [str(difference) for difference in self.differences]
        )


def json_number(value: float) -> float | str | None:
    """A number that JSON can hold: infinities as the strings "inf" and "-inf", NaN as None.

    >>> json_number(0.5), json_number(-math.inf), json_number(math.nan)
    (0.5, '-inf', None)
    """
    if math.isnan(value):
        return None
    return str(float(value)) if math.isinf(value) else float(value)


def _json_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_tree(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return json_number(value) if isinstance(value, float) else str(value)


def _three_digits(number: Any) -> str:
    value = _plain(number)
    return f"{value:#.3g}" if value else "0"
