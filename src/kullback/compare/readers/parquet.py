"""Rows of a table: `.parquet`, with the logits in one column of lists or a column for each class.

`logits` or `log_probs` is a column of (fixed-size) lists; or `logit_0`, `logit_1`, … or
`log_prob_0`, … are a column each. Beside them may stand `label`, `group` and `document` (or their
plurals), and `token` for positions of a text. The names of classes are a JSON list of strings
under `class_names` in the file's metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kullback.compare.readers.array_files import (
    LONGEST_NAME,
    Stored,
    check_memory,
    of_array,
    told_names,
)
from kullback.errors import DtypeError, FileFormatError, MissingExtra, ShapeError

__all__ = ["opened_table"]

_BESIDE = ("label", "group", "document", "token")
_MATRICES = (("logits", "logit_"), ("log_probs", "log_prob_"))
_ROWS = 4096
"""Rows decoded at once, so that what a page unfolds to is seen before there is memory for it."""


def opened_table(path: Path) -> Mapping[str, Stored]:
    """The arrays that `path` holds, by the names that they have in other formats.

    Raises `FileFormatError`, `ShapeError` or `DtypeError` for a table that holds something else,
    and `MissingExtra` without PyArrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "report") from error
    try:
        file = pq.ParquetFile(path)
        found = {}
        for key, prefix in _MATRICES:
            columns = _matrix_columns(path, file.schema_arrow, key, prefix)
            if columns:
                found[key] = _matrix(path, file, columns, key)
        if not found:
            return dict.fromkeys(file.schema_arrow.names, of_array(np.empty(0)))
        for key in _BESIDE:
            found |= _beside(path, file, key)
        told = file.schema_arrow.metadata or {}
        if b"class_names" in told:
            text = told[b"class_names"].decode(errors="surrogateescape")
            found["class_names"] = told_names(path, "class_names", text)
        return found
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .parquet file: {error}") from error


def _matrix_columns(path: Path, schema: Any, key: str, prefix: str) -> list[str]:
    """The column of lists, or the columns of classes in order; empty where there are neither."""
    numbered = {
        int(rest): name
        for name in schema.names
        if name.startswith(prefix) and (rest := name.removeprefix(prefix)).isdecimal()
    }
    if key in schema.names and numbered:
        raise FileFormatError(
            f"{str(path)!r} has a column {key!r} and columns {prefix}0, …: keep one of them"
        )
    if key in schema.names:
        return [key]
    missing = [i for i in range(len(numbered)) if i not in numbered]
    if missing:
        raise FileFormatError(
            f"{str(path)!r} has {len(numbered)} columns {prefix}…, but no {prefix}{missing[0]}"
        )
    return [numbered[i] for i in range(len(numbered))]


def _matrix(path: Path, file: Any, columns: list[str], key: str) -> Stored:
    rows = file.metadata.num_rows
    kind = file.schema_arrow.field(columns[0]).type
    if len(columns) == 1 and columns[0] == key:
        if not hasattr(kind, "value_type"):
            raise DtypeError(f"{key!r} in {str(path)!r} is {kind}: it needs a list in each row")
        width, kind = _width(path, file, key), kind.value_type
    else:
        width = len(columns)
    dtype = _float(path, key, kind)
    for name in columns[1:]:
        _float(path, name, file.schema_arrow.field(name).type)

    def load() -> np.ndarray:
        return _filled(path, file, columns, key, (rows, width), dtype)

    return Stored((rows, width), dtype.itemsize, load)


def _width(path: Path, file: Any, key: str) -> int:
    """The length of the lists: by type, or that of the first, which all others have to have."""
    kind = file.schema_arrow.field(key).type
    if hasattr(kind, "list_size"):
        return kind.list_size
    for batch in file.iter_batches(batch_size=1, columns=[key]):
        first = batch.column(0)
        _refuse_null(path, key, first, 0)
        return len(first.flatten())
    return 0


def _filled(
    path: Path,
    file: Any,
    columns: list[str],
    key: str,
    shape: tuple[int, int],
    dtype: np.dtype,
) -> np.ndarray:
    check_memory(path, key, math.prod(shape) * dtype.itemsize)
    values = np.empty(shape, dtype)
    start = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
        stop = start + len(batch)
        if columns == [key]:
            values[start:stop] = _lists(path, key, batch.column(0), shape[1], start)
        else:
            for place, name in enumerate(columns):
                column = batch.column(batch.schema.get_field_index(name))
                _refuse_null(path, name, column, start)
                values[start:stop, place] = column.to_numpy(zero_copy_only=False)
        start = stop
    return values


def _lists(path: Path, key: str, column: Any, width: int, start: int) -> np.ndarray:
    _refuse_null(path, key, column, start)
    lengths = np.asarray(column.value_lengths()) if hasattr(column, "value_lengths") else None
    if lengths is not None and (lengths != width).any():
        row = int(np.flatnonzero(lengths != width)[0])
        raise ShapeError(
            f"row {start + row} of {key!r} in {str(path)!r} has {lengths[row]} numbers, and the "
            f"first row has {width}: every row needs one for each class"
        )
    flat = column.flatten()
    if flat.null_count:
        _refuse_null(path, key, flat, start, width)
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width)


def _refuse_null(path: Path, name: str, column: Any, start: int, width: int = 1) -> None:
    if column.null_count:
        absent = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        raise FileFormatError(
            f"row {start + absent[0] // width} of {name!r} in {str(path)!r} is null: "
            "leave the row out, or save a value"
        )


def _float(path: Path, name: str, kind: Any) -> np.dtype:
    try:
        dtype = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind != "f":
        raise DtypeError(
            f"{name!r} in {str(path)!r} holds {kind}: logits need a floating dtype, float16, "
            "float32 or float64"
        )
    return dtype


def _beside(path: Path, file: Any, key: str) -> dict[str, Stored]:
    """A column with an entry for each row, under its plural; nothing where there is none."""
    names = [name for name in (key, f"{key}s") if name in file.schema_arrow.names]
    if len(names) == 2:
        raise FileFormatError(f"{str(path)!r} has columns {key!r} and '{key}s': keep one of them")
    if not names:
        return {}
    check_memory(path, names[0], 8 * file.metadata.num_rows)
    column = file.read(columns=names).column(0)
    return {f"{key}s": of_array(_plain(path, names[0], column))}


def _plain(path: Path, name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    whole = column.combine_chunks()
    if pa.types.is_dictionary(whole.type):
        whole = whole.cast(whole.type.value_type)
    if name.rstrip("s") in ("label", "token") and pa.types.is_signed_integer(whole.type):
        whole = whole.fill_null(-1)
    _refuse_null(path, name, whole, 0)
    if pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type):
        longest = max((len(name) for name in whole.unique().to_pylist()), default=1) or 1
        if longest > LONGEST_NAME:
            raise FileFormatError(
                f"{name!r} in {str(path)!r} has an entry of {longest:,} characters: names "
                f"have at most {LONGEST_NAME:,}"
            )
        return np.array(whole.to_pylist(), dtype=f"U{longest}")
    try:
        return whole.to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise DtypeError(f"{name!r} in {str(path)!r} is {whole.type}") from error
