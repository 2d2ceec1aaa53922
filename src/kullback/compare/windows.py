"""Where the positions of a comparison come from: documents, cut into windows of tokens.

A position counts when the model has seen enough context before it, so every window gives up
its first `warmup` positions and scores the rest: logits at index j predict token j + 1, for
j from `warmup` to the last but one. Documents are tokenised and cut one by one, because a
window that straddles two of them scores neither, and because intervals are clustered by
document later. llama.cpp runs the documents together instead; that cut is here as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from kullback.errors import InputError, TextError

__all__ = [
    "Document",
    "Splitting",
    "Text",
    "Window",
    "Windows",
    "batches",
    "cut",
    "cut_as_llama_cpp",
    "first_tokens",
    "read_documents",
]

Splitting = Literal["files", "lines", "paragraphs", "jsonl"]
Text = str | Path | Sequence["str | Path"]
"""A `str` is text itself, a `Path` a file; a sequence of either is one item after another."""


class Document(NamedTuple):
    """One independent piece of text, and what to call it."""

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class Window:
    """Tokens that a model reads at once, and the positions of them that count.

    `tokens` (int64 [n]) is empty where a source has logits but no context to run again.
    `targets` (int64 [m]) are the tokens that really came next, −1 where unknown;
    `first_position` is the place of the first of them within the window, and `offset` the
    number of positions in all the windows before this one.
    """

    chunk: int
    document: int
    tokens: np.ndarray
    targets: np.ndarray
    first_position: int
    offset: int

    @property
    def scored(self) -> int:
        """How many positions count."""
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a whole text, the names of its documents, and what to know about the cut."""

    items: list[Window]
    documents: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def scored(self) -> int:
        """How many positions count, over all windows."""
        return sum(window.scored for window in self.items)


def read_documents(text: Text, splitting: Splitting = "files") -> list[Document]:
    """The documents in `text`, empty ones left out.

    Each item (a file, or a string) is one document under "files", or is split into its lines,
    its paragraphs (blank lines between), or the `"text"` fields of its JSON lines. Raises
    `TextError` where nothing is left, a file is not UTF-8, or a JSON line has no text.

    >>> [document.text for document in read_documents("one\\ntwo\\n\\nthree", "paragraphs")]
    ['one\\ntwo', 'three']
    """
    items = [text] if isinstance(text, (str, Path)) else list(text)
    split = _SPLITTERS.get(splitting)
    if split is None:
        raise InputError(f"documents={splitting!r}: choose one of {', '.join(_SPLITTERS)}")
    documents = [
        document
        for number, item in enumerate(items, start=1)
        for document in split(*_read(item, number))
        if document.text.strip()
    ]
    if not documents:
        raise TextError(
            f"the text is empty: {len(items)} file(s) or string(s) hold no document "
            f"under documents={splitting!r}; give text with --text"
        )
    return documents


def _read(item: str | Path, number: int) -> tuple[str, str]:
    if isinstance(item, str):
        _refuse_file_name(item)
        return f"text {number}", item
    try:
        return str(item), item.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"cannot read the text {str(item)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TextError(
            f"{str(item)!r} is not UTF-8 text (byte {error.start} is "
            f"{error.object[error.start]:#04x}): convert it, for example with iconv"
        ) from error


def _refuse_file_name(text: str) -> None:
    # A str is text, but one that names a file was almost surely meant as the file.
    if len(text) < 256 and "\n" not in text and "\0" not in text and Path(text).is_file():
        raise TextError(
            f"text={text!r} is a string, so it would be the text itself, but a file of that "
            f"name exists: pass pathlib.Path({text!r}) to read it"
        )


def _whole(name: str, text: str) -> list[Document]:
    return [Document(name, text)]


def _lines(name: str, text: str) -> list[Document]:
    return [Document(f"{name}:{i}", line) for i, line in enumerate(text.splitlines(), start=1)]


def _paragraphs(name: str, text: str) -> list[Document]:
    paragraphs: list[Document] = []
    start, held = 1, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.strip():
            start = start if held else number
            held.append(line)
        elif held:
            paragraphs.append(Document(f"{name}:{start}", "\n".join(held)))
            held = []
    return paragraphs


def _json_lines(name: str, text: str) -> list[Document]:
    documents = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise TextError(f"{name}:{number} is not JSON ({error}): one object a line") from error
        content = record.get("text") if isinstance(record, dict) else record
        if not isinstance(content, str):
            raise TextError(f'{name}:{number} has no string under "text": one object a line')
        documents.append(Document(f"{name}:{number}", content))
    return documents


