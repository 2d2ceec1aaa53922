"""Files of a record: written whole or not at all, known by length and hash, never a path.

A file is written under a temporary name and renamed onto its own, so that a killed recording
leaves either the old file or the new one. What is read has a plain name inside the folder and is
no link, so that a folder from elsewhere cannot point at the reader's other files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from kullback.compare.provenance import file_hash
from kullback.errors import FileFormatError, MissingExtra

__all__ = [
    "Layout",
    "Stored",
    "checked",
    "intact",
    "open_any",
    "open_tensors",
    "write_tensors",
    "write_text",
]

_PLAIN = re.compile(r"[a-z][a-z0-9-]{0,40}\.(safetensors|json)")
_PARTIAL = ".partial"

Layout = Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]]
"""For every tensor of a file: the safetensors dtypes it may have, and its shape."""


class Stored(NamedTuple):
    """A file of the folder, and how to tell that it is whole."""

    file: str
    bytes: int
    sha256: str


def write_tensors(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> Stored:
    """Write `tensors` as the safetensors file `name` of `folder`, in one step."""
    save_file = _safetensors("torch").save_file
    partial = folder / (name + _PARTIAL)
    save_file({key: tensor.contiguous().cpu() for key, tensor in tensors.items()}, partial)
    return _finish(folder, name)


def write_text(folder: Path, name: str, text: str) -> Stored:
    """Write `text` as UTF-8 under `name` in `folder`, in one step."""
    (folder / (name + _PARTIAL)).write_text(text, encoding="utf-8", newline="\n")
    return _finish(folder, name)


def _finish(folder: Path, name: str) -> Stored:
    partial = folder / (name + _PARTIAL)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    found = Stored(name, partial.stat().st_size, file_hash(partial))
    partial.replace(folder / name)
    return found


def intact(folder: Path, stored: Stored) -> bool:
    """Whether the file is there with its length and its hash."""
    path = folder / stored.file
    return (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_size == stored.bytes
        and file_hash(path) == stored.sha256
    )


def checked(folder: Path, stored: Stored) -> Path:
    """The path of an intact file of `folder`; raises `FileFormatError` for any other."""
    if not _PLAIN.fullmatch(stored.file):
        raise FileFormatError(
            f"the record {str(folder)!r} names the file {stored.file!r}, which is no plain name "
            "inside the folder: nothing outside of it is read; record again"
        )
    path = folder / stored.file
    if path.is_symlink() or not path.is_file():
        what = "is a link" if path.is_symlink() else "is missing"
        raise FileFormatError(
            f"{str(path)!r} {what}: copy the folder whole, or run the same kullback record again"
        )
    if path.stat().st_size != stored.bytes:
        raise FileFormatError(
            f"{str(path)!r} has {path.stat().st_size:,} bytes and the manifest says "
            f"{stored.bytes:,}: run the same kullback record again, which redoes this file"
        )
    if file_hash(path) != stored.sha256:
        raise FileFormatError(
            f"{str(path)!r} is not the file that was recorded (its hash differs): run the same "
            "kullback record again, which redoes this file"
        )
    return path


def open_any(path: Path) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The mapped safetensors file, and the shape of each tensor in it.

    Raises `FileFormatError` for any other file: safetensors checks the header against the length.
    """
    safetensors = _safetensors()
    try:
        file = safetensors.safe_open(path, framework="pt")
    except (safetensors.SafetensorError, OSError) as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .safetensors file: {error}") from error
    return file, {name: tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}


def open_tensors(path: Path, layout: Layout) -> Any:
    """The mapped safetensors file, whose tensors are just those of `layout`.

    Raises `FileFormatError` before any tensor is read.
    """
    file, shapes = open_any(path)
    names = set(shapes)
    if names != set(layout):
        raise FileFormatError(
            f"{str(path)!r} holds {', '.join(sorted(names)) or 'nothing'} where a record has "
            f"{', '.join(sorted(layout))}: record again"
        )
    for name, (dtypes, shape) in layout.items():
        dtype = file.get_slice(name).get_dtype()
        if dtype not in dtypes or shapes[name] != shape:
            raise FileFormatError(
                f"{name!r} in {str(path)!r} is {dtype} {list(shapes[name])} where the manifest "
                f"asks for {' or '.join(dtypes)} {list(shape)}: record again"
            )
    return file


def _safetensors(part: str = "") -> Any:
    import importlib

    try:
        return importlib.import_module("safetensors" + (part and f".{part}"))
    except ImportError as error:
        raise MissingExtra("safetensors", "models") from error
