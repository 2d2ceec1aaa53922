"""A position as a row of a table, and back.

Numbers keep all their digits, so that what is folded from a file is what would have been folded
from the pass itself. Text stands beside the token, for those who read the table without a
tokeniser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kullback.compare.positions import PositionBatch
from kullback.compare.top_events import TopEvents
from kullback.errors import MissingExtra
from kullback.kernels import RowStatistics

__all__ = ["arrow", "read_batches", "table_of", "token_texts", "with_texts"]

_COLUMN, _TEXTS = "column:", b"kullback.tokens"


def arrow() -> Any:
    """PyArrow, or the error that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("pyarrow", "report") from error
    return pyarrow


def table_of(
    batch: PositionBatch,
    candidate: str,
    documents: Sequence[str],
    text_of: Callable[[int], str] | None,
) -> Any:
    """The positions of `batch` as a PyArrow table, a row each.

    `text_of` gives the text of a token, None where there is no tokeniser.
    """
    pa = arrow()
    names = pa.array(list(documents), pa.string())
    columns: dict[str, Any] = {
        "candidate": pa.array([candidate] * len(batch)).dictionary_encode(),
        "document": pa.DictionaryArray.from_arrays(pa.array(batch.document, pa.int32()), names),
        "document_index": pa.array(batch.document, pa.int32()),
        "chunk": pa.array(batch.chunk, pa.int32()),
        "position": pa.array(batch.position, pa.int32()),
        "token": pa.array(batch.token, pa.int32()),
    }
    if text_of is not None:
        columns["text"] = pa.array(
            [text_of(int(token)) if token >= 0 else None for token in batch.token], pa.string()
        )
    for name, values in batch.statistics.items():
        columns[name] = pa.array(values, pa.int32() if values.dtype == np.int64 else pa.float64())
    for name, values in batch.columns.items():
        columns[_COLUMN + name] = pa.array(values, pa.float64())
    if batch.top is not None:
        for name, values, kind in (
            ("top_events", batch.top.events, pa.int32()),
            ("top_events_p", batch.top.p, pa.float32()),
            ("top_events_q", batch.top.q, pa.float32()),
        ):
            flat = pa.array(values.reshape(-1).astype(kind.to_pandas_dtype()), kind)
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(columns)


def read_batches(table: Any, rows: int = 1 << 16) -> Iterator[tuple[str, PositionBatch]]:
    """The candidate's name and the positions, `rows` at a time, from a table as above."""
    for part in table.combine_chunks().to_batches(max_chunksize=rows):
        found = {name: part.column(name) for name in part.schema.names}
        candidates = np.asarray(found["candidate"].to_pylist())
        for candidate in dict.fromkeys(candidates.tolist()):
            mine = np.flatnonzero(candidates == candidate)
            yield candidate, _batch(found, mine)


def with_texts(table: Any, text_of: Callable[[int], str]) -> Any:
    """`table` with the text of every token that it names, in its metadata."""
    ids = []
    for name in ("token", "top_p", "top_q", "top_events"):
        if name in table.column_names:
            column = table[name].combine_chunks()
            column = column.flatten() if name == "top_events" else column
            ids.append(column.to_numpy(zero_copy_only=False))
    known = np.unique(np.concatenate(ids))
    texts = {str(token): text_of(int(token)) for token in known[known >= 0]}
    metadata = {**(table.schema.metadata or {}), _TEXTS: json.dumps(texts).encode()}
    return table.replace_schema_metadata(metadata)


def token_texts(table: Any) -> dict[int, str]:
    """The text of every token that a finished table names; empty without a tokeniser."""
    found = json.loads((table.schema.metadata or {}).get(_TEXTS, b"{}"))
    return {int(token): text for token, text in found.items()}


def _batch(found: dict[str, Any], mine: np.ndarray) -> PositionBatch:
    def array(name: str, dtype: Any = np.int64) -> np.ndarray:
        return found[name].to_numpy(zero_copy_only=False)[mine].astype(dtype)

    def listed(name: str) -> np.ndarray:
        column = found[name]
        return column.flatten().to_numpy().reshape(-1, column.type.list_size)[mine]

    whole = ("top_p", "top_q")
    return PositionBatch(
        {
            name: array(name, np.int64 if name in whole else np.float64)
            for name in RowStatistics._fields
        },
        document=array("document_index"),
        chunk=array("chunk"),
        position=array("position"),
        token=array("token"),
        columns={
            name.removeprefix(_COLUMN): array(name, np.float64)
            for name in found
            if name.startswith(_COLUMN)
        },
        top=TopEvents(*map(listed, ("top_events", "top_events_p", "top_events_q")))
        if "top_events" in found
        else None,
    )
