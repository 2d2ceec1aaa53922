"""A folder that `kullback record` wrote, as a side of a comparison: its tokens and its rows.

Hidden states lie on disk and are mapped as they are read; the head makes of them the logits that
the model made, so nothing but the head is in memory. A record of the largest probabilities gives
rows in which the rest is censored. Every file is checked by its hash before it is used.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kullback.compare.provenance import file_hash, vocabulary_hash
from kullback.compare.readers import Rows, Source
from kullback.compare.readers.dense_layers import OneDnnLinear
from kullback.compare.readers.hugging_face import beginning_of_sequence
from kullback.compare.readers.placement import pick_device
from kullback.compare.record.files import Layout, checked, open_tensors
from kullback.compare.record.head import Head
from kullback.compare.record.head_file import read_head
from kullback.compare.record.manifest import DTYPES, MANIFEST, Manifest, read_manifest
from kullback.compare.record.text import read_vocabulary, read_windows, shards_of
from kullback.compare.record.top_k import expand, layout
from kullback.compare.windows import Window, Windows
from kullback.errors import FileFormatError, TokenizerMismatch

__all__ = ["RecordedReference", "same_tokenizer"]

_OPEN_FILES = 64


@dataclass(frozen=True, eq=False)
class RecordedReference:
    """An opened record: tokens and head in memory, positions left on disk."""

    folder: Path
    manifest: Manifest
    windows: Windows
    head: Head | None
    """None where the largest probabilities were recorded."""
    device: torch.device
    starts: list[int]
    """The first position of each file, and the number of positions at the end."""
    notes: Sequence[str]
    tokenizer: None = None
    _files: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, device: str | None = None) -> RecordedReference:
        """Read everything but the positions; the head goes to `device`, the best for None.

        Raises `FileFormatError` for a record that is unfinished, damaged or impossible.
        """
        manifest = read_manifest(folder)
        windows = read_windows(folder, manifest)
        starts = _starts(folder, manifest, windows)
        place = pick_device(device)
        head = None
        if manifest.kind == "hidden":
            head = read_head(folder, manifest)
            head = head._replace(
                weight=head.weight.to(place),
                bias=None if head.bias is None else head.bias.to(place),
            )
        return cls(folder, manifest, windows, head, place, starts, _notes(folder, manifest))

    @property
    def name(self) -> str:
        """What messages call this source."""
        return str(self.folder)

    @property
    def events(self) -> int:
        """The width of a row."""
        return self.manifest.events

    @property
    def censored(self) -> bool:
        """Whether rows are known in part only."""
        return self.head is None

    def rows(self, windows: Sequence[Window]) -> Rows:
        """The rows of all scored positions of `windows`: logits in the dtype of the model.

        Raises `FileFormatError` where a file is not what was recorded.
        """
        parts = [self._read(window) for window in windows]
        kept = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if self.head is None:
            return expand(kept, self.events, f"window {windows[0].chunk} of {self.name!r}")
        with torch.no_grad(), OneDnnLinear():
            logits = self.head.logits(kept["hidden"].to(self.device))
        # The kernels keep normalisers in float64, which Apple's GPUs do not have.
        return Rows(logits.cpu() if self.device.type == "mps" else logits)

    def provenance(self) -> dict[str, Any]:
        """What was recorded of which model; the hash is the manifest's, which has all others."""
        kind = "hidden states" if self.head is not None else "largest probabilities"
        return {
            "kind": f"recorded {kind}",
            "name": self.name,
            "sha256": file_hash(self.folder / MANIFEST),
            "dtype": self.manifest.dtype,
            "rounding": self.manifest.rounding,
            "model": self.manifest.model,
        }

    def _read(self, window: Window) -> dict[str, Tensor]:
        """What is stored of a window, or of a part of one; neither crosses two files."""
        index = bisect.bisect_right(self.starts, window.offset) - 1
        start = window.offset - self.starts[index]
        file = self._open(index)
        return {
            name: file.get_slice(name)[start : start + window.scored]
            for name in self._layout(index)
        }

    def _open(self, index: int) -> Any:
        if index not in self._files:
            path = checked(self.folder, self.manifest.shards[index].stored)
            if len(self._files) >= _OPEN_FILES:
                self._files.clear()
            self._files[index] = open_tensors(path, self._layout(index))
        return self._files[index]

    def _layout(self, index: int) -> Layout:
        manifest, positions = self.manifest, self.manifest.shards[index].positions
        if manifest.kind == "top-k":
            return layout(positions, manifest.width, manifest.events)
        return {"hidden": ((DTYPES[manifest.dtype],), (positions, manifest.width))}


