"""What is exchanged at once: one kind of module in one layer, a layer, or a kind in all layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kullback.compare.layers.modules import KINDS, Part, Slot
from kullback.errors import InputError

__all__ = ["GROUPINGS", "Unit", "units_of"]

GROUPINGS = ("modules", "layers", "kinds")


@dataclass(frozen=True, eq=False)
class Unit:
    """Parts that are exchanged together; the layers before `start` do not feel it."""

    name: str
    layer: int | None
    kind: str
    parts: tuple[Part, ...]
    start: int

    @property
    def slots(self) -> list[Slot]:
        """The slots in which the two models differ."""
        return [slot for part in self.parts if part.differs for slot in part.slots]

    @property
    def differs(self) -> bool:
        """Whether anything is exchanged at all."""
        return any(part.differs for part in self.parts)

    @property
    def weights(self) -> int:
        """The numbers in all of its parts."""
        return sum(part.weights for part in self.parts)


def units_of(
    parts: Sequence[Part], by: str, *, layers: int, behind: Collection[str], resumable: bool
) -> list[Unit]:
    """The parts in groups, each with the first layer that has to run again.

    `behind` are the paths of slots that are met only after the last layer. Where a model is not
    `resumable`, everything starts at layer 0. Raises `InputError` for an unknown grouping.
    """
    if by not in GROUPINGS:
        raise InputError(f"by={by!r}: choose one of {', '.join(GROUPINGS)}")
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(_name(part, by), []).append(part)

    def start(part: Part) -> int:
        if not part.differs:
            return layers
        if part.layer is not None:
            return part.layer
        return layers if all(slot.path in behind for slot in part.slots) else 0

    units = []
    for name, group in groups.items():
        layer = group[0].layer if by != "kinds" else None
        kinds = dict.fromkeys(part.kind for part in group)
        kind = next(iter(kinds)) if len(kinds) == 1 else "layer"
        first = min(start(part) for part in group) if resumable else 0
        units.append(Unit(name, layer, kind, tuple(group), first))
    if by == "kinds":
        units.sort(key=lambda unit: KINDS.index(unit.kind))
    return units


def _name(part: Part, by: str) -> str:
    if by == "kinds":
        return part.kind
    return f"layer {part.layer}" if by == "layers" and part.layer is not None else part.name
