"""The command: what it passes on, what it prints, its exit codes, and one real run on files."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.cli.application import repeat_option
from kullback.errors import TokenizerMismatch
from kullback.results import Estimate
from synthetic import comparison

# The package exports a function of the same name, which hides the module from attribute access.
COMPARE = importlib.import_module("kullback.compare")


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the comparison by a made-up one and records how it was called."""
    made: list[dict[str, Any]] = []

    def compare(
        reference: str, candidate: str | None, *, progress: Callable, **options: Any
    ) -> object:
        progress(1, 2)
        assert options.pop("processes").size == 1
        made.append({"reference": reference, "candidate": candidate, **options})
        return replace(comparison(), kl=Estimate(0.02, 0.01, 0.04))

    monkeypatch.setattr(COMPARE, "compare", compare)
    return made


def test_help_explains_and_gives_examples() -> None:
    result = run("compare", "--help")
    assert result.exit_code == 0
    for word in ("REFERENCE", "--text", "--fail-above", "kullback compare ./model"):
        assert word in result.stdout


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"kullback {version('kullback')}\n"


def test_defaults(calls: list[dict[str, Any]]) -> None:
    result = run("compare", "p", "q")
    assert result.exit_code == 0, result.output
    assert calls == [
        {
            "reference": "p",
            "candidate": "q",
            "text": None,
            "documents": None,
            "chat": None,
            "context": None,
            "warmup": None,
            "max_tokens": None,
            "batch": None,
            "device": None,
            "dtype": None,
            "seed": 0,
            "quantize": None,
            "as_llama_cpp": False,
            "confidence": 0.95,
            "out": None,
            "precision": None,
            "floor": False,
        }
    ]
    assert "loses 0.0200 nats per token" in result.stdout


def test_options_are_passed_on(calls: list[dict[str, Any]]) -> None:
    options = "--documents jsonl --context 64 --warmup 8 --max-tokens 1000 --batch 2 --device cpu"
    more = "--dtype bfloat16 --seed 7 --quantize int4 --as-llama-cpp --confidence 0.9"
    result = run("compare", "p", "--text", "a.txt", "b.txt", *options.split(), *more.split())
    assert result.exit_code == 0, result.output
    assert calls == [
        {
            "reference": "p",
            "candidate": None,
            "text": [Path("a.txt"), Path("b.txt")],
            "documents": "jsonl",
            "chat": None,
            "context": 64,
            "warmup": 8,
            "max_tokens": 1000,
            "batch": 2,
            "device": "cpu",
            "dtype": "bfloat16",
            "seed": 7,
            "quantize": "int4",
            "as_llama_cpp": True,
            "confidence": 0.9,
            "out": None,
            "precision": None,
            "floor": False,
        }
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("p q --text a", "p q --text a"),
        ("p q --text a b --seed 1", "p q --text a --text b --seed 1"),
        ("p q --text a --text b", "p q --text a --text b"),
        ("p --text a b c", "p --text a --text b --text c"),
        ("--seed 1 p q", "--seed 1 p q"),
        ("", ""),
    ],
)
def test_many_files_after_one_option(given: str, expected: str) -> None:
    assert repeat_option(given.split(), "--text") == expected.split()


def test_bits(calls: list[dict[str, Any]]) -> None:
    assert "bits per token" in run("compare", "p", "q", "--bits").stdout


def test_json_is_written_in_nats(calls: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert run("compare", "p", "q", "--json", path, "--bits").exit_code == 0
    assert json.loads(path.read_text(encoding="utf-8"))["kl"]["mean"] == 0.02


def test_json_that_cannot_be_written_stops_before_the_work(
    calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = run("compare", "p", "q", "--json", tmp_path / "missing" / "report.json")
    assert result.exit_code == 2
    assert "there is no folder" in " ".join(result.stderr.split())
    assert calls == []


@pytest.mark.parametrize(
    ("limit", "code", "words"),
    [
        (0.05, 0, ""),
        (0.02, 0, ""),
        (0.015, 1, "reaches below"),
        (0.005, 1, "so is its whole interval"),
    ],
)
def test_fail_above(calls: list[dict[str, Any]], limit: float, code: int, words: str) -> None:
    result = run("compare", "p", "q", "--fail-above", limit)
    assert result.exit_code == code
    assert words in result.stderr
    assert ("Failed" in result.stderr) == (code == 1)
    assert "Mean per position" in result.stdout


@pytest.mark.parametrize(
    ("kl", "words"),
    [
        (Estimate(math.inf, math.inf, math.inf), "whole interval"),
        (Estimate(0.5, math.nan, math.nan, trusted=False), "too little text"),
    ],
)
def test_fail_above_of_an_infinite_or_unsure_loss(
    monkeypatch: pytest.MonkeyPatch, kl: Estimate, words: str
) -> None:
    monkeypatch.setattr(COMPARE, "compare", lambda *_, **__: replace(comparison(), kl=kl))
    result = run("compare", "p", "q", "--fail-above", 0.1)
    assert result.exit_code == 1
    assert words in result.stderr


def test_our_errors_are_a_message_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TokenizerMismatch("other [tokens] at 3: give models with one tokeniser")

    monkeypatch.setattr(COMPARE, "compare", refuse)
    result = run("compare", "p", "q")
    assert result.exit_code == 2
    assert result.stderr == "Error: other [tokens] at 3: give models with one tokeniser\n"
    assert result.stdout == ""


def test_other_errors_are_a_traceback_and_not_the_code_of_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(COMPARE, "compare", fail)
    result = run("compare", "p", "q", "--fail-above", 1)
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "RuntimeError: a bug" in result.stderr


def test_a_limit_that_is_no_number_is_refused(calls: list[dict[str, Any]]) -> None:
    result = run("compare", "p", "q", "--fail-above", "nan")
    assert result.exit_code == 2
    assert "is no limit" in result.stderr
    assert calls == []


def test_one_document_of_one_chunk_has_no_interval_on_screen_or_in_json(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("p", "q"):
        logits, tokens = rng.normal(size=(20, 9)), rng.integers(9, size=20)
        np.savez(tmp_path / f"{name}.npz", logits=logits, tokens=np.zeros_like(tokens))
    report = tmp_path / "report.json"
    result = run("compare", tmp_path / "p.npz", tmp_path / "q.npz", "--json", report)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("Perplexity")]
    assert len(lines) == 3
    assert all(line.split()[-1] == "none" for line in lines)
    perplexity = json.loads(report.read_text(encoding="utf-8"))["perplexity"]
    for name in ("reference", "candidate", "ratio"):
        assert perplexity[f"{name}_interval"] == {"low": None, "high": None, "stderr": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "9" * 23], "does not fit 64 bits"),
        (["--device", "cuda:99"], "cannot be used here"),
        (["--dtype", "float33"], "choose auto, float32"),
        (["--context", "16"], "leave out context"),
    ],
)
def test_options_that_cannot_be_are_refused_on_files_too(
    tmp_path: Path, options: list[str], words: str
) -> None:
    np.save(tmp_path / "p.npy", np.zeros((4, 3)))
    result = run("compare", tmp_path / "p.npy", tmp_path / "p.npy", *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p"], "nothing to compare the reference with"),
        (["p", "q", "--quantize", "int8"], "leave one out"),
    ],
)
def test_a_candidate_or_a_recipe_but_not_both(
    calls: list[dict[str, Any]], arguments: list[str], words: str
) -> None:
    result = run("compare", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["p", "q", "--quantize", "int3"],
        ["p", "q", "--documents", "pages"],
        ["p", "q", "--confidence", "95"],
        ["p", "q", "--context", "1"],
        [],
    ],
)
def test_a_wrong_command_line(calls: list[dict[str, Any]], arguments: list[str]) -> None:
    assert run("compare", *arguments).exit_code == 2
    assert calls == []


