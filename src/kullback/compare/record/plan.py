"""What will be recorded, decided and checked before the model runs over the whole text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from kullback.compare.provenance import token_stream_hash, vocabulary_hash
from kullback.compare.readers import open_source
from kullback.compare.readers.hugging_face import HuggingFaceModel, beginning_of_sequence
from kullback.compare.readers.placement import pick_dtype
from kullback.compare.record.contents import Hidden, TopK
from kullback.compare.record.files import Stored
from kullback.compare.record.head import head_of
from kullback.compare.record.head_file import describe, point_to_head, store_head
from kullback.compare.record.manifest import DTYPES, Manifest, write_manifest
from kullback.compare.record.text import write_vocabulary, write_windows
from kullback.compare.windows import Windows
from kullback.errors import DtypeError, InputError

__all__ = ["Keeping", "content_of", "draft", "open_model", "write_parts"]

_UNWRITTEN = Stored("", 0, "")


class Keeping(NamedTuple):
    """What the caller wants kept: see `kullback.compare.record.record`."""

    top_k: int | None
    dtype: Any
    head: str
    shard_windows: int


def open_model(
    thing: Any, tokenizer: Any, device: str | None, batch: int | None
) -> HuggingFaceModel:
    """The model to record; raises `InputError` for what runs no model."""
    if batch is not None and batch < 1:
        raise InputError(f"batch={batch}: at least one window goes through at a time")
    source = open_source(thing, tokenizer=tokenizer, device=device)
    if not isinstance(source, HuggingFaceModel):
        raise InputError(
            f"{source.name!r} holds logits already: compare with it as it is, or name a model"
        )
    return source


def content_of(source: HuggingFaceModel, windows: Windows, keeping: Keeping) -> Hidden | TopK:
    """What is kept of each position; the first window is run to see that the head is known.

    Raises `InputError` or `DtypeError` for options that do not fit the model or each other, and
    `ComparisonError` where the head does not give the model's logits.
    """
    if keeping.head not in ("stored", "pointer"):
        raise InputError(f"head={keeping.head!r}: choose stored or pointer")
    if keeping.shard_windows < 1:
        raise InputError(f"shard_windows={keeping.shard_windows}: a file holds at least one window")
    if keeping.top_k is not None:
        if keeping.dtype is not None or keeping.head != "stored":
            raise InputError("top_k stores no hidden states: leave out dtype and head")
        return TopK(source, keeping.top_k)
    own = source.model.dtype
    dtype = pick_dtype(keeping.dtype, own)
    dtype = own if dtype == "auto" else dtype
    if str(dtype).removeprefix("torch.") not in DTYPES:
        raise DtypeError(f"dtype={dtype}: choose one of {', '.join(DTYPES)}")
    if dtype != own and dtype.itemsize >= own.itemsize:
        raise DtypeError(
            f"dtype={dtype} is no smaller than the {own} of {source.name!r}: leave it out, and "
            "its own is stored without loss"
        )
    return Hidden(source, head_of(source, windows.items[:1]), dtype)


def draft(
    source: HuggingFaceModel, windows: Windows, content: Hidden | TopK, keeping: Keeping
) -> Manifest:
    """The manifest before anything is written: no files yet."""
    hidden = content if isinstance(content, Hidden) else None
    model_dtype = str(source.model.dtype).removeprefix("torch.")
    return Manifest(
        kind="hidden" if hidden else "top-k",
        width=hidden.head.weight.shape[1] if hidden else content.k,  # type: ignore[union-attr]
        events=source.events,
        dtype=str(hidden.dtype).removeprefix("torch.") if hidden else "float32",
        model_dtype=model_dtype,
        model=source.provenance(),
        tokenizer=vocabulary_hash(source.tokenizer.get_vocab()),
        bos=beginning_of_sequence(source.tokenizer),
        token_stream=token_stream_hash(windows),
        context=windows.context or max(len(window.tokens) for window in windows.items),
        warmup=windows.warmup,
        known_documents=windows.known_documents,
        documents=windows.documents,
        notes=[*windows.notes, *source.notes],
        shard_windows=keeping.shard_windows,
        windows=_UNWRITTEN,
        vocabulary=_UNWRITTEN,
        head=describe(hidden.head, keeping.head) if hidden else None,
    )


def write_parts(
    folder: Path,
    manifest: Manifest,
    source: HuggingFaceModel,
    windows: Windows,
    content: Hidden | TopK,
) -> Manifest:
    """Write tokens, vocabulary, head and, last, the manifest that names them."""
    entry = manifest.head
    if entry is not None:
        assert isinstance(content, Hidden)
        if entry["where"] == "pointer":
            entry = entry | point_to_head(source, content.head)
        else:
            entry = entry | store_head(folder, content.head)
    manifest = replace(
        manifest,
        windows=write_windows(folder, windows),
        vocabulary=write_vocabulary(folder, source.tokenizer.get_vocab()),
        head=entry,
    )
    write_manifest(folder, manifest)
    return manifest
