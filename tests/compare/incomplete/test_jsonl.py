"""Every shape that servers return is read, and every broken one refused with its line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kullback.compare.incomplete import read_log
from kullback.compare.incomplete.logged import Logged
from kullback.errors import FileFormatError, InputError

A, B, C = -0.51082562, -1.2039728, -2.9957323


def read(tmp_path: Path, *records: Any, rounding: float | None = None) -> list[Logged]:
    path = tmp_path / "log.jsonl"
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_log(path, rounding=rounding).documents


def test_completions(tmp_path: Path) -> None:
    logprobs = {
        "tokens": ["x", "a", "z"],
        "token_logprobs": [None, A, -9.1234567],
        "top_logprobs": [None, {"a": A, "b": B}, {"a": A, "b": B, "z": -9.1234567}],
        "text_offset": [0, 1, 2],
    }
    for record in ({"choices": [{"text": "xaz", "logprobs": logprobs}]}, logprobs):
        (document,) = read(tmp_path, record)
        assert document.texts == ["x", "a", "z"]
        first, second, third = document.rows
        assert first is None
        assert second is not None
        assert second.by_text == {"a": A, "b": B}
        assert second.text_threshold == B
        assert third is not None
        # z came and was added to the top two: others may be more probable than it.
        assert third.text_threshold == B


def test_the_token_that_came_is_no_threshold(tmp_path: Path) -> None:
    row = {"a": A, "z": -9.1234567}
    (document,) = read(tmp_path, {"tokens": ["z"], "top_logprobs": [row]})
    assert document.rows[0] is not None
    assert document.rows[0].text_threshold == A


def test_texts_that_may_be_several_tokens_are_not_listed(tmp_path: Path) -> None:
    rows = [
        {"a": A, "\ufffd": B, "b": C},
        {"a": A, "": B, "b": C},
        {"a": A, "b": C},
        {"a": A, "b": B, "c": C},
    ]
    (document,) = read(tmp_path, {"tokens": list("aaaa"), "top_logprobs": rows})
    for row in document.rows[:2]:
        assert row is not None
        assert row.by_text == {"a": A, "b": C}
        assert row.text_threshold == 0
    # Rows have three, so two may be what overwriting left; four of top 3 and a token would not.
    assert document.rows[2] is not None
    assert document.rows[2].by_text == {"a": A, "b": C}
    (document,) = read(tmp_path, {"tokens": list("aa"), "top_logprobs": [rows[3], {"a": A}]})
    assert document.rows[1] is not None
    assert document.rows[1].by_text == {}
    assert document.rows[1].text_threshold == 0


def test_chat(tmp_path: Path) -> None:
    def event(token: str, log_prob: float, spelled: bytes | None) -> dict[str, Any]:
        numbers = None if spelled is None else list(spelled)
        return {"token": token, "logprob": log_prob, "bytes": numbers}

    top = [event("a", A, b"a"), event("\\xe2", B, b"\xe2"), event("\ufffd", C, None)]
    content = [event("q", -7.1234567, b"q") | {"top_logprobs": top}]
    (document,) = read(tmp_path, {"choices": [{"logprobs": {"content": content}}]})
    (row,) = document.rows
    assert row is not None
    assert row.by_id is None
    assert row.by_text == {"a": A, "\udce2": B, "q": -7.1234567}
    # Without its bytes, U+FFFD may be anything: the row is believed no further.
    assert row.text_threshold == 0
    assert document.texts == ["q"]


def test_vllm_prompt(tmp_path: Path) -> None:
    def event(log_prob: float, rank: int, text: str) -> dict[str, Any]:
        return {"logprob": log_prob, "rank": rank, "decoded_token": text}

    rows = [None, {"9": event(-8.1234567, 70, "z"), "3": event(A, 1, "a"), "4": event(B, 2, "a")}]
    for record in (
        {"choices": [{"prompt_logprobs": rows, "prompt_token_ids": [1, 9]}]},
        {"choices": [{"message": {}}], "prompt_logprobs": rows},
        {"prompt_logprobs": rows},
    ):
        (document,) = read(tmp_path, record)
        assert document.ids[1] == 9
        row = document.rows[1]
        assert row is not None
        assert row.by_id == {9: -8.1234567, 3: A, 4: B}
        assert row.id_threshold == B
        # Two tokens print as "a": by text neither is known, and what is unlisted may have A.
        assert row.by_text == {"z": -8.1234567}
        assert row.text_threshold == A


def test_vllm_token_ids_as_text(tmp_path: Path) -> None:
    row = {"token_id:5": A, "token_id:77": B}
    (document,) = read(tmp_path, {"tokens": ["token_id:5"], "top_logprobs": [row]})
    assert document.ids == [5]
    assert document.rows[0] is not None
    assert document.rows[0].by_id == {5: A, 77: B}


def test_llama_cpp_native(tmp_path: Path) -> None:
    top = [{"id": 3, "token": "a", "bytes": [97], "logprob": A}]
    top += [{"id": 4, "token": "", "bytes": [226], "logprob": -3.4028235e38}]
    position = {"id": 3, "token": "a", "bytes": [97], "logprob": A, "top_logprobs": top}
    for name in ("completion_probabilities", "probs"):
        (document,) = read(tmp_path, {"content": "a", name: [position]})
        assert document.ids == [3]
        assert document.rows[0] is not None
        # The least float stands for "no probability at all", which nobody can print.
        assert document.rows[0].by_id == {3: A}


def test_rows_one_token_early_are_put_right(tmp_path: Path) -> None:
    rows = [None, {"a": A, "y": C}, {"a": B, "z": C}]
    response = {"choices": [{"logprobs": {"tokens": ["x", "y", "z"], "top_logprobs": rows}}]}
    (document,) = read(tmp_path, {"shift": 1, "tokens": 3, "response": response})
    assert document.rows[:2] == [None, None]
    assert document.rows[2] is not None
    assert document.rows[2].by_text == {"a": A, "y": C}
    (document,) = read(tmp_path, {"shift": 0, "tokens": 2, "response": response})
    assert document.texts == ["x", "y"]


GOOD = {"tokens": ["a"], "top_logprobs": [{"a": A, "b": B}]}


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{", "not JSON"),
        ("[1]", "where an object should stand"),
        ("null", "where an object should stand"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": NaN}]}', "NaN is no log-probability"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": Infinity}]}', "Infinity is no log-prob"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": 0.5}]}', "it is above 0"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": 1e400}]}', "it is above 0"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": -1e99999999999999999999}]}', "too large"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": "-1"}]}', "'-1' stands where a log-prob"),
        ('{"tokens": ["a"], "top_logprobs": [{"a": true}]}', "True stands where"),
        ('{"tokens": [7], "top_logprobs": [{"a": -1}]}', "a token is 7"),
        ('{"tokens": [], "top_logprobs": [{"a": -1}]}', "do not line up"),
        ('{"tokens": "a", "top_logprobs": [{"a": -1}]}', "tokens is 'a'"),
        ('{"choices": []}', "no choices"),
        ('{"choices": [{"text": "hi", "logprobs": null}]}', "no log-probabilities of several"),
        ('{"error": {"message": "\\u001b[2Jno"}}', r"answered with an error: .*x1b\[2Jno"),
        ('{"prompt_logprobs": [{"x": {"logprob": -1}}]}', "'x' is no token id"),
        ('{"prompt_logprobs": [null], "prompt_token_ids": [1, 2]}', "do not line up"),
        ('{"content": [{"token": "a", "prob": 0.5, "top_probs": []}]}', "after sampling"),
        ('{"response": {"tokens": ["a"], "top_logprobs": [{"a": -1}]}, "shift": 2}', "0 or 1"),
        ('{"response": {"tokens": ["a"], "top_logprobs": [{"a": -1}]}, "tokens": -1}', "tokens=-1"),
    ],
)
def test_broken_lines_are_refused_by_number(tmp_path: Path, line: str, match: str) -> None:
    with pytest.raises(FileFormatError, match=match) as caught:
        read(tmp_path, GOOD, line)
    assert "log.jsonl:2: " in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"tokens": ["\xff"]}\n')
    with pytest.raises(FileFormatError, match=r"log.jsonl:1: not UTF-8 \(byte 13\)"):
        read_log(path)
    path.write_bytes(b"\n")
    with pytest.raises(FileFormatError, match="is empty"):
        read_log(path)
    with pytest.raises(FileFormatError, match="cannot read"):
        read_log(tmp_path / "gone.jsonl")


def test_visibly_rounded_numbers_need_it_said(tmp_path: Path) -> None:
    record = {"tokens": ["a"], "top_logprobs": [{"a": -0.5108, "b": -1.204}]}
    with pytest.raises(InputError, match=r"more than 4 digits.*--rounding 5e-5.*rounding=5e-5"):
        read(tmp_path, record)
    (document,) = read(tmp_path, record, rounding=5e-5)
    assert document.rows[0] is not None
    with pytest.raises(InputError, match="rounding=nan"):
        read(tmp_path, GOOD, rounding=math.nan)
