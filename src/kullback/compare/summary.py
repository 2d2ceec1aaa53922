"""From the sums of a pass to a `Comparison` of every candidate, with what has to be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kullback.compare.accumulate import Accumulator, comparison_from
from kullback.compare.run import Pass
from kullback.results import Comparison

__all__ = ["comparisons_of"]


def comparisons_of(
    plan: Pass,
    found: Mapping[str, Accumulator],
    provenances: Mapping[str, Any],
    confidence: float,
) -> dict[str, Comparison]:
    """What each candidate's sums say, by name."""
    comparisons = {}
    for name, side in plan.candidates.items():
        # A source may stand on both sides.
        notes = [*plan.windows.notes, *plan.reference.notes, *side.source.notes]
        comparison = comparison_from(
            found[name],
            convention="llama.cpp" if plan.reading.as_llama_cpp else "careful",
            documents=plan.windows.documents,
            slices=plan.windows.slices,
            provenance=provenances[name],
            notes=list(dict.fromkeys(notes)),
            confidence=confidence,
        )
        lumped = _column_notes(comparison, side.events)
        comparison = replace(comparison, notes=(*comparison.notes, *lumped))
        if plan.stopping is not None:
            comparison = plan.stopping.told(comparison, found[name])
        comparisons[name] = comparison
    return comparisons


def _column_notes(comparison: Comparison, events: int) -> list[str]:
    """What a reader has to know of mass that was lumped together or cut off."""
    means = {name: estimate.value for name, estimate in comparison.columns.items()}
    notes = []
    if "censored_mass_p" in means:
        notes.append(
            "events that a file knows only to be small were joined into one: the divergences are "
            f"lower bounds; its mean mass is {means['censored_mass_p']:.2g} in the reference and "
            f"{means['censored_mass_q']:.2g} in the candidate, and the next token was among them "
            f"at {means['censored_token']:.2%} of the positions"
        )
    for side, name in (("p", "reference"), ("q", "candidate")):
        if f"padding_mass_{side}" in means:
            notes.append(
                f"the {name}'s head is wider than the {events} events compared; the mean mass on "
                f"its padding was {means[f'padding_mass_{side}']:.2g}, and was cut off"
            )
    return notes
