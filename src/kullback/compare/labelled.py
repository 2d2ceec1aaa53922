"""What several files say together of their rows: labels, classes, groups; or where they disagree.

A file may leave out what another one says. Where two say different things, one of them belongs to
other rows, and a comparison by class or group would be wrong without anyone seeing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from kullback.compare.readers import Source
from kullback.compare.slices import RUNS_ARE_CHUNKS, Slices
from kullback.compare.windows import Windows
from kullback.errors import ComparisonError

__all__ = ["shared_slices", "with_slices"]

Value = TypeVar("Value")

_INDEPENDENT = (
    "no document ids: every row counts as an independent example; where rows belong together (a "
    "patient, a scene), save `documents`, or the intervals are too narrow"
)


def shared_slices(reference: Source, candidates: Sequence[Source]) -> Slices | None:
    """The classes and groups of the rows of all sides together; None where no side has any.

    Raises `ComparisonError` naming the first row at which two files have another label or group,
    or the first class with another name. Files of different lengths are left to others to refuse.
    """
    sides = [reference, *candidates]
    told = [getattr(side, "slices", None) or Slices() for side in sides]
    examples = any(slices.examples for slices in told)
    if not examples and all(slices.groups is None for slices in told):
        return None
    class_names = _agreed(
        [(side, slices.class_names) for side, slices in zip(sides, told, strict=True)], "class"
    )
    if examples:
        _check_labels(sides, class_names)
    grouped = [(side, _group_of_rows(slices)) for side, slices in zip(sides, told, strict=True)]
    _agreed(grouped, "the group of row")
    first = next((slices for slices in told if slices.groups is not None), Slices())
    return Slices(
        examples=examples,
        class_names=class_names,
        groups=first.groups,
        group_names=first.group_names,
        independent=examples and all(slices.independent for slices in told),
    )


def with_slices(windows: Windows, slices: Slices | None) -> Windows:
    """`windows` with the classes and groups of its rows."""
    if slices is None:
        return windows
    notes = windows.notes
    if slices.independent:
        notes = [note for note in notes if not note.endswith(RUNS_ARE_CHUNKS)] + [_INDEPENDENT]
    return replace(windows, slices=slices, notes=notes)


def _group_of_rows(slices: Slices) -> np.ndarray | None:
    return None if slices.groups is None else np.array(slices.group_names)[slices.groups]


def _agreed(told: Sequence[tuple[Source, Value | None]], what: str) -> Value | None:
    """What all agree on who say something; the first of them decides what the others must say."""
    known = [(side, values) for side, values in told if values is not None]
    for side, values in known[1:]:
        ours, theirs = np.asarray(known[0][1]), np.asarray(values)
        different = np.flatnonzero(ours != theirs) if ours.shape == theirs.shape else []
        if len(different):
            place = int(different[0])
            raise ComparisonError(
                f"the files disagree: {what} {place} is {str(ours[place])!r} in "
                f"{known[0][0].name!r} and {str(theirs[place])!r} in {side.name!r}; save both from "
                "the same rows in the same order"
            )
    return known[0][1] if known else None


def _check_labels(sides: Sequence[Source], names: tuple[str, ...] | None) -> None:
    """Labels by name where there are names, each row's against the first file that knows it."""
    known: list[tuple[np.ndarray, str]] = []
    for side in sides:
        if side.windows is None:
            continue
        labels = np.concatenate([window.targets for window in side.windows.items])
        for ours, name in known:
            if len(ours) != len(labels):
                continue
            different = np.flatnonzero((ours != labels) & (ours >= 0) & (labels >= 0))
            if len(different):
                row = int(different[0])
                mine, theirs = _called(int(ours[row]), names), _called(int(labels[row]), names)
                raise ComparisonError(
                    f"the files disagree: the label of row {row} is {mine} in {name!r} and "
                    f"{theirs} in {side.name!r}; save both from the same rows in the same order"
                )
        known.append((labels, side.name))


def _called(label: int, names: tuple[str, ...] | None) -> str:
    return str(label) if names is None or label >= len(names) else f"{label} ({names[label]!r})"
