"""What a text is made of: documents, each an independent piece of it, with a name.

A file is a document, or many, one a line, a paragraph or a line of JSON. Which it is matters
beyond the reading: windows never straddle documents, and intervals take them as the sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from kullback.errors import InputError, TextError

__all__ = ["Document", "Splitting", "Text", "read_documents"]

Splitting = Literal["files", "lines", "paragraphs", "jsonl"]
Text = str | Path | Sequence["str | Path"]
"""A `str` is text itself, a `Path` a file; a sequence of either is one item after another."""


class Document(NamedTuple):
    """One independent piece of text, and what to call it."""

    name: str
    text: str


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
