"""The reference against itself, computed in another way: what rounding alone makes of a KL.

A model that is run in another dtype, or with other windows beside it, gives other logits, though it
is the same model. A candidate whose KL cannot be told from that has lost nothing that can be seen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from kullback.compare.accumulate import Accumulator, clusters_of
from kullback.compare.positions import Side
from kullback.compare.ranking import paired
from kullback.compare.readers import Rows, Source
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.windows import Window
from kullback.errors import InputError
from kullback.results import Comparison, Floor

__all__ = ["FLOOR", "again", "floor_sides", "with_floors"]

FLOOR = "(noise floor: the reference in"
"""How the name of a floor begins where it stands beside those of candidates."""


def floor_sides(
    reference: Source, candidates: Mapping[str, Side]
) -> tuple[dict[str, str], dict[str, Side]]:
    """The name of each candidate's floor, and the floors by name: one for all that run alike.

    Raises `InputError` where a candidate has the name of a floor, or no floor can be measured.
    """
    for name in candidates:
        if name.startswith(FLOOR):
            raise InputError(f"the candidate {name!r} has the name of a noise floor: rename it")
    names: dict[str, str] = {}
    sides: dict[str, Side] = {}
    for name, side in candidates.items():
        other = again(reference, side.source)
        names[name] = other.name
        sides.setdefault(other.name, Side(other, other.events))
    return names, sides


def with_floors(
    comparisons: Mapping[str, Comparison],
    found: Mapping[str, Accumulator],
    names: Mapping[str, str],
    said: Mapping[str, str],
    confidence: float,
) -> dict[str, Comparison]:
    """The candidates' comparisons, each with its floor and what is `said` of it in a note."""
    return {
        name: replace(
            comparisons[name],
            floor=Floor(
                kl=comparisons[floor].kl,
                difference=paired(
                    clusters_of(found[floor])[0], clusters_of(found[name])[0], confidence
                ),
            ),
            notes=(*comparisons[name].notes, said[floor]),
        )
        for name, floor in names.items()
    }


def again(reference: Source, candidate: Source) -> Source:
    """The reference in the candidate's dtype, or in another batch where the dtype is its own.

    Raises `InputError` where the reference is no model that can be run again.
    """
    if not isinstance(reference, HuggingFaceModel):
        raise InputError(
            f"the noise floor needs a reference that can be run twice, and {reference.name!r} is "
            "what one left on disk: leave out the floor, or give the model"
        )
    theirs = getattr(getattr(candidate, "model", None), "dtype", reference.model.dtype)
    if theirs != reference.model.dtype:
        kind = str(theirs).removeprefix("torch.")
        note = f"the noise floor is the reference in {kind}, as the candidate is"
        model = copy.deepcopy(reference.model).to(theirs)
        return replace(reference, model=model, name=f"{FLOOR} {kind})", notes=[note])
    return OtherBatch(reference)


@dataclass(frozen=True, eq=False)
class OtherBatch:
    """A model whose windows go through it two at a time, or alone where they went together.

    Matrix products of another shape add up in another order.
    """

    model_side: HuggingFaceModel
    name: str = f"{FLOOR} other batches)"
    windows: None = None

    @property
    def events(self) -> int:
        """The width of a row."""
        return self.model_side.events

    @property
    def tokenizer(self) -> Any:
        """That of the model."""
        return self.model_side.tokenizer

    @property
    def notes(self) -> list[str]:
        """What the floor is."""
        return ["the noise floor is the reference with its windows in batches of another size"]

    def rows(self, windows: Sequence[Window]) -> Rows:
        """The rows of `windows`, from a batch of another size."""
        if len(windows) > 1:
            parts = [self.model_side.rows([window]).values for window in windows]
            return Rows(torch.cat(parts))
        twice = self.model_side.rows([*windows, *windows]).values
        return Rows(twice[: len(twice) // 2])

    def provenance(self) -> dict[str, Any]:
        """That of the model, and how it was run."""
        return {**self.model_side.provenance(), "run": "in batches of another size"}
