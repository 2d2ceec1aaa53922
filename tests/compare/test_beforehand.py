"""What is wrong with the text or the folder is told before a model is loaded."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kullback.compare import compare, sides
from kullback.compare.beforehand import Cut, read_text
from kullback.compare.layers import layer_effects
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.record import plan, record
from kullback.errors import InputError, MissingExtra, TextError

from .conftest import TEXT

LAYERS = importlib.import_module("kullback.compare.layers")
MakeModel = Callable[..., HuggingFaceModel]


@pytest.fixture(autouse=True)
def no_model_is_loaded(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "make_model" in request.fixturenames:
        return

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(sides, "open_sides", load)
    monkeypatch.setattr(plan, "open_model", load)
    monkeypatch.setattr(LAYERS, "_models", load)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "the text is empty"), (" \n\t\n", "the text is empty"), ("Too short.", "is too short")],
)
def test_a_text_without_anything_to_score(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text)
    for run in (
        lambda: compare("p", "q", text=path),
        lambda: compare("p", "q", text=path, as_llama_cpp=True),
        lambda: record("p", tmp_path / "record", text=path),
        lambda: layer_effects("p", "q", text=path),
    ):
        with pytest.raises(TextError, match=words):
            run()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 16}, "leaves nothing to score"),
        ({"as_llama_cpp": True, "warmup": 3}, "warmup=3 does not go with"),
        ({"as_llama_cpp": True, "documents": "lines"}, "documents='lines' does not go with"),
    ],
)
def test_a_cut_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare("p", "q", text=TEXT * 5, **options)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "is empty"),
        ([{"role": "user", "content": "one?"}], "no turn of"),
        ([{"role": "assistant", "content": "It opens."}], "no turn of"),
    ],
)
def test_conversations_without_an_answer(
    tmp_path: Path, messages: list[dict[str, str]], words: str
) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(messages) if messages else "\n")
    with pytest.raises(TextError, match=words):
        compare("p", "q", chat=path)


@pytest.mark.parametrize("warmup", [0, 8, 256])
def test_no_text_is_refused_that_a_token_for_each_character_makes_long_enough(warmup: int) -> None:
    cut = Cut.of(None, 512, warmup, as_llama_cpp=False)
    assert len(read_text("a" * (warmup + 2), cut)) == 1
    # A ligature that normalisers write out as 18 letters.
    assert len(read_text("\ufdfa", cut)) == 1


def test_a_pipe_is_read_once(make_model: MakeModel, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TEXT,), daemon=True)
    writer.start()
    models = [make_model(seed=seed) for seed in range(3)]
    found = compare(models[0], models[1:], text=pipe, context=32, warmup=8)
    writer.join(10)
    assert len(found.comparisons) == 2


def test_a_folder_that_cannot_take_the_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT * 5
    (tmp_path / "a" / "positions.parquet").mkdir(parents=True)
    with pytest.raises(InputError, match="is no plain file"):
        compare("p", "q", text=text, out=tmp_path / "a")
    (tmp_path / "b").write_text("a file")
    with pytest.raises(InputError, match="cannot write to the folder"):
        compare("p", "q", text=text, out=tmp_path / "b")
    # For those who may write anywhere, as in a container.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="permission denied"):
        compare("p", "q", text=text, out=tmp_path / "c")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="pyarrow"):
        compare("p", "q", text=text, out=tmp_path / "d")