def same_tokenizer(record: RecordedReference, other: Source) -> bool | None:
    """Whether the other side's tokeniser is the one that cut the record's text.

    True where vocabularies are the same by their hash; False where the one has tokens that the
    other lacks and all that both have agree, as with padded ones; None where `other` does not
    say. Raises `TokenizerMismatch` naming the first token that differs, or where the two begin
    a text differently.
    """
    if isinstance(other, RecordedReference):
        theirs_hash, bos = other.manifest.tokenizer, other.manifest.bos
    elif other.tokenizer is not None:
        theirs_hash = vocabulary_hash(other.tokenizer.get_vocab())
        bos = beginning_of_sequence(other.tokenizer)
    else:
        return None
    if theirs_hash != record.manifest.tokenizer:
        _check_shared(record, other)
    if bos != record.manifest.bos:
        raise TokenizerMismatch(
            f"the tokenisers begin a text differently: that of the record {record.name!r} with "
            f"{record.manifest.bos}, that of {other.name!r} with {bos} (None is no token)"
        )
    return theirs_hash == record.manifest.tokenizer


def _check_shared(record: RecordedReference, other: Source) -> None:
    ours = read_vocabulary(record.folder, record.manifest)
    if isinstance(other, RecordedReference):
        theirs = read_vocabulary(other.folder, other.manifest)
    else:
        assert other.tokenizer is not None
        theirs = {i: token for token, i in other.tokenizer.get_vocab().items()}
    different = [i for i in sorted(ours.keys() & theirs.keys()) if ours[i] != theirs[i]]
    if different or not ours.keys() & theirs.keys():
        first = different[0] if different else min(ours)
        raise TokenizerMismatch(
            f"the tokenisers differ in {len(different)} of {len(ours)} tokens: id {first} is "
            f"{ours[first]!r} in the record {record.name!r} and {theirs.get(first)!r} in "
            f"{other.name!r}; record the reference with a model that shares its tokeniser"
        )


def _starts(folder: Path, manifest: Manifest, windows: Windows) -> list[int]:
    """The first position of each file; raises `FileFormatError` unless all are there."""
    groups = shards_of(windows, manifest.shard_windows)
    missing = [index for index in range(len(groups)) if index not in manifest.shards]
    if missing:
        raise FileFormatError(
            f"the record {str(folder)!r} is unfinished: {len(groups) - len(missing)} of "
            f"{len(groups)} files are written; run the same kullback record again to finish it"
        )
    sizes = [sum(window.scored for window in group) for group in groups]
    for index, size in enumerate(sizes):
        if manifest.shards[index].positions != size:
            raise FileFormatError(
                f"file {index} of the record {str(folder)!r} has "
                f"{manifest.shards[index].positions} positions and its windows {size}: the "
                "manifest is damaged; record again"
            )
    return [0, *itertools.accumulate(sizes)]


def _notes(folder: Path, manifest: Manifest) -> list[str]:
    rounding = manifest.rounding
    if rounding is None:
        return []
    return [
        f"the record {folder.name} keeps hidden states in {manifest.dtype} where the model had "
        f"{manifest.model_dtype}: KL(exact‖recorded) is {rounding['kl_mean']:.2g} nats on "
        f"average, at most {rounding['kl_max']:.2g}"
    ]
