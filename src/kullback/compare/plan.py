"""What a comparison will read, and what its numbers will depend on, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from kullback.compare.alignment import shared_events
from kullback.compare.positions import Reading, Side
from kullback.compare.provenance import token_stream_hash, versions, vocabulary_hash
from kullback.compare.readers import Source
from kullback.compare.run import Pass
from kullback.compare.sides import names_of
from kullback.compare.windows import Windows
from kullback.errors import InputError

__all__ = ["planned", "provenances_of"]


def planned(
    p: Source,
    candidates: list[Source],
    windows: Windows,
    batch: int | None,
    as_llama_cpp: bool,
    top: int,
) -> Pass:
    """The pass over `windows`, with `top` events of either side kept at every position."""
    return Pass(
        reference=p,
        candidates={
            name: Side(q, shared_events(p, q, windows))
            for name, q in zip(names_of(candidates), candidates, strict=True)
        },
        windows=windows,
        batch=_batch(batch, candidates, windows),
        reading=Reading(as_llama_cpp, top),
        text_of=_text_of(p, candidates, windows),
    )


def provenances_of(plan: Pass, settings: dict[str, Any]) -> dict[str, Any]:
    """For each candidate, what its numbers depend on."""
    sides = [plan.reference, *(side.source for side in plan.candidates.values())]
    tokenizers = [side.tokenizer for side in sides if side.tokenizer is not None]
    shared = {
        "tokenizer": vocabulary_hash(tokenizers[0].get_vocab()) if tokenizers else None,
        "token_stream": token_stream_hash(plan.windows),
        "versions": versions(["torch", "transformers", "numba", "gguf"]),
        **settings,
    }
    reference = plan.reference.provenance()
    return {
        name: {"reference": reference, "candidate": side.source.provenance(), **shared}
        for name, side in plan.candidates.items()
    }


def _batch(batch: int | None, candidates: list[Source], windows: Windows) -> int:
    if batch is None and windows.slices is not None:
        # Documents of a classifier are often of a few rows only.
        return max(1, 256 // max(window.scored for window in windows.items))
    if batch is None:
        # One window of a few hundred tokens fills a processor, but not a GPU.
        models = [getattr(side, "model", None) for side in candidates]
        return 1 if any(m is None or m.device.type == "cpu" for m in models) else 8
    if batch < 1:
        raise InputError(f"batch={batch}: at least one window goes through at a time")
    return batch


def _text_of(p: Source, candidates: list[Source], windows: Windows) -> Callable[[int], str] | None:
    """What a token says, where a side has a tokeniser; the name of a class, where it has one."""
    if windows.slices is not None and windows.slices.class_names:
        return windows.slices.class_names.__getitem__
    tokenizers = [side.tokenizer for side in (p, *candidates) if side.tokenizer is not None]
    if not tokenizers:
        return None
    return cache(lambda token: tokenizers[0].decode([token]))
