"""What exchanging modules one at a time showed: a frozen record, made once and read by reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kullback.results import Estimate, json_number

__all__ = ["Effect", "LayerEffects"]

_ADDS_UP = 0.05
"""A sum of single effects this near to the whole, in proportion, is said to add up."""


@dataclass(frozen=True)
class Effect:
    """What one module of the candidate does, in nats per position.

    `kl` is KL(reference‖reference with this module of the candidate). `without`, where it was
    asked for, is KL(reference‖candidate with this module of the reference), and `saved` what
    that takes off the whole candidate's KL, from paired positions; it may be negative.
    `layer` is None for what stands around the layers and for kinds over all of them. `weights`
    counts the numbers in the module, and `equal` says that both models have the same ones,
    so that its effect is 0 without having been measured.
    """

    name: str
    layer: int | None
    kind: str
    weights: int
    equal: bool
    kl: Estimate
    without: Estimate | None = None
    saved: Estimate | None = None

    def to_dict(self) -> dict[str, Any]:
        """The effect as a dictionary that is valid JSON."""
        return {
            "name": self.name,
            "layer": self.layer,
            "kind": self.kind,
            "weights": self.weights,
            "equal": self.equal,
            "kl": self.kl.to_dict(),
            "without": None if self.without is None else self.without.to_dict(),
            "saved": None if self.saved is None else self.saved.to_dict(),
        }


@dataclass(frozen=True)
class LayerEffects:
    """The effects of all modules, in the order in which a token meets them.

    `whole` is the KL of the whole candidate, `total` the sum of the single effects and `gap`
    that sum minus the whole, paired by position (None where a KL is infinite). `by` is
    "modules", "layers" or "kinds". `evaluations` counts the layers that ran, once for each
    window, and `naive` those that whole forward passes would have run.
    """

    effects: tuple[Effect, ...]
    by: str
    layers: int
    whole: Estimate
    total: Estimate
    gap: Estimate | None
    positions: int
    documents: int
    chunks: int
    clustered_by: str
    confidence: float
    evaluations: int
    naive: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def ranked(self) -> tuple[Effect, ...]:
        """The effects, the largest first; of equals the one that a token meets first."""
        return tuple(sorted(self.effects, key=lambda effect: -effect.kl.value))

    @property
    def adding_up(self) -> str:
        """Whether single effects add up to the whole candidate's, in a sentence or two."""
        whole, total = self.whole.value, self.total.value
        if self.gap is None or math.isinf(whole):
            return "An effect is infinite, so that nothing can be said of sums."
        if whole == 0:
            if total == 0:
                return "The candidate loses nothing, and no module does."
            return "The whole candidate loses nothing, though single modules do: they cancel."
        share = total / whole
        if abs(share - 1) <= _ADDS_UP:
            return f"Single effects add up: their sum is {share:.3g} of the whole candidate's KL."
        sums = f"The single effects sum to {share:.3g} times the whole candidate's KL"
        if math.isnan(self.gap.low) or self.gap.low <= 0 <= self.gap.high:
            return f"{sums}, but on so little text that says nothing yet: give more of it."
        if share < 1:
            return (
                f"Effects do not add up: {sums[0].lower()}{sums[1:]}. The modules make each "
                "other's errors worse, and repairing one tends to gain more than it loses alone."
            )
        return (
            f"Effects do not add up: {sums[0].lower()}{sums[1:]}. The modules' errors overlap or "
            "cancel, and repairing one tends to gain less than it loses alone."
        )

    def to_dict(self) -> dict[str, Any]:
        """The record as a dictionary that is valid JSON, under the keys of `docs/layers.md`."""
        return {
            "by": self.by,
            "layers": self.layers,
            "whole": self.whole.to_dict(),
            "sum_of_effects": self.total.to_dict(),
            "gap": None if self.gap is None else self.gap.to_dict(),
            "adding_up": self.adding_up,
            "effects": [effect.to_dict() for effect in self.effects],
            "ranking": [effect.name for effect in self.ranked()],
            "positions": self.positions,
            "documents": self.documents,
            "chunks": self.chunks,
            "clustered_by": self.clustered_by,
            "confidence": json_number(self.confidence),
            "layer_evaluations": self.evaluations,
            "naive_layer_evaluations": self.naive,
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
        }
