"""Logits or log-probabilities that somebody saved: `.safetensors`, `.npy` or `.npz`.

A file holds `logits` or `log_probs` of shape [positions, vocabulary] or [chunks, positions,
vocabulary]; beside it may stand `tokens` (the token that really came next at each position,
−1 where unknown) and `documents` (an id for each position). A `.npy` file holds logits alone.
Rows are read as they are asked for: `.npy` and `.safetensors` are mapped, `.npz` is loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kullback.compare.provenance import file_hash
from kullback.compare.readers import Rows
from kullback.compare.windows import Window, Windows
from kullback.errors import DtypeError, FileFormatError, MissingExtra, ShapeError, SpaceError

__all__ = ["SavedArrays"]

# Rows read at once, and the length of the runs that stand for chunks where a file has none.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class SavedArrays:
    """An opened file: rows stay on disk, tokens and document ids are in memory."""

    path: Path
    key: str
    """"logits" or "log_probs"."""
    stored: Any
    """Array-like [positions, events] or [chunks, positions, events], sliced as it is read."""
    shape: tuple[int, ...]
    windows: Windows
    notes: Sequence[str] = ()
    tokenizer: None = None

    @classmethod
    def open(cls, path: Path) -> SavedArrays:
        """Read names, shapes, tokens and documents.

        Raises `FileFormatError`, `ShapeError`, `DtypeError` or `SpaceError` for a file that
        does not hold what the module says.
        """
        arrays = _READERS[path.suffix](path)
        keys = [key for key in ("logits", "log_probs") if key in arrays]
        if len(keys) != 1:
            raise FileFormatError(
                f"{str(path)!r} holds {', '.join(sorted(arrays)) or 'nothing'}: it needs either "
                "'logits' or 'log_probs' (for a model's weights, give its folder)"
            )
        stored = arrays[keys[0]]
        shape = tuple(stored.shape if hasattr(stored, "shape") else stored.get_shape())
        if len(shape) not in (2, 3) or 0 in shape:
            raise ShapeError(
                f"{keys[0]!r} in {str(path)!r} has shape {list(shape)}: it needs [positions, "
                "vocabulary] or [chunks, positions, vocabulary], none of them empty"
            )
        windows = _windows(path, arrays, shape)
        found = cls(path, keys[0], stored, shape, windows)
        found._check_space()
        return found

    @property
    def name(self) -> str:
        """What messages call this source."""
        return str(self.path)

    @property
    def events(self) -> int:
        """The width of a row."""
        return self.shape[-1]

    def rows(self, windows: Sequence[Window]) -> Rows:
        """The stored rows of `windows`; log-probabilities are checked to add up to one."""
        values = torch.cat([self._read(w.offset, w.offset + w.scored) for w in windows])
        if self.key == "log_probs":
            self._check_normalized(values, windows[0].offset)
        return Rows(values)

    def provenance(self) -> dict[str, Any]:
        """Where the numbers came from: the file, its hash, and what it holds."""
        kind = f"saved {self.key.replace('_', '-')}"
        return {"kind": kind, "name": self.name, "sha256": file_hash(self.path)}

    def _read(self, start: int, stop: int) -> Tensor:
        if len(self.shape) == 2:
            return _tensor(self.stored[start:stop], self.path)
        parts = []
        while start < stop:
            chunk, first = divmod(start, self.shape[1])
            last = min(first + stop - start, self.shape[1])
            parts.append(_tensor(self.stored[chunk, first:last], self.path))
            start += last - first
        return torch.cat(parts)

    def _check_normalized(self, values: Tensor, offset: int) -> None:
        # Rounding log p to a relative eps moves log Σp by at most eps·H, and H ≤ log V.
        tolerance = max(1e-3, torch.finfo(values.dtype).eps * math.log(self.events))
        total = values.float().logsumexp(-1)
        bad = (total.abs() > tolerance).nonzero()
        if len(bad):
            row = int(bad[0, 0])
            raise SpaceError(
                f"row {offset + row} of 'log_probs' in {self.name!r} adds up to "
                f"{math.exp(float(total[row])):.6g} instead of 1: save unnormalised rows as "
                "'logits', and whole rows rather than the top few"
            )

    def _check_space(self) -> None:
        values = self._read(0, min(8, math.prod(self.shape[:-1]))).float()
        if self.key == "logits" and bool((values >= 0).all()):
            total = values.sum(-1)
            if torch.allclose(total, torch.ones_like(total), atol=1e-2):
                raise SpaceError(
                    f"the rows of {self.name!r} are all ≥ 0 and add up to 1: they look like "
                    "probabilities; save their logarithms, as 'log_probs'"
                )


def _npy(path: Path) -> Mapping[str, Any]:
    try:
        return {"logits": np.lib.format.open_memmap(path, mode="r")}
    except (ValueError, EOFError) as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .npy file: {error}") from error


def _npz(path: Path) -> Mapping[str, Any]:
    import zipfile
    import zlib

    if not zipfile.is_zipfile(path):
        raise FileFormatError(
            f"{str(path)!r} is not a whole .npz file: it is no archive, or its end is missing"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(
            f"{str(path)!r} is not a whole .npz file of numbers: an array in it is damaged, or "
            "holds Python objects"
        ) from error


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("safetensors", "models") from error
    try:
        file = safe_open(path, framework="pt")
        names = list(file.keys())
        small = {
            key: file.get_tensor(key).numpy() for key in ("tokens", "documents") if key in names
        }
        return {key: file.get_slice(key) for key in names} | small
    except SafetensorError as error:
        raise FileFormatError(f"{str(path)!r} is not a whole .safetensors file: {error}") from error


_READERS = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}


def _tensor(values: Any, path: Path) -> Tensor:
    advice = "logits need a floating dtype: float16, float32, float64, or bfloat16 in safetensors"
    if not isinstance(values, Tensor):
        try:
            # A copy: a mapped array is read-only, and torch wants to own what it can write to
            # and to have its bytes in the order of this machine.
            values = torch.from_numpy(np.array(values, values.dtype.newbyteorder("=")))
        except TypeError as error:
            raise DtypeError(f"{str(path)!r} holds {values.dtype}: {advice}") from error
    if not values.is_floating_point():
        raise DtypeError(f"{str(path)!r} holds {values.dtype}: {advice}")
    return values


def _windows(path: Path, arrays: Mapping[str, Any], shape: tuple[int, ...]) -> Windows:
    """Blocks of rows that neither cross a chunk nor a document."""
    leading = shape[:-1]
    positions = math.prod(leading)
    tokens = _per_position(path, "tokens", arrays.get("tokens"), leading)
    ids = _per_position(path, "documents", arrays.get("documents"), leading)
    targets = np.full(positions, -1) if tokens is None else tokens.astype(np.int64)
    names, document = np.array([path.name]), np.zeros(positions, dtype=np.int64)
    if ids is not None:
        names, document = np.unique(ids, return_inverse=True)
    changes = np.flatnonzero(np.diff(document)) + 1
    length = shape[1] if len(shape) == 3 else positions
    edges = np.unique(np.concatenate([changes, np.arange(0, positions + 1, length)]))
    items: list[Window] = []
    for run, (start, stop) in enumerate(itertools.pairwise(edges)):
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            chunk = run if len(shape) == 3 else len(items)
            place = first - start
            items.append(
                Window(chunk, int(document[first]), _NO_TOKENS, targets[first:last], place, first)
            )
    notes = []
    if ids is None and len(shape) == 2:
        notes.append(f"no document ids in {path.name}: runs of {_BLOCK} rows stand for chunks")
    return Windows(items, [str(name) for name in names], notes, known_documents=ids is not None)


_NO_TOKENS = np.empty(0, dtype=np.int64)


def _per_position(
    path: Path, key: str, values: np.ndarray | None, leading: tuple[int, ...]
) -> np.ndarray | None:
    if values is None:
        return None
    if values.shape != leading:
        raise ShapeError(
            f"{key!r} in {str(path)!r} has shape {list(values.shape)}: it needs one entry for "
            f"each position, {list(leading)}"
        )
    if key == "tokens" and not np.issubdtype(values.dtype, np.integer):
        raise DtypeError(f"'tokens' in {str(path)!r} is {values.dtype}: token ids are integers")
    return values.reshape(-1)
