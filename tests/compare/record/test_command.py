"""`kullback record` from end to end on a small model, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.compare.readers.hugging_face import HuggingFaceModel

from ..conftest import TEXT, random_llama


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def model(tmp_path: Path, reference: HuggingFaceModel) -> Path:
    random_llama(0).save_pretrained(tmp_path / "model")
    reference.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "model"


def test_record_then_compare(model: Path) -> None:
    text, out = model.parent / "text.txt", model.parent / "ref"
    options = (model, "--text", text, "--context", 32, "--warmup", 8, "-o", out)
    first = run("record", *options)
    assert first.exit_code == 0, first.output
    assert "positions of" in first.stdout
    assert f"Next: kullback compare {out} CANDIDATE" in first.stdout.replace("\n", "")
    again = run("record", *options)
    assert "were there from an earlier run" in again.stdout
    compared = run("compare", out, model)
    assert compared.exit_code == 0, compared.output
    assert "KL is exactly 0" in compared.stdout or "e-1" in compared.stdout


def test_rounding_and_bounds_are_said(model: Path) -> None:
    text = model.parent / "text.txt"
    options = (model, "--text", text, "--context", 32, "--warmup", 8, "-o")
    rounded = run("record", *options, model.parent / "half", "--dtype", "bfloat16")
    assert "Rounding float32 to bfloat16 loses" in rounded.stdout
    bounded = run("record", *options, model.parent / "top", "--top-k", 8)
    assert "the 8 largest probabilities" in bounded.stdout
    assert "lower bounds" in bounded.stdout


def test_what_is_refused_is_a_message_and_exit_code_2(model: Path) -> None:
    text = model.parent / "text.txt"
    found = run("record", model, "--text", text, "-o", text)
    assert found.exit_code == 2
    assert "it is a file; name a folder" in found.output
    assert run("record", model, "--text", text).exit_code == 2
