"""Documents and windows: which positions count, and which texts are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kullback.compare.windows import (
    batches,
    cut,
    cut_as_llama_cpp,
    first_tokens,
    read_documents,
)
from kullback.errors import InputError, TextError


def test_each_window_scores_what_follows_its_warmup() -> None:
    windows = cut([np.arange(11), np.arange(100, 105)], ["a", "b"], context=5, warmup=2)
    assert [w.tokens.tolist() for w in windows.items] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [100, 101, 102, 103, 104],
    ]
    assert [w.targets.tolist() for w in windows.items] == [[3, 4], [8, 9], [103, 104]]
    assert [w.document for w in windows.items] == [0, 0, 1]
    assert [w.chunk for w in windows.items] == [0, 1, 2]
    assert [w.offset for w in windows.items] == [0, 2, 4]
    assert windows.items[0].first_position == 3
    assert windows.scored == 6


def test_a_last_shorter_window_counts_once_it_has_a_scored_position() -> None:
    assert cut([np.arange(9)], ["a"], context=5, warmup=2).scored == 3
    assert cut([np.arange(8)], ["a"], context=5, warmup=2).scored == 2


def test_the_beginning_of_sequence_token_takes_a_place_in_every_window() -> None:
    windows = cut([np.arange(10, 18)], ["a"], context=5, warmup=0, bos=1)
    assert [w.tokens.tolist() for w in windows.items] == [[1, 10, 11, 12, 13], [1, 14, 15, 16, 17]]
    assert np.concatenate([w.targets for w in windows.items]).tolist() == list(range(10, 18))


def test_documents_that_yield_nothing_are_counted_and_not_hidden() -> None:
    windows = cut([np.arange(3), np.arange(4)], ["short", "long"], context=4, warmup=2)
    assert [w.document for w in windows.items] == [1]
    assert "1 of 2 documents" in windows.notes[0]
    with pytest.raises(TextError, match=r"longer than warmup \+ 1 = 9 tokens.*lower --warmup"):
        cut([np.arange(9)], ["a"], context=16, warmup=8)


@pytest.mark.parametrize(("context", "warmup"), [(4, 3), (4, 4), (1, 0), (4, -1)])
def test_a_context_with_nothing_to_score_is_refused(context: int, warmup: int) -> None:
    with pytest.raises(InputError, match="warmup"):
        cut([np.arange(100)], ["a"], context=context, warmup=warmup)


def test_llama_cpp_scores_the_second_half_of_full_chunks() -> None:
    windows = cut_as_llama_cpp(np.arange(10, 27), "a", context=8, bos=1)
    assert [w.tokens[0] for w in windows.items] == [1, 1]
    assert [w.targets.tolist() for w in windows.items] == [[15, 16, 17], [23, 24, 25]]
    assert windows.items[0].first_position == 5
    with pytest.raises(TextError, match="less than one chunk of 8"):
        cut_as_llama_cpp(np.arange(7), "a", context=8)


def test_max_tokens_keeps_whole_windows() -> None:
    windows = cut([np.arange(20)], ["a"], context=5, warmup=2)
    assert len(first_tokens(windows, 14).items) == 2
    assert len(first_tokens(windows, 15).items) == 3
    assert first_tokens(windows, None) is windows
    with pytest.raises(TextError, match="raise --max-tokens"):
        first_tokens(windows, 4)


def test_batches_hold_windows_of_one_shape_and_lose_none() -> None:
    windows = cut([np.arange(n) for n in (13, 5, 9, 4)], list("abcd"), context=5, warmup=1)
    groups = list(batches(windows.items, 2))
    assert all(len({len(w.tokens) for w in group}) == 1 for group in groups)
    assert max(len(group) for group in groups) == 2
    assert sorted(w.chunk for group in groups for w in group) == list(range(len(windows.items)))


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
