"""The positions of one candidate, as arrays in the order of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.compare.top_events import TopEvents
from kullback.errors import InputError
from kullback.report.html.tokens import visible

__all__ = ["Positions", "positions_of", "texts_of"]

_WHOLE = ("document_index", "chunk", "position", "token", "top_p", "top_q")
_REAL = ("kl", "log_prob_p", "log_prob_q", "top_prob_p", "top_prob_q")


@dataclass(frozen=True)
class Positions:
    """Columns of the table by name, [n] each, sorted by chunk and then by position."""

    columns: dict[str, np.ndarray]
    documents: dict[int, str]
    """What is shown of the name of each, by index."""
    top: TopEvents | None
    notes: tuple[str, ...] = ()
    examples: bool = False
    """Whether they are examples of a classifier, of which chunks are only clusters."""

    def __len__(self) -> int:
        return len(self.columns["token"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def joined(self) -> np.ndarray:
        """True where the position before in the text is the one before in the table, [n]."""
        same = np.ones(len(self), bool)
        same[0] = False
        steps = {"document_index": 0, "chunk": 0, "position": 1}
        if self.examples:
            del steps["chunk"]
        for name, step in steps.items():
            same[1:] &= np.diff(self[name]) == step
        return same


def positions_of(table: Any, candidate: str, examples: bool = False) -> Positions:
    """The rows of `table` that belong to `candidate`, and are `examples` or positions of a text.

    Raises `InputError` where there are none, or a column is missing.
    """
    names = table.schema.names
    missing = [n for n in ("candidate", "document", *_WHOLE, *_REAL) if n not in names]
    if missing:
        raise InputError(
            f"the table of positions has no column {', '.join(missing)}: give the one that "
            "was written with --out"
        )
    mine = table.take(np.flatnonzero(np.array(table["candidate"].to_pylist()) == candidate))
    if not mine.num_rows:
        raise InputError(
            f"the table of positions has none of the candidate {candidate!r}: give comparisons and "
            "positions of the same run"
        )
    order = np.lexsort((_array(mine, "position"), _array(mine, "chunk")))
    columns = {name: _array(mine, name)[order] for name in (*_WHOLE, *_REAL)}
    return Positions(columns, _documents(mine), _top(mine, order), _notes(names), examples)


def texts_of(table: Any) -> dict[int, str]:
    """The texts that a table has beside its tokens, by token."""
    if "text" not in table.schema.names:
        return {}
    tokens, first = np.unique(_array(table, "token"), return_index=True)
    texts = table["text"].take(first).to_pylist()
    return {
        int(token): text
        for token, text in zip(tokens, texts, strict=True)
        if token >= 0 and text is not None
    }


def _array(table: Any, name: str) -> np.ndarray:
    values = table[name].to_numpy()
    return values.astype(np.float64 if name in _REAL else np.int64)


def _documents(table: Any) -> dict[int, str]:
    index, first = np.unique(_array(table, "document_index"), return_index=True)
    names = [str(name) for name in table["document"].take(first).to_pylist()]
    return dict(zip(index.tolist(), map(visible, _without_folder(names)), strict=True))


def _without_folder(names: list[str]) -> list[str]:
    """Paths without the folder that they all lie in."""
    folders = [name.rpartition("/")[0].split("/") for name in names]
    shared = 0
    while all(len(f) > shared and f[shared] == folders[0][shared] for f in folders):
        shared += 1
    return ["/".join(name.split("/")[shared:]) or name for name in names]


def _top(table: Any, order: np.ndarray) -> TopEvents | None:
    names = ("top_events", "top_events_p", "top_events_q")
    if any(name not in table.schema.names for name in names):
        return None
    found = []
    for name in names:
        column = table[name].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        found.append(values.reshape(-1, column.type.list_size)[order])
    return TopEvents(*found)


def _notes(names: list[str]) -> tuple[str, ...]:
    if "column:censored_mass_p" not in names:
        return ()
    return (
        "Of some events a file knows only that they are improbable; where the text shows one, its "
        "probability is an upper bound.",
    )
