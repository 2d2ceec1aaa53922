"""The writing of a record: the plan first, then one file of positions after another.

The manifest is written before the model runs over the text and again after every file, each time
in one step. A recording that was killed leaves a manifest that names the files which are whole;
the same command checks those by their hashes and makes only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kullback.compare.record.contents import Content
from kullback.compare.record.files import intact, write_tensors
from kullback.compare.record.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from kullback.compare.record.text import shards_of
from kullback.compare.windows import Window, Windows, batches
from kullback.errors import FileFormatError, InputError

__all__ = ["Recording", "check_folder", "resumed", "write_shards"]


@dataclass(frozen=True)
class Recording:
    """What was recorded, and what it takes on disk."""

    folder: Path
    manifest: Manifest
    positions: int
    tokens: int
    reused: int
    """Positions that an earlier run of the same recording had left whole."""

    @property
    def bytes(self) -> int:
        """Of the files of positions, which grow with the text."""
        return sum(shard.stored.bytes for shard in self.manifest.shards.values())

    @property
    def bytes_once(self) -> int:
        """Of everything else: the head, the vocabulary and the tokens."""
        total = sum(path.stat().st_size for path in self.folder.iterdir())
        return total - self.bytes


def check_folder(folder: Path) -> None:
    """Raise `InputError` unless a record can be written here, or goes on here."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot record to {str(folder)!r}: it is a file; name a folder")
    if not (folder / MANIFEST).is_file() and folder.is_dir() and any(_foreign(folder)):
        raise InputError(
            f"cannot record to {str(folder)!r}: it holds other files and no record; name a folder "
            "that is empty or not there yet"
        )


def _foreign(folder: Path) -> list[Path]:
    # A recording that was killed before its manifest leaves these.
    mine = ("windows.safetensors", "vocabulary.json", "head.safetensors")
    names = {path: path.name.removesuffix(".partial") for path in folder.iterdir()}
    return [path for path, name in names.items() if name not in (*mine, MANIFEST)]


def resumed(folder: Path, manifest: Manifest, windows: Windows) -> Manifest:
    """`manifest` with the files of an earlier run that are whole; it has to be the same recording.

    Raises `InputError` naming what differs where the folder holds another recording.
    """
    if not (folder / MANIFEST).is_file():
        return manifest
    try:
        old = read_manifest(folder)
    except FileFormatError as error:
        raise InputError(
            f"cannot go on in {str(folder)!r}: {error}; remove it, or name another folder"
        ) from error
    ours, theirs = manifest.identity(), old.identity()
    different = [key for key in ours if ours[key] != theirs.get(key)]
    if different:
        first = different[0]
        raise InputError(
            f"{str(folder)!r} holds another recording: its {', '.join(different)} differ "
            f"({first}: {theirs.get(first)!r:.80} there, {ours[first]!r:.80} here); name another "
            "folder, or remove that one"
        )
    sizes = [_positions(items) for items in shards_of(windows, manifest.shard_windows)]
    whole = {
        index: shard
        for index, shard in old.shards.items()
        if index < len(sizes)
        and shard.stored.file == _name(index)
        and shard.positions == sizes[index]
        and intact(folder, shard.stored)
    }
    return replace(manifest, shards=whole)


def write_shards(
    folder: Path,
    manifest: Manifest,
    windows: Windows,
    content: Content,
    *,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Manifest:
    """Make the files of positions that `manifest` does not have yet; the manifest of all."""
    done = 0
    for index, items in enumerate(shards_of(windows, manifest.shard_windows)):
        if index not in manifest.shards:
            shard = _write_shard(folder, index, items, content, batch, done, windows, progress)
            manifest = replace(manifest, shards={**manifest.shards, index: shard})
            write_manifest(folder, manifest)
        done += _positions(items)
        if progress is not None:
            progress(done, windows.scored)
    for leftover in folder.glob("*.partial"):
        leftover.unlink()
    return manifest


def _write_shard(
    folder: Path,
    index: int,
    items: Sequence[Window],
    content: Content,
    batch: int,
    done: int,
    windows: Windows,
    progress: Callable[[int, int], None] | None,
) -> Shard:
    parts: list[tuple[int, dict[str, torch.Tensor]]] = []
    kls: list[torch.Tensor] = []
    for group in batches(items, batch):
        tensors, kl = content.keep(group)
        kls.append(kl)
        sizes = [window.scored for window in group]
        for i, window in enumerate(group):
            start = sum(sizes[:i])
            rows = slice(start, start + sizes[i])
            parts.append((window.offset, {name: t[rows] for name, t in tensors.items()}))
        done += sum(sizes)
        if progress is not None:
            progress(done, windows.scored)
    # Windows of one shape ran together; on disk they lie in the order of the text.
    parts.sort(key=lambda part: part[0])
    tensors = {name: torch.cat([part[name] for _, part in parts]) for name in parts[0][1]}
    stored = write_tensors(folder, _name(index), tensors)
    kl = torch.cat(kls)
    return Shard(index, _positions(items), stored, float(kl.sum()), float(kl.max()))


def _name(index: int) -> str:
    return f"positions-{index:05d}.safetensors"


def _positions(items: Sequence[Window]) -> int:
    return sum(window.scored for window in items)
