"""Logits or log-probabilities that somebody saved: `.safetensors`, `.npy`, `.npz` or `.parquet`.

A file holds `logits` or `log_probs` of shape [positions, vocabulary] or [chunks, positions,
vocabulary]; beside it may stand `tokens` (the token that really came next at each position,
−1 where unknown), `documents` (an id for each position) and `groups` (the slice it belongs to).
The rows of a classifier are [examples, classes], with `labels` in place of `tokens` and perhaps
`class_names`. A `.npy` file holds logits alone. Rows are read as they are asked for: `.npy` and
`.safetensors` are mapped, `.npz` and `.parquet` are loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kullback.compare.provenance import file_hash
from kullback.compare.readers import Rows
from kullback.compare.readers.array_files import opened_arrays
from kullback.compare.readers.labels import read_documents, read_slices, read_targets
from kullback.compare.slices import RUNS_ARE_CHUNKS, Slices
from kullback.compare.windows import Window, Windows
from kullback.errors import DtypeError, FileFormatError, ShapeError, SpaceError

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
    slices: Slices
    notes: Sequence[str] = ()
    tokenizer: None = None

    @classmethod
    def open(cls, path: Path) -> SavedArrays:
        """Read names, shapes, tokens and documents.

        Raises `FileFormatError`, `ShapeError`, `DtypeError`, `SpaceError` or
        `VocabularyMismatch` for a file that does not hold what the module says.
        """
        arrays = _opened(path)
        keys = [key for key in ("logits", "log_probs") if key in arrays]
        if len(keys) != 1:
            raise FileFormatError(
                f"{str(path)!r} holds {', '.join(sorted(arrays)) or 'nothing'}: it needs either "
                "'logits' or 'log_probs' (for a model's weights, give its folder)"
            )
        shape = arrays[keys[0]].shape
        if len(shape) not in (2, 3) or 0 in shape:
            raise ShapeError(
                f"{keys[0]!r} in {str(path)!r} has shape {list(shape)}: it needs [positions, "
                "vocabulary] or [chunks, positions, vocabulary], none of them empty"
            )
        leading, classes = shape[:-1], shape[-1]
        targets = read_targets(path, arrays, leading, classes)
        slices = read_slices(path, arrays, leading, classes)
        windows = _windows(path, targets, read_documents(path, arrays, leading), shape)
        found = cls(path, keys[0], arrays[keys[0]].load(), shape, windows, slices)
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
            self._check_normalized(values, windows)
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

    def _check_normalized(self, values: Tensor, windows: Sequence[Window]) -> None:
        # Rounding log p to a relative eps moves log Σp by at most eps·H, and H ≤ log V.
        tolerance = max(1e-3, torch.finfo(values.dtype).eps * math.log(self.events))
        total = values.float().logsumexp(-1)
        bad = (total.abs() > tolerance).nonzero()
        if len(bad):
            row = int(bad[0, 0])
            place = np.concatenate([w.offset + np.arange(w.scored) for w in windows])[row]
            raise SpaceError(
                f"row {place} of 'log_probs' in {self.name!r} adds up to "
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


def _opened(path: Path) -> Any:
    if path.suffix == ".parquet":
        from kullback.compare.readers.parquet import opened_table

        return opened_table(path)
    return opened_arrays(path)


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


def _windows(
    path: Path, targets: np.ndarray | None, ids: np.ndarray | None, shape: tuple[int, ...]
) -> Windows:
    """Blocks of rows that neither cross a chunk nor a document."""
    positions = math.prod(shape[:-1])
    if targets is None:
        targets = np.full(positions, -1)
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
        notes.append(f"no document ids in {path.name}: runs of {_BLOCK} {RUNS_ARE_CHUNKS}")
    return Windows(items, [str(name) for name in names], notes, known_documents=ids is not None)


_NO_TOKENS = np.empty(0, dtype=np.int64)
