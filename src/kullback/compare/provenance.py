"""What a comparison was made of, so that its numbers can be made again: hashes and versions.

Every hash is SHA-256 in hexadecimal. Of files it is taken over the bytes; of a model in memory
over its parameters by name; of a tokeniser over its vocabulary; of a text over its tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kullback.compare.windows import Windows

__all__ = [
    "file_hash",
    "folder_hash",
    "folder_size",
    "state_hash",
    "token_stream_hash",
    "versions",
    "vocabulary_hash",
]

_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")


def file_hash(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """The hash of a model's folder: its configuration and weights, by name."""
    digest = hashlib.sha256()
    for path in sorted(_model_files(folder)):
        digest.update(f"{path.name} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def folder_size(folder: Path) -> int:
    """The bytes of a model's configuration and weights."""
    return sum(path.stat().st_size for path in _model_files(folder))


def _model_files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix in _WEIGHTS or p.name == "config.json"]


def state_hash(state: Mapping[str, Tensor]) -> str:
    """The hash of a model in memory: every tensor's name, dtype, shape and bytes.

    >>> import torch
    >>> state_hash({"w": torch.zeros(2)}) == state_hash({"w": torch.zeros(2)})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def vocabulary_hash(vocabulary: Mapping[str, int]) -> str:
    """The hash of a tokeniser's vocabulary, from token to id."""
    ordered = sorted(vocabulary.items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(ordered, ensure_ascii=True).encode()).hexdigest()


def token_stream_hash(windows: Windows) -> str:
    """The hash of what was read: each window's tokens, or its targets where it has no more."""
    digest = hashlib.sha256()
    for window in windows.items:
        tokens = window.tokens if len(window.tokens) else window.targets
        digest.update(np.array([window.chunk, len(tokens)], dtype="<i8").tobytes())
        digest.update(tokens.astype("<i8").tobytes())
    return digest.hexdigest()


def versions(packages: Iterable[str]) -> dict[str, Any]:
    """The versions of Python, of this package and of `packages`, None where not installed."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {"python": platform.python_version()}
    for package in ("kullback", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
