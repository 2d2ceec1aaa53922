"""The reference and the candidates of one comparison, opened, and the windows they all read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kullback.errors import InputError, TokenizerMismatch

if TYPE_CHECKING:
    from kullback.compare.documents import Text
    from kullback.compare.readers import Source
    from kullback.compare.windows import Windows

__all__ = ["chat_windows", "names_of", "open_sides", "windows_for"]


def open_sides(
    reference: Any, candidates: Sequence[Any], quantize: str | None, options: dict[str, Any]
) -> tuple[Source, list[Source]]:
    """The reference, and the candidates or what `quantize` makes of the reference."""
    from kullback.compare.readers import open_source

    if bool(candidates) == (quantize is not None):
        raise InputError("give either a candidate or quantize=, and not both")
    p = open_source(reference, **options)
    if quantize is None:
        found = [open_source(candidate, **options) for candidate in candidates]
        unused = [name for name in ("device", "dtype") if options[name] is not None]
        if all(side.windows is not None for side in (p, *found)) and unused:
            raise InputError(f"files need no model: leave out {' and '.join(unused)}")
        return p, found
    from kullback.compare.quantize import quantized
    from kullback.compare.readers.hugging_face import HuggingFaceModel

    if not isinstance(p, HuggingFaceModel):
        raise InputError(
            f"quantize={quantize!r} needs a model to quantise, and {p.name!r} is a file of logits"
        )
    return p, [quantized(p, quantize)]


def names_of(candidates: Sequence[Source]) -> list[str]:
    """What each candidate is called in a table: its name, numbered where two have the same."""
    names: list[str] = []
    for side in candidates:
        name, number = side.name, 1
        while name in names:
            number += 1
            name = f"{side.name} ({number})"
        names.append(name)
    return names


def windows_for(
    p: Source,
    candidates: Sequence[Source],
    text: Text | None,
    cutting: dict[str, Any],
    max_tokens: int | None,
    as_llama_cpp: bool,
) -> Windows:
    """What is read: cut from `text`, or as the reference's file brings it.

    Raises `ComparisonError` where a candidate cannot read the same.
    """
    from kullback.compare.provenance import token_stream_hash
    from kullback.compare.windows import first_tokens

    found = [_windows(p, q, text, cutting, as_llama_cpp) for q in candidates]
    for q, windows in zip(candidates[1:], found[1:], strict=True):
        if token_stream_hash(windows) != token_stream_hash(found[0]):
            raise TokenizerMismatch(
                f"{candidates[0].name!r} and {q.name!r} would not read the same tokens: compare "
                "them with the reference one by one"
            )
    return first_tokens(found[0], max_tokens)


def chat_windows(
    p: Source,
    candidates: Sequence[Source],
    path: Path,
    options: dict[str, Any],
    max_tokens: int | None,
) -> Windows:
    """The assistant's turns in the conversations of a file; of `options` only the context counts.

    Raises `InputError` where a side is no model, or another option is given.
    """
    from kullback.compare.chat import windows_of_chat
    from kullback.compare.readers.hugging_face import HuggingFaceModel
    from kullback.compare.windows import first_tokens

    unused = [name for name, value in options.items() if value is not None and name != "context"]
    if unused:
        raise InputError(f"chat brings its own text, turn by turn: leave out {', '.join(unused)}")
    models = [side for side in (p, *candidates) if isinstance(side, HuggingFaceModel)]
    for side in (p, *candidates):
        if side not in models:
            raise InputError(
                f"chat needs models to read it, and {side.name!r} is what one left on disk: give "
                "the model itself"
            )
    windows = windows_of_chat(models[0], models[1:], path, context=options["context"])
    return first_tokens(windows, max_tokens)


def _windows(
    p: Source, q: Source, text: Text | None, cutting: dict[str, Any], as_llama_cpp: bool
) -> Windows:
    from kullback.compare.alignment import windows_of_saved, windows_of_text

    partial = [side.name for side in (p, q) if getattr(side, "censored", False)]
    if as_llama_cpp and partial:
        raise InputError(
            f"{partial[0]!r} holds the largest probabilities alone, which llama.cpp's convention "
            "would sum as if they were all: leave out as_llama_cpp"
        )
    if p.windows is not None:
        given = {"text": text, **cutting}
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise InputError(
                f"{p.name!r} brings its own tokens, already cut: leave out {', '.join(unused)}"
            )
        return windows_of_saved(p, q)
    context = 512 if cutting["context"] is None else cutting["context"]
    warmup = cutting["warmup"]
    if as_llama_cpp and warmup not in (None, context // 2):
        raise InputError(
            f"warmup={warmup} does not go with as_llama_cpp, which scores the second half of each "
            "chunk: leave it out"
        )
    return windows_of_text(
        p,
        q,
        text,
        cutting["documents"] or "files",
        context=context,
        warmup=256 if warmup is None else warmup,
        as_llama_cpp=as_llama_cpp,
    )
