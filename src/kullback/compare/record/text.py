"""The windows of a record and the vocabulary that they are written in, to disk and back.

Windows are stored as one run of tokens, the length of each window and its document: the rest
(targets, places, offsets) follows from the warmup, or for conversations from where each turn
begins, so that it cannot contradict the tokens.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from kullback.compare.provenance import token_stream_hash
from kullback.compare.record.files import (
    Stored,
    checked,
    open_any,
    open_tensors,
    write_tensors,
    write_text,
)
from kullback.compare.record.manifest import Manifest
from kullback.compare.windows import Window, Windows
from kullback.errors import FileFormatError

__all__ = ["read_vocabulary", "read_windows", "shards_of", "write_vocabulary", "write_windows"]

WINDOWS = "windows.safetensors"
VOCABULARY = "vocabulary.json"
_INTEGERS = ("I64", "I32")


def write_windows(folder: Path, windows: Windows) -> Stored:
    """Write the tokens of `windows`, how long each is, and which document it belongs to.

    Where no warmup says it for all of them, also at which token of each the positions begin.
    """
    tokens = np.concatenate([window.tokens for window in windows.items]).astype(np.int32)
    lengths = np.array([len(window.tokens) for window in windows.items], dtype=np.int64)
    documents = np.array([window.document for window in windows.items], dtype=np.int64)
    arrays = {"tokens": tokens, "lengths": lengths, "documents": documents}
    if windows.warmup is None:
        arrays["starts"] = np.array([w.first_position for w in windows.items], dtype=np.int64)
    return write_tensors(
        folder, WINDOWS, {key: torch.from_numpy(value) for key, value in arrays.items()}
    )


def read_windows(folder: Path, manifest: Manifest) -> Windows:
    """The windows of a record; raises `FileFormatError` where they contradict each other."""
    path = checked(folder, manifest.windows)
    tokens, lengths, documents, starts = _arrays(path, manifest.warmup)
    if not len(lengths) or lengths.max() > manifest.context or (lengths <= starts).any():
        needed = starts.min(initial=0) + 1
        raise FileFormatError(
            f"{str(path)!r} has windows of {lengths.min(initial=0)} to {lengths.max(initial=0)} "
            f"tokens, where they need {needed} to {manifest.context}: record again"
        )
    if starts.min() < 1:
        raise FileFormatError(
            f"{str(path)!r} has a turn that begins at token {starts.min()}, before which nothing "
            "was read: record again"
        )
    # Python's integers: a sum of hostile lengths would wrap around in 64 bits.
    if sum(lengths.tolist()) != len(tokens):
        raise FileFormatError(
            f"the windows of {str(path)!r} are {sum(lengths.tolist())} tokens long, and there are "
            f"{len(tokens)}: record again"
        )
    for name, values, end in (
        ("token", tokens, manifest.events),
        ("document", documents, len(manifest.documents)),
    ):
        if values.min() < 0 or values.max() >= end:
            raise FileFormatError(
                f"{str(path)!r} has the {name} {values.min() if values.min() < 0 else values.max()}"
                f", and there are {end}: record again"
            )
    edges = [0, *itertools.accumulate(lengths.tolist())]
    items: list[Window] = []
    offset = 0
    for chunk, (start, stop) in enumerate(itertools.pairwise(edges)):
        ids, first = tokens[start:stop], int(starts[chunk])
        items.append(Window(chunk, int(documents[chunk]), ids, ids[first:], first, offset))
        offset += len(ids) - first
    windows = Windows(
        items,
        manifest.documents,
        list(manifest.notes),
        context=manifest.context,
        warmup=manifest.warmup,
        known_documents=manifest.known_documents,
    )
    if token_stream_hash(windows) != manifest.token_stream:
        raise FileFormatError(
            f"the tokens of {str(path)!r} are not those that the manifest names: record again"
        )
    return windows


def _arrays(
    path: Path, warmup: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, and for each window its length, its document and the first token that counts."""
    shapes = open_any(path)[1]
    names = ("tokens", "lengths", "documents", *["starts"] * (warmup is None))
    lengths = {name: shapes.get(name, ()) for name in names}
    if any(len(shape) != 1 for shape in lengths.values()):
        raise FileFormatError(f"{str(path)!r} does not hold lists of windows: record again")
    count = lengths["lengths"]
    shape_of = {name: lengths[name] if name == "tokens" else count for name in names}
    file = open_tensors(path, {name: (_INTEGERS, shape) for name, shape in shape_of.items()})
    arrays = [file.get_tensor(name).numpy().astype(np.int64) for name in shape_of]
    if warmup is not None:
        arrays.append(np.full(len(arrays[1]), warmup + 1))
    return arrays[0], arrays[1], arrays[2], arrays[3]


def shards_of(windows: Windows, size: int) -> list[list[Window]]:
    """The windows in groups of `size`, each of which is a file of positions."""
    return [windows.items[i : i + size] for i in range(0, len(windows.items), size)]


def write_vocabulary(folder: Path, vocabulary: Mapping[str, int]) -> Stored:
    """Write the vocabulary such that the hash of the file is `provenance.vocabulary_hash`."""
    return write_text(folder, VOCABULARY, json.dumps(_ordered(vocabulary), ensure_ascii=True))


def _ordered(vocabulary: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    return sorted(vocabulary.items(), key=lambda item: (item[1], item[0]))


def read_vocabulary(folder: Path, manifest: Manifest) -> dict[int, str]:
    """The tokens of a record by id; raises `FileFormatError` for anything else."""
    path = checked(folder, manifest.vocabulary)
    if manifest.vocabulary.sha256 != manifest.tokenizer:
        raise FileFormatError(f"{str(path)!r} is not the vocabulary of the tokens: record again")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {int(i): str(token) for token, i in data}
    except (ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} holds no vocabulary: {error}") from error