_SPLITTERS: dict[str, Callable[[str, str], list[Document]]] = {
    "files": _whole,
    "lines": _lines,
    "paragraphs": _paragraphs,
    "jsonl": _json_lines,
}


def cut(
    token_lists: Iterable[np.ndarray],
    names: Sequence[str],
    *,
    context: int,
    warmup: int,
    bos: int | None = None,
) -> Windows:
    """Each document by itself, into windows of `context` tokens; a last shorter one counts too.

    With `bos`, every window starts with it (inside its `context` tokens). Documents too short
    to have a scored position are dropped and counted in the notes; `TextError` when none is left.

    >>> import numpy as np
    >>> windows = cut([np.arange(10)], ["a"], context=4, warmup=2)
    >>> [window.targets.tolist() for window in windows.items]
    [[3], [7]]
    """
    _check_sizes(context, warmup)
    items: list[Window] = []
    start = np.array([] if bos is None else [bos], dtype=np.int64)
    step, offset, dropped, longest = context - len(start), 0, 0, 0
    for document, ids in enumerate(token_lists):
        before = len(items)
        longest = max(longest, len(ids))
        for first in range(0, len(ids), step):
            tokens = np.concatenate([start, ids[first : first + step]]).astype(np.int64)
            targets = tokens[warmup + 1 :]
            if len(targets):
                items.append(Window(len(items), document, tokens, targets, warmup + 1, offset))
                offset += len(targets)
        dropped += len(items) == before
    if not items:
        raise TextError(
            f"the text is too short: a document must be longer than warmup + 1 = {warmup + 1} "
            f"tokens, and the longest of {len(names)} has {longest}; lower --warmup, or give "
            "more text"
        )
    notes = []
    if dropped:
        notes.append(
            f"{dropped} of {len(names)} documents are too short for a warmup of {warmup} tokens "
            "and were left out"
        )
    return Windows(items, list(names), notes)


def cut_as_llama_cpp(
    tokens: np.ndarray, name: str, *, context: int, bos: int | None = None
) -> Windows:
    """One stream of tokens the way llama.cpp cuts it: full chunks, the second half scored.

    Where the model wants a beginning-of-sequence token, llama.cpp writes it over the first
    token of every chunk. Raises `TextError` where there is not one full chunk.
    """
    warmup = context // 2
    _check_sizes(context, warmup)
    chunks = len(tokens) // context
    if not chunks:
        raise TextError(
            f"the text has {len(tokens)} tokens, less than one chunk of {context}: lower "
            "--context, or give more text"
        )
    rows = np.array(tokens[: chunks * context], dtype=np.int64).reshape(chunks, context)
    if bos is not None:
        rows[:, 0] = bos
    scored = context - 1 - warmup
    items = [
        Window(i, 0, row, row[warmup + 1 :], warmup + 1, i * scored) for i, row in enumerate(rows)
    ]
    return Windows(items, [name])


def _check_sizes(context: int, warmup: int) -> None:
    if warmup < 0:
        raise InputError(f"warmup={warmup} is negative: give 0 to score from the second token on")
    if context < warmup + 2:
        raise InputError(
            f"context={context} leaves nothing to score after warmup={warmup}: a window needs at "
            f"least {warmup + 2} tokens; lower --warmup or raise --context"
        )


def first_tokens(windows: Windows, max_tokens: int | None) -> Windows:
    """The first whole windows that hold at most `max_tokens` tokens together.

    A window without tokens (saved logits) counts its positions. Raises `TextError` when not
    even the first fits.
    """
    if max_tokens is None:
        return windows
    sizes = [max(len(window.tokens), window.scored) for window in windows.items]
    kept = int(np.searchsorted(np.cumsum(sizes), max_tokens, side="right"))
    if not kept:
        raise TextError(
            f"max_tokens={max_tokens} is less than the first window, which has {sizes[0]}: raise "
            "--max-tokens or lower --context"
        )
    return Windows(windows.items[:kept], windows.documents, windows.notes)


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Groups of up to `size` windows that one forward pass can take without any padding."""
    waiting: dict[tuple[int, int], list[Window]] = {}
    for window in windows:
        shape = (len(window.tokens), window.scored)
        group = waiting.setdefault(shape, [])
        group.append(window)
        if len(group) == size:
            yield waiting.pop(shape)
    yield from waiting.values()