def test_saved_logits_from_end_to_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    p = rng.normal(size=(300, 40)).astype(np.float32)
    np.save(tmp_path / "p.npy", p)
    np.save(tmp_path / "q.npy", p + 0.1 * rng.normal(size=p.shape).astype(np.float32))
    result = run(
        "compare", tmp_path / "p.npy", tmp_path / "q.npy", "--json", tmp_path / "report.json"
    )
    assert result.exit_code == 0, result.output
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    # Noise of variance σ² on the logits costs about σ²/2 times what their spread leaves.
    assert 0.003 < read["kl"]["mean"] < 0.006
    assert read["positions"] == 300
    assert "300 positions" in result.stdout


def test_a_missing_file_from_end_to_end(tmp_path: Path) -> None:
    result = run("compare", tmp_path / "gone.npy", tmp_path / "gone.npy")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert "gone.npy" in "".join(result.stderr.split())


def test_several_candidates_are_ranked_and_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8))
    for name, noise in (("p", 0.0), ("near", 0.01), ("far", 0.5)):
        logits = rows + noise * rng.normal(size=rows.shape)
        ids = np.repeat(np.arange(8), 5)
        np.savez(tmp_path / f"{name}.npz", logits=logits, documents=ids)
    names = [tmp_path / f"{name}.npz" for name in ("p", "far", "near")]
    result = run("compare", *names, "--out", tmp_path / "out", "--fail-above", "0.05")
    assert result.exit_code == 1, result.output
    assert result.stdout.index("near.npz") < result.stdout.index("far.npz")
    assert "more than" in result.stdout
    assert "Failed, " in result.stderr
    assert "near" not in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    found = [Path(candidate["name"]).stem for candidate in summary["candidates"]]
    assert found == ["near", "far"]
    assert (tmp_path / "out" / "positions.parquet").exists()
    summary_file = tmp_path / "out" / "summary.json"
    summary_file.unlink()
    summary_file.symlink_to(tmp_path / "elsewhere")
    assert run("compare", *names, "--out", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_logs_give_an_interval(tmp_path: Path) -> None:
    for name, logs in (("p", (-0.5108256, -1.6094379)), ("q", (-0.6931472, -1.6094379))):
        row = dict(zip((" cat", " dog"), logs, strict=True))
        line = {"tokens": ["the", " cat"], "top_logprobs": [None, row]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line))
    names = [tmp_path / "p.jsonl", tmp_path / "q.jsonl"]
    result = run("compare", *names, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "othing bounds the KL from above" in " ".join(result.stdout.split())
    assert json.loads((tmp_path / "out.json").read_text())["kl"]["high"] in ("inf", None)
    for unused in (("--context", "64"), ("--warmup", "0"), ("--seed", "3"), ("--floor",)):
        refused = run("compare", *names, *unused)
        assert refused.exit_code == 2
        assert unused[0] in refused.stderr
    refused = run("compare", tmp_path, tmp_path, "--rounding", "0.1")
    assert "no side is a log" in refused.stderr
    # Without rounding: 0.6·log(0.6/0.5) + 0.2·log(0.2/0.2) + 0.2·log(0.2/0.3), the rest one event.
    exact = 0.6 * math.log(1.2) + 0.2 * math.log(2 / 3)
    lower = json.loads((tmp_path / "out.json").read_text())["kl"]["lower"]["mean"]
    assert exact * 0.999 < lower <= exact  # down to what the digits of the log leave open
