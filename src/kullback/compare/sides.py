"""The reference and the candidates of one comparison, opened, and the windows they all read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kullback.errors import InputError, TokenizerMismatch

if TYPE_CHECKING:
    from kullback.compare.beforehand import Beforehand
    from kullback.compare.conversations import Conversation
    from kullback.compare.documents import Document
    from kullback.compare.readers import Source
    from kullback.compare.windows import Windows

__all__ = ["names_of", "open_sides", "windows_for"]


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
    read: Beforehand,
    cutting: dict[str, Any],
    max_tokens: int | None,
    as_llama_cpp: bool,
) -> Windows:
    """What is scored: cut from what was `read`, or as the reference's file brings it.

    Raises `ComparisonError` where a candidate cannot read the same.
    """
    from kullback.compare.windows import first_tokens

    if read.conversations is not None:
        windows = _chat_windows(p, candidates, read.conversations, cutting["context"])
    else:
        windows = _text_windows(p, candidates, read.documents, cutting, as_llama_cpp)
    return first_tokens(windows, max_tokens)


def _text_windows(
    p: Source,
    candidates: Sequence[Source],
    text: Sequence[Document] | None,
    cutting: dict[str, Any],
    as_llama_cpp: bool,
) -> Windows:
    from kullback.compare.provenance import token_stream_hash

    found = [_windows(p, q, text, cutting, as_llama_cpp) for q in candidates]
    for q, windows in zip(candidates[1:], found[1:], strict=True):
        if token_stream_hash(windows) != token_stream_hash(found[0]):
            raise TokenizerMismatch(
                f"{candidates[0].name!r} and {q.name!r} would not read the same tokens: compare "
                "them with the reference one by one"
            )
    return found[0]


def _chat_windows(
    p: Source,
    candidates: Sequence[Source],
    conversations: Sequence[Conversation],
    context: int | None,
) -> Windows:
    from kullback.compare.chat import windows_of_chat
    from kullback.compare.readers.hugging_face import HuggingFaceModel

    models = [side for side in (p, *candidates) if isinstance(side, HuggingFaceModel)]
    for side in (p, *candidates):
        if side not in models:
            raise InputError(
                f"chat needs models to read it, and {side.name!r} is what one left on disk: give "
                "the model itself"
            )
    return windows_of_chat(models[0], models[1:], conversations, context=context)


def _windows(
    p: Source,
    q: Source,
    text: Sequence[Document] | None,
    cutting: dict[str, Any],
    as_llama_cpp: bool,
) -> Windows:
    from kullback.compare.alignment import windows_of_saved, windows_of_text
    from kullback.compare.beforehand import Cut

    partial = [side.name for side in (p, q) if getattr(side, "censored", False)]
    if as_llama_cpp and partial:
        raise InputError(
            f"{partial[0]!r} holds the largest probabilities alone, which llama.cpp's convention "
            "would sum as if they were all: leave out as_llama_cpp"
        )
    if p.windows is not None:
        return windows_of_saved(p, q)
    return windows_of_text(p, q, text, Cut.of(**cutting, as_llama_cpp=as_llama_cpp))
