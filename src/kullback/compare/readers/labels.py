"""What stands beside the rows of a file: labels, groups, documents and the names of classes.

All of it is small, and all of it is checked: an entry for each row, labels among the classes,
names that are text. A wrong entry is refused with the row that it stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from kullback.compare.readers.array_files import LONGEST_NAME, Stored
from kullback.compare.slices import Slices
from kullback.errors import DtypeError, FileFormatError, ShapeError, VocabularyMismatch

__all__ = ["read_documents", "read_slices", "read_targets"]

_LAST_CODE_POINT = 0x10FFFF


def read_targets(
    path: Path, arrays: Mapping[str, Stored], leading: tuple[int, ...], classes: int
) -> np.ndarray | None:
    """The events that really came, −1 where unknown: `labels` of examples, or `tokens` of a text.

    int64, one for each row; None where the file has neither.
    """
    if "labels" in arrays and "tokens" in arrays:
        raise FileFormatError(
            f"{str(path)!r} holds 'labels' and 'tokens': keep 'labels' where its rows are examples "
            "of a classifier, 'tokens' where they are positions of a text"
        )
    key = "labels" if "labels" in arrays else "tokens"
    values = _per_row(path, key, arrays, leading)
    if values is None:
        return None
    if not np.issubdtype(values.dtype, np.integer):
        kind = "labels are the numbers of classes" if key == "labels" else "token ids are integers"
        raise DtypeError(f"{key!r} in {str(path)!r} is {values.dtype}: {kind}")
    if key == "labels":
        wrong = np.flatnonzero((values < -1) | (values >= classes))
        if len(wrong):
            raise VocabularyMismatch(
                f"row {wrong[0]} of {str(path)!r} has the label {values[wrong[0]]}, and its "
                f"logits are for {classes} classes: labels go from 0 to {classes - 1}, and −1 is "
                "for what is unknown"
            )
    return values.astype(np.int64)


def read_documents(
    path: Path, arrays: Mapping[str, Stored], leading: tuple[int, ...]
) -> np.ndarray | None:
    """The id of each row's document, None where the file has none."""
    return _per_row(path, "documents", arrays, leading)


def read_slices(
    path: Path, arrays: Mapping[str, Stored], leading: tuple[int, ...], classes: int
) -> Slices:
    """Whether the rows are examples of a classifier, with the names of classes and the groups."""
    class_names = _class_names(path, arrays, classes)
    ids, groups, names = _per_row(path, "groups", arrays, leading), None, ()
    if ids is not None:
        if ids.dtype.kind not in "iubUS":
            raise DtypeError(
                f"'groups' in {str(path)!r} is {ids.dtype}: a group is a name or a whole number"
            )
        found, first, groups = np.unique(ids, return_index=True, return_inverse=True)
        where = [f"row {row}" for row in first]
        names = _names(path, "groups", found, where)
    return Slices(
        examples="labels" in arrays or class_names is not None,
        class_names=class_names,
        groups=groups,
        group_names=names,
        independent=len(leading) == 1 and "documents" not in arrays,
    )


def _class_names(path: Path, arrays: Mapping[str, Stored], classes: int) -> tuple[str, ...] | None:
    if "class_names" not in arrays:
        return None
    stored = arrays["class_names"]
    if stored.shape != (classes,):
        raise ShapeError(
            f"'class_names' in {str(path)!r} has shape {list(stored.shape)}: it needs a name for "
            f"each of the {classes} classes"
        )
    values = _loaded(path, "class_names", stored)
    if values.dtype.kind not in "US":
        raise DtypeError(f"'class_names' in {str(path)!r} is {values.dtype}: names are strings")
    names = _names(path, "class_names", values, [f"class {i}" for i in range(classes)])
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if seen.setdefault(name, index) != index:
            raise FileFormatError(
                f"classes {seen[name]} and {index} of {str(path)!r} are both called {name!r}: give "
                "each a name of its own"
            )
    return names


def _names(path: Path, key: str, values: np.ndarray, where: list[str]) -> tuple[str, ...]:
    """`values` as text that can be written anywhere; `where` says the place of each."""
    names = []
    for value, place in zip(values.tolist(), where, strict=True):
        try:
            name = value.decode() if isinstance(value, bytes) else str(value)
            name.encode()
        except UnicodeError as error:
            raise FileFormatError(
                f"{place} of {key!r} in {str(path)!r} is {value!r}, which is no Unicode text"
            ) from error
        if not name:
            raise FileFormatError(
                f"{place} of {key!r} in {str(path)!r} is empty: give it a name, such as 'unknown'"
            )
        names.append(name)
    return tuple(names)


def _per_row(
    path: Path, key: str, arrays: Mapping[str, Stored], leading: tuple[int, ...]
) -> np.ndarray | None:
    if key not in arrays:
        return None
    stored = arrays[key]
    if stored.shape != leading:
        raise ShapeError(
            f"{key!r} in {str(path)!r} has shape {list(stored.shape)}: it needs one entry for "
            f"each position, {list(leading)}"
        )
    return _loaded(path, key, stored).reshape(-1)


def _loaded(path: Path, key: str, stored: Stored) -> np.ndarray:
    if stored.width > LONGEST_NAME * 4:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} takes {stored.width:,} bytes an entry: names have at most "
            f"{LONGEST_NAME:,} characters"
        )
    values = stored.load()[:]
    if isinstance(values, torch.Tensor):
        if values.is_floating_point() or values.is_complex():
            raise DtypeError(f"{key!r} in {str(path)!r} is {values.dtype}: save whole numbers")
        values = values.numpy()
    if values.dtype.kind == "U" and (values.view(np.uint32) > _LAST_CODE_POINT).any():
        raise FileFormatError(f"{key!r} in {str(path)!r} holds what is no Unicode text")
    return values
