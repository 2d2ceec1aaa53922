"""Parts of a comparison: positions of one kind, and what rounding alone does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kullback.results.estimate import Estimate, json_number

__all__ = ["ConfidenceBin", "Floor", "Slice"]


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
