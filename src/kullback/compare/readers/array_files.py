"""Named arrays in a file: `.npy`, `.npz` or `.safetensors`, opened without reading them.

What an array claims to be stands in a header, which costs nothing to write. It is held against
the bytes that are there before memory is taken for it. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from kullback.errors import FileFormatError, MissingExtra

__all__ = ["LONGEST_NAME", "Stored", "check_memory", "of_array", "opened_arrays", "told_names"]

LONGEST_NAME = 1024
"""Characters of a name: what is wider is no name, and would take memory in every row."""


@dataclass(frozen=True)
class Stored:
    """An array that is not read yet: its shape, the bytes of an entry, and how to get at it.

    `load` gives something to slice; `[:]` of it is a NumPy array or a tensor.
    """

    shape: tuple[int, ...]
    width: int
    load: Callable[[], Any]


def opened_arrays(path: Path) -> Mapping[str, Stored]:
    """The arrays of `path` by name.

    Raises `FileFormatError` for a file that is torn, or claims more than it holds.
    """
    return {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}[path.suffix](path)


def of_array(values: np.ndarray) -> Stored:
    """An array that is in memory already."""
    return Stored(values.shape, values.dtype.itemsize, lambda: values)


def check_memory(path: Path, key: str, claimed: int) -> None:
    """Raise `FileFormatError` where `key` would unfold to more bytes than this machine has."""
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if claimed > there:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} unfolds to {claimed / 1e9:,.0f} GB, and this machine has "
            f"{there / 1e9:,.0f} GB: save it as .safetensors, which is read piece by piece"
        )


def told_names(path: Path, key: str, text: str) -> Stored:
    """Names that a file's metadata gives as a JSON list of strings."""
    try:
        names = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"{key!r} in {str(path)!r} is no JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileFormatError(f"{key!r} in {str(path)!r} is not a JSON list of strings")
    return of_array(np.array(names, dtype=np.str_))


def _npy(path: Path) -> Mapping[str, Stored]:
    try:
        return {"logits": of_array(np.lib.format.open_memmap(path, mode="r"))}
    except (ValueError, EOFError) as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .npy file: {error}") from error


def _npz(path: Path) -> Mapping[str, Stored]:
    if not zipfile.is_zipfile(path):
        raise FileFormatError(
            f"{str(path)!r} is not a whole .npz file: it is no archive, or its end is missing"
        )
    with _numbers_only(path), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {
            info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members
        }


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    with archive.open(info) as file:
        shape, dtype = _header(file)
        claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
    name = info.filename.removesuffix(".npy")
    if not dtype.hasobject and claimed != there:
        raise FileFormatError(
            f"{name!r} in {str(path)!r} claims {claimed:,} bytes and has {there:,}: the file is "
            "damaged"
        )

    def load() -> np.ndarray:
        check_memory(path, name, claimed)
        with _numbers_only(path), np.load(path, allow_pickle=False) as arrays:
            return arrays[name]

    return Stored(shape, dtype.itemsize, load)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} is for arrays of records")
    shape, _, dtype = read(file)
    return shape, dtype


@contextmanager
def _numbers_only(path: Path) -> Iterator[None]:
    """What goes wrong inside is the file's fault, and is said without talk of pickles."""
    try:
        yield
    except FileFormatError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(
            f"{str(path)!r} is not a whole .npz file of numbers: an array in it is damaged, or "
            "holds Python objects"
        ) from error


def _safetensors(path: Path) -> Mapping[str, Stored]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("safetensors", "models") from error
    try:
        file = safe_open(path, framework="pt")
        found = {key: _tensor(file, key) for key in file.keys()}  # noqa: SIM118
        told = file.metadata() or {}
    except SafetensorError as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .safetensors file: {error}") from error
    if "class_names" in told:
        found["class_names"] = told_names(path, "class_names", told["class_names"])
    return found


def _tensor(file: Any, key: str) -> Stored:
    # The library has held the header against the length of the file.
    part = file.get_slice(key)
    return Stored(tuple(part.get_shape()), torch.float64.itemsize, lambda: part)
