"""How much of what the reference knows a candidate loses: every number, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kullback.results.breakdowns import ConfidenceBin, Floor, Slice
from kullback.results.estimate import Estimate, json_number

__all__ = ["PERCENTILES", "Comparison"]

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
    precision_reached: bool | None = None
    """Whether the interval of the KL got as narrow as was asked for; None where nobody asked."""

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
            "precision_reached": self.precision_reached,
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
        noun = "example" if self.unit == "example" else "position"
        return (
            f"KL(reference‖candidate) = {self.kl} nats per {self.unit}, same top "
            f"{'class' if self.unit == 'example' else 'token'} "
            f"{self.same_top}, on {self.positions:,} {noun}s of {self.documents:,} documents"
        )


def _json_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_tree(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return json_number(value) if isinstance(value, float) else str(value)
