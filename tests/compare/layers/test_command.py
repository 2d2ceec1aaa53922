"""`kullback layers`: what it passes on, and one real run on folders."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.compare.readers.hugging_face import HuggingFaceModel

from .conftest import TEXT

LAYERS = importlib.import_module("kullback.compare.layers")


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})


def test_options_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def layer_effects(*sides: Any, **options: Any) -> None:
        made.append((sides, options))
        raise LAYERS.InputError("enough")

    monkeypatch.setattr(LAYERS, "layer_effects", layer_effects)
    words = "p q --text a b --by layers --leave-one-out --context 64 --warmup 8 --max-tokens 99"
    words += " --batch 2 --device cpu --dtype float32 --documents lines --confidence 0.9"
    assert run("layers", *words.split()).exit_code == 2
    (sides, options) = made[0]
    assert sides == ("p", "q")
    del options["progress"]
    assert options == {
        "text": [Path("a"), Path("b")],
        "by": "layers",
        "leave_one_out": True,
        "documents": "lines",
        "context": 64,
        "warmup": 8,
        "max_tokens": 99,
        "batch": 2,
        "device": "cpu",
        "dtype": "float32",
        "quantize": None,
        "confidence": 0.9,
    }


def test_sides_that_do_not_fit_are_refused() -> None:
    result = run("layers", "p", "--text", "a")
    assert result.exit_code == 2
    assert "nothing to take modules from" in result.stderr
    result = run("layers", "p", "q", "--quantize", "int8")
    assert result.exit_code == 2
    assert "leave one out" in result.stderr


def test_a_run_from_folders_to_files(
    sides: Callable[..., tuple[HuggingFaceModel, HuggingFaceModel]], tmp_path: Path
) -> None:
    for name, source in zip(("p", "q"), sides("llama", only="layers.3"), strict=True):
        source.model.save_pretrained(tmp_path / name)
        source.tokenizer.save_pretrained(tmp_path / name)
    (tmp_path / "text.txt").write_text(TEXT)
    options = ["--text", tmp_path / "text.txt", "--context", 32, "--warmup", 8]
    out = ["--out", tmp_path / "out", "--json", tmp_path / "one.json"]
    result = run("layers", tmp_path / "p", tmp_path / "q", *options, *out)
    assert result.exit_code == 0, result.stderr
    assert "Alone in the reference, layer 3" in result.stdout
    found = json.loads((tmp_path / "one.json").read_text())
    assert found == json.loads((tmp_path / "out" / "layers.json").read_text())
    measured = [e["name"] for e in found["effects"] if not e["equal"]]
    assert measured == ["layer 3 attention", "layer 3 MLP", "layer 3 norms"]
    assert (tmp_path / "out" / "layers.html").stat().st_size > 10_000
