"""What a record says about itself: `manifest.json`, and every value checked on the way in.

A manifest may come from a stranger. What it claims is bounded and compared with the files
before memory is taken for it, and a file that it names is a plain name, see `files`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kullback.compare.record.fields import Fields
from kullback.compare.record.files import Stored, write_text
from kullback.errors import FileFormatError

__all__ = [
    "DTYPES",
    "MANIFEST",
    "Manifest",
    "Shard",
    "is_record",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
FORMAT = "kullback record"
VERSION = 1
_LARGEST_MANIFEST = 1 << 28
_LARGEST_VOCABULARY = 1 << 22
_LARGEST_WIDTH = 1 << 20
DTYPES = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""The dtypes of a record, and what safetensors calls them."""


@dataclass(frozen=True)
class Shard:
    """One file of positions, and the sum and maximum of what rounding cost there."""

    index: int
    positions: int
    stored: Stored
    kl_sum: float = 0.0
    kl_max: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """Everything about a record but its numbers."""

    kind: str
    """"hidden": states that the head reads; "top-k": the largest log-probabilities."""
    width: int
    """Numbers a position: the hidden size, or k."""
    events: int
    dtype: str
    """Of what is stored."""
    model_dtype: str
    """Of the arithmetic of the model, and of its head."""
    model: dict[str, Any]
    """Provenance of the model."""
    tokenizer: str
    """Hash of the vocabulary; that of `vocabulary.json` too."""
    bos: int | None
    token_stream: str
    context: int
    warmup: int | None
    """None for turns of conversations, each of which begins where `windows` says."""
    known_documents: bool
    """False where files were run together as llama.cpp does."""
    documents: list[str]
    notes: list[str]
    shard_windows: int
    windows: Stored
    vocabulary: Stored
    head: dict[str, Any] | None
    """Where the head is, and what the model does after it; None for "top-k"."""
    shards: dict[int, Shard] = field(default_factory=dict)

    @property
    def lossy(self) -> bool:
        """Whether hidden states were rounded to be stored."""
        return self.kind == "hidden" and self.dtype != self.model_dtype

    @property
    def rounding(self) -> dict[str, float] | None:
        """Mean and maximum of KL(exact‖stored) over the recorded positions, where it is lossy."""
        if not self.lossy or not self.shards:
            return None
        shards = self.shards.values()
        total = sum(shard.kl_sum for shard in shards)
        mean = total / sum(shard.positions for shard in shards)
        return {"kl_mean": mean, "kl_max": max(shard.kl_max for shard in shards)}

    def identity(self) -> dict[str, Any]:
        """What has to agree for a recording to go on where another stopped."""
        found = _to_json(self)
        for name in ("shards", "rounding", "notes", "windows", "vocabulary"):
            del found[name]
        # Where the files of the head are may change; what they are follows from the model.
        head = self.head or {}
        found["head"] = {key: head.get(key) for key in ("where", "bias", "after")}
        # Another device, or another name of the same weights, gives the same record.
        found["model"] = {key: self.model.get(key) for key in ("kind", "sha256", "dtype")}
        return found


def is_record(folder: Path) -> bool:
    """Whether a folder is a record: it has a manifest, and is no model."""
    return (folder / MANIFEST).is_file() and not (folder / "config.json").exists()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest in one step, over an older one."""
    # In ASCII, since the name of a file need not be valid Unicode.
    text = json.dumps(_to_json(manifest), indent=1, ensure_ascii=True, allow_nan=False)
    write_text(folder, MANIFEST, text + "\n")


def _to_json(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    found |= {key: value for key, value in asdict(manifest).items() if key != "shards"}
    for name in ("windows", "vocabulary"):
        found[name] = getattr(manifest, name)._asdict()
    found["rounding"] = manifest.rounding
    found["shards"] = [
        {
            "index": shard.index,
            "positions": shard.positions,
            **shard.stored._asdict(),
            "kl_sum": shard.kl_sum,
            "kl_max": shard.kl_max,
        }
        for _, shard in sorted(manifest.shards.items())
    ]
    return found


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a record; raises `FileFormatError` where a value cannot be."""
    path = folder / MANIFEST
    if path.is_symlink() or path.stat().st_size > _LARGEST_MANIFEST:
        raise FileFormatError(f"{str(path)!r} is a link or far too long: it is no record")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} is not whole JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FileFormatError(
            f"{str(path)!r} is not of a record: kullback record writes one, and a model's folder "
            "has a config.json"
        )
    if data.get("version") != VERSION:
        raise FileFormatError(
            f"{str(path)!r} is version {data.get('version')!r} of the format and this is "
            f"{VERSION}: record again, or use the version of kullback that wrote it"
        )
    return _from_json(Fields(data, str(path)))


def _from_json(fields: Fields) -> Manifest:
    kind = fields.one_of("kind", ("hidden", "top-k"))
    context = fields.integer("context", 2, 1 << 31)
    bos, warmup = fields.data.get("bos"), fields.data.get("warmup", -1)
    events = fields.integer("events", 2, _LARGEST_VOCABULARY)
    return Manifest(
        kind=kind,
        width=fields.integer("width", 1, _LARGEST_WIDTH),
        events=events,
        dtype=fields.one_of("dtype", tuple(DTYPES)),
        model_dtype=fields.one_of("model_dtype", tuple(DTYPES)),
        model=fields.object("model").data,
        tokenizer=fields.text("tokenizer"),
        bos=None if bos is None else fields.integer("bos", 0, events - 1),
        token_stream=fields.text("token_stream"),
        context=context,
        warmup=None if warmup is None else fields.integer("warmup", 0, context - 2),
        known_documents=fields.one_of("known_documents", (True, False)),
        documents=fields.texts("documents"),
        notes=fields.texts("notes"),
        shard_windows=fields.integer("shard_windows", 1, 1 << 31),
        windows=fields.object("windows").stored(),
        vocabulary=fields.object("vocabulary").stored(),
        head=fields.object("head").data if kind == "hidden" else None,
        shards={shard.index: shard for shard in map(_shard, fields.objects("shards"))},
    )


def _shard(fields: Fields) -> Shard:
    return Shard(
        index=fields.integer("index", 0, 1 << 31),
        positions=fields.integer("positions", 1, 1 << 40),
        stored=fields.stored(),
        kl_sum=fields.number("kl_sum"),
        kl_max=fields.number("kl_max"),
    )
