"""What a comparison of incomplete logs hands back: an interval of the mean KL, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kullback.results import Estimate, json_number

__all__ = ["IncompleteComparison"]


@dataclass(frozen=True)
class IncompleteComparison:
    """How far Q is from P on one text, as far as logs that list only some events can tell.

    All in nats per position. `low` and `high` are the means of the certified lower and upper
    ends of KL(P‖Q) over the positions, each with its own confidence interval; the two say
    different things, since no more text narrows what a log leaves out. `listed_low` and
    `listed_high` bound the mean KL of what both sides list, everything else being one event.
    `rest_p` and `rest_q` are the mean masses that either side does not list.

    `unbounded` counts the positions where nothing bounds the KL from above; with one of them
    `high` is +inf. `skipped` counts the tokens in whose place one side predicted nothing.
    """

    low: Estimate
    high: Estimate
    listed_low: Estimate
    listed_high: Estimate
    rest_p: Estimate
    rest_q: Estimate
    positions: int
    unbounded: int
    skipped: int
    documents: int
    clustered_by: str
    confidence: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """What is reported of the mean KL: the low end of `low` and the high end of `high`.

        It holds the mean with at least `confidence`, and is never narrower than what is not
        known. NaN where there is too little text for an interval.
        """
        return self.low.low, self.high.high

    def to_dict(self) -> dict[str, Any]:
        """The comparison as a dictionary that is valid JSON, under the keys of
        `docs/incomplete.md`."""
        ends = {"low": json_number(self.interval[0]), "high": json_number(self.interval[1])}
        return {
            "kl": ends | {"lower": self.low.to_dict(), "upper": self.high.to_dict()},
            "listed_kl": {"lower": self.listed_low.to_dict(), "upper": self.listed_high.to_dict()},
            "unlisted_mass": {
                "reference": self.rest_p.to_dict(),
                "candidate": self.rest_q.to_dict(),
            },
            "positions": self.positions,
            "unbounded_positions": self.unbounded,
            "skipped_tokens": self.skipped,
            "documents": self.documents,
            "clustered_by": self.clustered_by,
            "confidence": self.confidence,
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"KL in [{low:.3g}, {high:.3g}] nats ({100 * self.confidence:g} %): mean lower bound "
            f"{self.low.value:.3g}, mean upper bound {self.high.value:.3g}, "
            f"{self.positions:,} positions"
        )
