"""`kullback compare` on models in folders: what is kept, resumed, refused, and the exit code."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.cli.limit import failures_of_logs
from kullback.compare import run as passes
from kullback.compare import sides
from kullback.compare.incomplete import IncompleteComparison
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.results import Estimate

from .conftest import TEXT


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})


def said(result: Any) -> str:
    return " ".join(result.stderr.split())


@pytest.fixture
def command(make_model: Callable[..., HuggingFaceModel], tmp_path: Path) -> list[object]:
    """A comparison of two small models in folders, without options beyond the cut."""
    for seed in (0, 1):
        side = make_model(seed=seed)
        side.model.save_pretrained(tmp_path / f"model-{seed}")
        side.tokenizer.save_pretrained(tmp_path / f"model-{seed}")
    (tmp_path / "text.txt").write_text("\n".join([TEXT, TEXT[40:], TEXT[::-1], TEXT[20:]]))
    models = (tmp_path / "model-0", tmp_path / "model-1")
    cut = ("--documents", "lines", "--context", 32, "--warmup", 8)
    return ["compare", *models, "--text", tmp_path / "text.txt", *cut]


def test_floor_folder_and_limit_together(command: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(*command, "--floor", "--out", out, "--fail-above", 1e-6)
    assert result.exit_code == 1, result.output
    # Random models lose nats: the limit is judged by the candidate and not by its floor.
    assert "so is its whole interval" in said(result)
    assert "noise floor" in result.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["floor"]["kl"]["mean"] < 1e-6 < summary["kl"]["mean"]
    assert (out / "report.html").stat().st_size > 1000
    names = set(pq.read_table(out / "positions.parquet")["candidate"].to_pylist())
    floors = {name for name in names if name.startswith("(noise floor: ")}
    assert names - floors == {str(tmp_path / "model-1")}
    assert len(floors) == 1
    assert run(*command, "--floor", "--out", out, "--fail-above", 1e6).exit_code == 0


def test_a_run_with_floor_and_limit_goes_on_where_it_stopped(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--floor", "--fail-above", 1e-6, "--out")
    whole = run(*command, *options, tmp_path / "whole")
    monkeypatch.setattr(passes, "_PART_SECONDS", -1.0)
    add, added = passes._Writer.end, []

    def stop(writer: Any, group: Any) -> None:
        add(writer, group)
        added.append(group)
        if len(added) == 3:
            raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(passes._Writer, "end", stop)
        assert run(*command, *options, tmp_path / "stopped").exit_code == 3
    assert (tmp_path / "stopped" / "parts").is_dir()
    resumed = run(*command, *options, tmp_path / "stopped")
    assert (resumed.exit_code, said(resumed)) == (1, said(whole))
    tables = [pq.read_table(tmp_path / name / "positions.parquet") for name in ("whole", "stopped")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--warmup", 4), "warmup (8 there, 4 here)"),
        (("--seed", 3), "seed (0 there, 3 here)"),
        (("--batch", 2), "batch (1 there, 2 here)"),
        (("--documents", "files"), "documents ('lines' there, 'files' here)"),
        (("--floor",), "candidates ('"),
    ],
)
def test_a_setting_that_differs_is_named_with_both_values(
    command: list[object], tmp_path: Path, option: tuple[object, ...], words: str
) -> None:
    out = tmp_path / "out"
    assert run(*command, "--out", out).exit_code == 0
    refused = run(*command, "--out", out, *option)
    assert refused.exit_code == 2
    assert f"which differs in {words}" in said(refused)
    assert "give what was given there" in said(refused)


@pytest.mark.parametrize("name", ["summary.json", "report.html", "positions.parquet"])
def test_a_folder_in_the_way_is_seen_before_the_work(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    monkeypatch.delattr(sides, "open_sides")
    refused = run(*command, "--out", tmp_path / "out")
    assert refused.exit_code == 2, refused.stderr
    assert "is no plain file" in said(refused)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "pyarrow"])
def test_a_missing_package_is_seen_before_the_work(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.delattr(sides, "open_sides")
    monkeypatch.setitem(sys.modules, package, None)
    refused = run(*command, "--out", tmp_path / "out")
    assert refused.exit_code == 2, refused.stderr
    assert package in said(refused)
    assert 'pip install "kullback[report]"' in said(refused)


def logged(low: float, high: float, *, known: bool = True) -> IncompleteComparison:
    """What two logs tell, with sampling intervals a tenth of a nat wide either way if `known`."""
    apart = 0.1 if known else math.nan
    ends = [Estimate(value, value - apart, value + apart) for value in (low, high)]
    return IncompleteComparison(*ends, *ends, *ends, 10, 0, 0, 2, "document", 0.95)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (0.2, "at least 0.4 nats"),
        (0.4, "cannot be told"),
        (0.45, "cannot be told"),
        (1.05, "cannot be told"),
        (1.1, None),
        (2.0, None),
    ],
)
def test_logs_fail_a_limit_that_they_do_not_show_to_be_kept(
    limit: float, words: str | None
) -> None:
    found = failures_of_logs(logged(0.5, 1.0), limit)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_logs_without_a_sampling_interval_are_judged_by_their_means() -> None:
    found = logged(0.5, math.inf, known=False)
    assert "at least 0.5 nats" in failures_of_logs(found, 0.45)[0]
    assert "between 0.5 and inf" in failures_of_logs(found, 0.5)[0]


def test_a_limit_for_logs_from_end_to_end(tmp_path: Path) -> None:
    for name, logs in (("p", (-0.5108256, -1.6094379)), ("q", (-0.6931472, -1.6094379))):
        row = dict(zip((" cat", " dog"), logs, strict=True))
        line = {"tokens": ["the", " cat"], "top_logprobs": [None, row]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line))
    names = [tmp_path / "p.jsonl", tmp_path / "q.jsonl"]
    # The lower end is 0.0283 nats, and nothing bounds the upper one.
    for limit, words in ((0.02, "at least 0.02829 nats"), (0.03, "cannot be told")):
        result = run("compare", *names, "--fail-above", limit)
        assert result.exit_code == 1
        assert words in said(result)
    small = run("compare", *names, "--fail-above", 2, "--log-prob-floor", -3, "--vocabulary", 4)
    assert small.exit_code == 0, small.output
    several = run("compare", *names, names[1])
    assert several.exit_code == 2
    assert "one by one" in said(several)
