"""Sums over clusters of positions, in a table that does not grow with the text.

A row sums the positions of one chunk. Once there are too many rows, neighbouring chunks of a
document share one: chunk c is in row c ≫ level, and the level is the least at which the rows
fit. That level depends on what was added and not on the order or grouping, so tables merge
like the sums in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kullback.errors import InputError

__all__ = ["ClusterTable", "Clusters"]

_MAX_LEVEL = 62


@dataclass(frozen=True)
class Clusters:
    """Sums over the positions of each cluster, by name, every array of shape [clusters]."""

    sums: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.sums[name]

    def __contains__(self, name: str) -> bool:
        return name in self.sums

    def count(self, name: str) -> int:
        """The sum of a counting column over all clusters."""
        return int(self.sums[name].sum())

    @property
    def sizes(self) -> np.ndarray:
        """The number of positions of each cluster."""
        return self.sums["positions"]


class ClusterTable:
    """Sums by document and block of chunks, in at most `max_rows` rows.

    Every document keeps a row of its own, even if they are more than `max_rows`.
    """

    def __init__(self, max_rows: int) -> None:
        self.names: tuple[str, ...] = ()
        self._max_rows = max_rows
        self._level = 0
        self._document = np.empty(0, np.int64)
        self._first_chunk = np.empty(0, np.int64)
        self._last_chunk = np.empty(0, np.int64)
        self._sums = np.empty((0, 0))

    def update(
        self, document: np.ndarray, chunk: np.ndarray, columns: dict[str, np.ndarray]
    ) -> None:
        """Add one position for each entry of `document` and `chunk` (int64) and the columns."""
        sums = np.stack(list(columns.values()), axis=1)
        self._add(tuple(columns), document, chunk, chunk, sums)

    def merge(self, other: ClusterTable) -> None:
        """Add the rows of `other`."""
        if len(other):
            self._level = max(self._level, other._level)
            self._add(
                other.names, other._document, other._first_chunk, other._last_chunk, other._sums
            )

    def __len__(self) -> int:
        return len(self._document)

    @property
    def documents(self) -> np.ndarray:
        """The indices of the documents with at least one position, ascending."""
        return np.unique(self._document)

    @property
    def row_documents(self) -> np.ndarray:
        """The index of the document of each row of `by_chunk`, ascending."""
        return self._document

    @property
    def chunks(self) -> int:
        """The number of chunks with a position.

        Where chunks share rows, those of one document are taken to be numbered consecutively.
        """
        return int((self._last_chunk - self._first_chunk + 1).sum())

    def by_chunk(self) -> Clusters:
        """Sums over each chunk, or each block of chunks where chunks share a row."""
        return Clusters(dict(zip(self.names, self._sums.T, strict=True)))

    def by_document(self) -> Clusters:
        """Sums over each document, in the order of `documents`."""
        starts = np.flatnonzero(np.diff(self._document, prepend=-1))
        sums = np.add.reduceat(self._sums, starts, axis=0)
        return Clusters(dict(zip(self.names, sums.T, strict=True)))

    def _add(
        self,
        names: tuple[str, ...],
        document: np.ndarray,
        first_chunk: np.ndarray,
        last_chunk: np.ndarray,
        sums: np.ndarray,
    ) -> None:
        if not self.names:
            self.names, self._sums = names, np.empty((0, len(names)))
        if names != self.names:
            raise InputError(
                "all positions of one comparison must bring the same columns, but these came "
                f"only with some: {sorted(set(names) ^ set(self.names))}"
            )
        self._document = np.concatenate([self._document, document])
        self._first_chunk = np.concatenate([self._first_chunk, first_chunk])
        self._last_chunk = np.concatenate([self._last_chunk, last_chunk])
        self._sums = np.concatenate([self._sums, sums])
        self._fold()
        while len(self) > self._max_rows and self._level < _MAX_LEVEL:
            self._level += 1
            self._fold()

    def _fold(self) -> None:
        block = self._first_chunk >> self._level
        order = np.lexsort((block, self._document))
        document, block = self._document[order], block[order]
        is_new = (np.diff(document, prepend=-1) != 0) | (np.diff(block, prepend=-1) != 0)
        starts = np.flatnonzero(is_new)
        self._document = document[starts]
        self._first_chunk = np.minimum.reduceat(self._first_chunk[order], starts)
        self._last_chunk = np.maximum.reduceat(self._last_chunk[order], starts)
        self._sums = np.add.reduceat(self._sums[order], starts, axis=0)
