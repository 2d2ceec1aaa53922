"""The text or the conversations to compare on, read before a model is loaded.

Loading can take minutes: what is wrong with the text, and with how it is to be cut, is told first.
Each file is opened once, since what stands under its name may be a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kullback.compare.conversations import Conversation, read_conversations
from kullback.compare.documents import Document, Splitting, Text, read_documents
from kullback.compare.readers import brings_tokens
from kullback.compare.windows import check_sizes
from kullback.errors import InputError, TextError

__all__ = ["Beforehand", "Cut", "read_beforehand", "read_for_models", "read_text"]

_SPECIAL_TOKENS = 16
"""More than any tokeniser puts around a text."""


class Cut(NamedTuple):
    """How text becomes windows: what one document is, and the sizes in tokens."""

    splitting: Splitting
    context: int
    warmup: int
    as_llama_cpp: bool

    @classmethod
    def of(
        cls,
        documents: Splitting | None,
        context: int | None,
        warmup: int | None,
        as_llama_cpp: bool,
    ) -> Cut:
        """The cut with its defaults, None for what was not said.

        Raises `InputError` for sizes that leave nothing to score, or that contradict llama.cpp's.
        """
        context = 512 if context is None else context
        if as_llama_cpp and warmup not in (None, context // 2):
            raise InputError(
                f"warmup={warmup} does not go with as_llama_cpp, which scores the second half of "
                "each chunk: leave it out"
            )
        if as_llama_cpp and documents not in (None, "files"):
            raise InputError(
                f"documents={documents!r} does not go with as_llama_cpp: llama.cpp reads a whole "
                "text as one stream, and what stands between documents is part of it; leave it out"
            )
        if as_llama_cpp:
            warmup = context // 2
        warmup = 256 if warmup is None else warmup
        check_sizes(context, warmup)
        return cls(documents or "files", context, warmup, as_llama_cpp)


class Beforehand(NamedTuple):
    """What the caller gave to read; files of logits bring their own, and then both are None."""

    documents: list[Document] | None
    conversations: list[Conversation] | None


def read_beforehand(
    reference: Any,
    text: Text | None,
    chat: str | Path | None,
    cutting: dict[str, Any],
    as_llama_cpp: bool,
) -> Beforehand:
    """The documents of `text`, to be cut by `cutting`, or the conversations in the file `chat`.

    Raises `InputError` for options that contradict each other, and `TextError` where there is
    nothing to score.
    """
    if chat is None and brings_tokens(reference):
        given = _given(text, cutting)
        if given:
            name = getattr(reference, "name", str(reference))
            raise InputError(
                f"{name!r} brings its own tokens, already cut: leave out {', '.join(given)}"
            )
        return Beforehand(None, None)
    if text is None and chat is None:
        # Which side lacks it is known when they are open.
        return Beforehand(None, None)
    return read_for_models(text, chat, cutting, as_llama_cpp)


def read_for_models(
    text: Text | None, chat: str | Path | None, cutting: dict[str, Any], as_llama_cpp: bool
) -> Beforehand:
    """What is there for models to read; raises as `read_beforehand` does, and without either."""
    if chat is None:
        return Beforehand(read_text(text, Cut.of(**cutting, as_llama_cpp=as_llama_cpp)), None)
    unused = [name for name in _given(text, cutting) if name != "context"]
    unused += ["as_llama_cpp"] * as_llama_cpp
    if unused:
        raise InputError(f"chat brings its own text, turn by turn: leave out {', '.join(unused)}")
    return Beforehand(None, _read_chat(chat))


def _given(text: Text | None, cutting: dict[str, Any]) -> list[str]:
    return [name for name, value in {"text": text, **cutting}.items() if value is not None]


def read_text(text: Text | None, cut: Cut) -> list[Document]:
    """The documents of `text`.

    Raises `TextError` where there is none, a file cannot be read, all are empty, or no document
    can be long enough, whatever the tokeniser makes of it.
    """
    if text is None:
        raise TextError("models need a text to read: give one with --text")
    documents = read_documents(text, cut.splitting)
    _check_lengths(documents, cut)
    return documents


def _read_chat(path: str | Path) -> list[Conversation]:
    conversations = read_conversations(path)
    if not any(index > 0 for conversation in conversations for index in conversation.answers()):
        raise TextError(
            f"no turn of {str(path)!r} can be scored: in none of its {len(conversations)} "
            'conversations does the role "assistant" speak after another'
        )
    return conversations


def _check_lengths(documents: Sequence[Document], cut: Cut) -> None:
    needed = cut.context if cut.as_llama_cpp else cut.warmup + 2
    most = [_most_tokens(document.text) for document in documents]
    if (sum(most) if cut.as_llama_cpp else max(most)) >= needed:
        return
    longest = max(len(document.text) for document in documents)
    if cut.as_llama_cpp:
        raise TextError(
            f"the text is too short: a chunk has {cut.context} tokens, and there are "
            f"{sum(len(document.text) for document in documents)} characters in all; lower "
            "--context, or give more text"
        )
    raise TextError(
        f"the text is too short: a document must be longer than warmup + 1 = {cut.warmup + 1} "
        f"tokens, and the longest of {len(documents)} has {longest} characters; lower --warmup, or "
        "give more text"
    )


def _most_tokens(text: str) -> float:
    """More tokens than any tokeniser makes of `text`."""
    # Normalisers write other scripts out at length: one Arabic ligature becomes 18 letters.
    return 2 * len(text) + _SPECIAL_TOKENS if text.isascii() else float("inf")
