"""Several candidates against one reference, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kullback.results.comparison import Comparison
from kullback.results.estimate import Estimate

__all__ = ["Difference", "Ranking"]


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
