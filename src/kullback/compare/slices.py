"""What files say of their rows besides the numbers: classes, groups, whether rows are examples.

It travels beside the windows and becomes columns of each `PositionBatch`, so that what is folded
by class and by group is the same from memory as from the positions kept on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kullback.compare.positions import PositionBatch
    from kullback.compare.windows import Window

__all__ = ["GROUP", "LABEL", "RUNS_ARE_CHUNKS", "Slices", "with_columns"]

LABEL, GROUP = "label", "group"
"""The columns that tell a position's class and group, by index; a label is −1 where unknown."""

RUNS_ARE_CHUNKS = "rows stand for chunks"
"""How the note ends of a file whose rows are not told apart into documents."""


@dataclass(frozen=True, eq=False)
class Slices:
    """The classes and groups of the rows of a file, or of a comparison.

    `examples` is True where the rows are examples of a classifier: the events are its classes, and
    the windows' targets the labels. `groups` (int64 [rows], None without) points into
    `group_names`. `independent` is True where nothing says which rows belong together.
    """

    examples: bool = False
    class_names: tuple[str, ...] | None = None
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    independent: bool = False

    def names(self, column: str) -> tuple[str, ...] | None:
        """What the indices in `column` stand for, None where they stand for themselves."""
        return self.class_names if column == LABEL else self.group_names


def with_columns(
    batch: PositionBatch, group: Sequence[Window], slices: Slices | None
) -> PositionBatch:
    """`batch`, read from `group`, with its classes and groups.

    Rows that are independent examples become chunks of their own, numbered as in the file.
    """
    if slices is None:
        return batch
    rows = np.concatenate([np.arange(w.offset, w.offset + w.scored) for w in group])
    columns = dict(batch.columns)
    if slices.examples:
        columns[LABEL] = batch.token.astype(np.float64)
    if slices.groups is not None:
        columns[GROUP] = slices.groups[rows].astype(np.float64)
    batch = replace(batch, columns=columns)
    return replace(batch, chunk=rows, position=rows) if slices.independent else batch
