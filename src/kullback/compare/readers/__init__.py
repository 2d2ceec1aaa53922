"""What can stand on either side of a comparison, and how a path is told to be one of them.

A source gives rows of logits for windows. A model makes them when asked, so any text will do;
what was saved on disk has them for its own windows only. Everything that tells one kind from
another happens here, at the door, and the pass over the positions sees sources alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from kullback.compare.windows import Window, Windows
from kullback.errors import FileFormatError, InputError

__all__ = ["Censoring", "Rows", "Source", "brings_tokens", "open_source"]


class Censoring(NamedTuple):
    """Events whose probabilities are known only to be small, and their mass together.

    `events` (bool [n, events]) marks them; their entries are upper bounds. The mass that they
    have together lies between `low` and `high`, float64 [n].
    """

    events: Tensor
    low: Tensor
    high: Tensor


class Rows(NamedTuple):
    """Logits of n positions, [n, events]; with `censoring`, log-probabilities taken as they are."""

    values: Tensor
    censoring: Censoring | None = None

    def part(self, which: slice) -> Rows:
        """Some of the rows."""
        censoring = self.censoring and Censoring(*(x[which] for x in self.censoring))
        return Rows(self.values[which], censoring)

    def to(self, device: torch.device) -> Rows:
        """The same rows on another device."""
        if self.values.device == device:
            return self
        censoring = self.censoring and Censoring(*(x.to(device) for x in self.censoring))
        return Rows(self.values.to(device), censoring)


class Source(Protocol):
    """One side of a comparison."""

    @property
    def name(self) -> str:
        """What messages call this source."""
        ...

    @property
    def events(self) -> int:
        """The width of a row."""
        ...

    @property
    def windows(self) -> Windows | None:
        """The windows that were saved, or None for a model, which takes any."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the numbers has to know about this side."""
        ...

    @property
    def tokenizer(self) -> Any | None:
        """The tokeniser of a model, None for what was saved."""
        ...

    def rows(self, windows: Sequence[Window]) -> Rows:
        """The rows of all scored positions of `windows`, one window after another."""
        ...

    def provenance(self) -> dict[str, Any]:
        """What this source is: its kind, name and hashes, JSON-ready."""
        ...


def open_source(
    thing: Any, *, tokenizer: Any = None, device: str | None = None, dtype: Any = None
) -> Source:
    """Open one side of a comparison.

    `thing` is a source already, a loaded model (with `tokenizer=`, or as a pair with its
    tokeniser), the path of a llama.cpp base-logits file, of saved arrays (`.safetensors`,
    `.npy`, `.npz`, `.parquet`), of a GGUF file or of a model's folder, or the name of a model on
    the Hugging Face hub. Raises `FileFormatError` for a file that is none of these.
    """
    if isinstance(thing, (str, Path)):
        return _open_path(thing, tokenizer, device, dtype)
    if hasattr(thing, "rows") and hasattr(thing, "provenance"):
        return thing
    from kullback.compare.readers import hugging_face

    if isinstance(thing, tuple) and len(thing) == 2:
        return hugging_face.from_loaded(thing[0], thing[1], device=device, dtype=dtype)
    if hasattr(thing, "forward") and hasattr(thing, "config"):
        return hugging_face.from_loaded(thing, tokenizer, device=device, dtype=dtype)
    raise InputError(
        f"cannot compare a {type(thing).__name__}: give a path, a model name, a loaded model "
        "with tokenizer=, or a (model, tokenizer) pair"
    )


def brings_tokens(thing: Any) -> bool:
    """Whether `thing` is what a model left on disk, which fixes the tokens; nothing is loaded.

    Raises `FileFormatError` for a file of no known kind.
    """
    if not isinstance(thing, (str, Path)):
        return getattr(thing, "windows", None) is not None
    path = Path(thing).expanduser()
    return _kind_of(path) != "gguf" if path.is_file() else _is_record(path)


def _open_path(name: str | Path, tokenizer: Any, device: str | None, dtype: Any) -> Source:
    path = Path(name).expanduser()
    if path.is_file() and (kind := _kind_of(path)) != "gguf":
        if kind == "llama_cpp":
            from kullback.compare.readers.llama_cpp import LlamaCppFile

            return LlamaCppFile.open(path)
        from kullback.compare.readers.arrays import SavedArrays

        return SavedArrays.open(path)
    if _is_record(path):
        from kullback.compare.readers.recorded import RecordedReference

        return RecordedReference.open(path, device)
    if not path.exists() and (isinstance(name, Path) or _looks_like_a_path(str(name))):
        raise FileFormatError(f"there is no file or folder {str(name)!r}")
    from kullback.compare.readers import hugging_face

    return hugging_face.load(name, tokenizer=tokenizer, device=device, dtype=dtype)


def _is_record(path: Path) -> bool:
    return (path / "manifest.json").is_file() and not (path / "config.json").exists()


def _kind_of(path: Path) -> str:
    with path.open("rb") as file:
        magic = file.read(8)
    if magic == b"_logits_":
        return "llama_cpp"
    if magic.startswith(b"GGUF"):
        return "gguf"
    if path.suffix in (".safetensors", ".npy", ".npz", ".parquet"):
        return "arrays"
    raise FileFormatError(
        f"{str(path)!r} is none of the kinds that can be compared (it begins with {magic!r}): a "
        "GGUF model, a llama.cpp base-logits file, or .safetensors, .npy, .npz, .parquet with "
        "logits"
    )


def _looks_like_a_path(name: str) -> bool:
    # Names on the hub have at most one slash and no leading dot, slash or tilde.
    known = (".gguf", ".jsonl", ".kld", ".npy", ".npz", ".parquet", ".safetensors")
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(known)
