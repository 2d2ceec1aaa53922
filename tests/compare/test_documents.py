"""Documents: how files and strings split, and what is refused as no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from kullback.compare.documents import read_documents
from kullback.errors import InputError, TextError


def test_a_file_is_a_document_and_an_empty_one_is_left_out(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "  \n"), ("c", "drei")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_documents([tmp_path / name for name in "abc"])
    assert [(Path(d.name).name, d.text) for d in found] == [("a", "one"), ("c", "drei")]


def test_lines_paragraphs_and_json_lines() -> None:
    text = "one\ntwo\n\n\nthree\n"
    assert [d.text for d in read_documents(text, "lines")] == ["one", "two", "three"]
    assert [(d.name, d.text) for d in read_documents(text, "paragraphs")] == [
        ("text 1:1", "one\ntwo"),
        ("text 1:5", "three"),
    ]
    lines = '{"text": "one\\n"}\n\n"two"\n'
    assert [d.text for d in read_documents(lines, "jsonl")] == ["one\n", "two"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [("{", ":1 is not JSON"), ('"a"\n{"body": "b"}', ":2 has no string under")],
)
def test_json_lines_without_text_are_refused_by_line(lines: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read_documents(lines, "jsonl")


def test_texts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="the text is empty"):
        read_documents(["", "\n"])
    with pytest.raises(TextError, match="cannot read"):
        read_documents(tmp_path / "absent.txt")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf\xe9")
    with pytest.raises(TextError, match="byte 3 is 0xe9"):
        read_documents(latin)
    with pytest.raises(TextError, match=r"pass pathlib\.Path"):
        read_documents(str(latin))
    with pytest.raises(InputError, match="choose one of files, lines"):
        read_documents("a", "chapters")  # pyright: ignore[reportArgumentType]
