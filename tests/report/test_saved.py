"""`kullback report`: from what is on disk comes the page that was there, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.compare import compare
from kullback.errors import InputError
from kullback.report.folder import rewrite_report, write_folder
from kullback.report.saved import positions_in, ranking_in
from kullback.results import Comparison, Estimate, Floor, Ranking


def folder_of(tmp_path: Path, noises: tuple[float, ...]) -> tuple[Path, Any]:
    rng = np.random.default_rng(0)
    rows = 2 * rng.normal(size=(60, 8))
    paths = []
    for i, noise in enumerate((0.0, *noises)):
        logits = rows + noise * rng.normal(size=rows.shape)
        # An event that the candidate rules out: the KL is infinite there.
        logits[7, 3] = -np.inf if i == 2 else logits[7, 3]
        paths.append(tmp_path / f"side{i}.npz")
        np.savez(paths[-1], logits=logits, documents=np.repeat(np.arange(12), 5))
        rng = np.random.default_rng(1)
    given = paths[1:] if len(paths) > 2 else paths[1]
    out = tmp_path / "out"
    return out, compare(paths[0], given, out=out, confidence=0.9)


def written(result: Any, out: Path) -> bytes:
    write_folder(result, out)
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    return page


@pytest.mark.parametrize("noises", [(0.3,), (0.2, 0.5), (0.3, 0.3, 0.1)])
def test_the_page_is_the_one_that_compare_wrote(tmp_path: Path, noises: tuple[float, ...]) -> None:
    out, result = folder_of(tmp_path, noises)
    page = written(result, out)
    found = CliRunner().invoke(app, ["report", str(out)])
    assert found.exit_code == 0, found.output
    assert found.stdout.split() == [str(out / "report.html")]
    assert (out / "report.html").read_bytes() == page


def test_what_positions_do_not_tell_comes_from_the_summary(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path, (0.3,))
    assert isinstance(result, Comparison)
    floor = Floor(Estimate(1e-9, 5e-10, 2e-9), Estimate(0.03, 0.02, 0.04, confidence=0.9))
    wide = replace(result.kl, low=0.001, high=0.9, stderr=0.1, diagnosis="looked at often")
    told = replace(
        result,
        floor=floor,
        kl=wide,
        notes=(*result.notes, "one <b>more</b>"),
        provenance={**result.provenance, "precision": "5%"},
    )
    page = written(told, out)
    assert b"0.900" in page
    rewrite_report(out)
    assert (out / "report.html").read_bytes() == page


def changed(out: Path, key: str, value: Any) -> None:
    path = out / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


def test_files_of_different_runs_are_refused(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path, (0.3,))
    write_folder(result, out)
    page = (out / "report.html").read_bytes()
    changed(out, "kl", {**result.to_dict()["kl"], "mean": 0.5})
    with pytest.raises(InputError, match=r"mean KL of .* not of one run"):
        rewrite_report(out)
    changed(out, "positions", 59)
    with pytest.raises(InputError, match=r"has 60 positions of .* tells of 59"):
        rewrite_report(out)
    assert (out / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    "summary", ["", "[]", "{}", "[" * 9999, '{"candidates": []}', '{"candidates": [{"name": []}]}']
)
def test_a_summary_that_is_none_is_refused(tmp_path: Path, summary: str) -> None:
    out, result = folder_of(tmp_path, (0.3,))
    write_folder(result, out)
    (out / "summary.json").write_text(summary)
    with pytest.raises(InputError, match="holds no finished comparison"):
        rewrite_report(out)


def test_a_folder_without_positions_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert found.exit_code == 2
    assert "positions.parquet is missing" in " ".join(found.stderr.split())
    (tmp_path / "positions.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="no Parquet file"):
        rewrite_report(tmp_path)


def test_a_folder_that_is_not_there_or_not_whole_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        rewrite_report(tmp_path / "nowhere")
    (tmp_path / "parts").mkdir()
    with pytest.raises(InputError, match=r"interrupted: give the same .* --out .* again"):
        rewrite_report(tmp_path)


def test_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path, (0.3, 0.5))
    assert isinstance(result, Ranking)
    write_folder(result, out)
    candidates = json.loads((out / "summary.json").read_text())["candidates"]
    for size in (-1, "12", 10**400):
        changed(out, "candidates", [{**candidate, "bytes": size} for candidate in candidates])
        with pytest.raises(InputError, match="bytes"):
            rewrite_report(out)


def classifier(tmp_path: Path) -> tuple[Path, Comparison]:
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(90, 3))
    labels = rng.integers(0, 3, 90)
    groups = np.array(["north", "south"])[rng.integers(0, 2, 90)]
    np.savez(
        tmp_path / "p.npz",
        logits=logits,
        labels=labels,
        groups=groups,
        class_names=np.array(["cat", "dog", "<eel>"]),
    )
    np.savez(tmp_path / "q.npz", logits=logits + 0.5 * rng.normal(size=logits.shape))
    out = tmp_path / "out"
    result = compare(tmp_path / "p.npz", tmp_path / "q.npz", out=out)
    assert isinstance(result, Comparison)
    return out, result


def test_classes_groups_and_accuracies_come_back_as_they_were(tmp_path: Path) -> None:
    out, result = classifier(tmp_path)
    result = replace(result, precision_reached=False)
    write_folder(result, out)
    found = ranking_in(out, positions_in(out))
    assert isinstance(found, Comparison)
    assert found.to_dict() == result.to_dict()
    assert {part.name for part in found.by_class} == {"cat", "dog", "<eel>"}
    assert found.unit == "example"
    assert found.accuracy_difference == result.accuracy_difference


def test_classes_that_the_positions_do_not_have_are_refused(tmp_path: Path) -> None:
    out, result = classifier(tmp_path)
    write_folder(result, out)
    slices = result.to_dict()["by_class"]
    for told in (slices[:-1], [], [{**slices[0], "positions": 1}, *slices[1:]]):
        changed(out, "by_class", told)
        with pytest.raises(InputError, match=r"other classes or groups .* not of one run"):
            rewrite_report(out)
    changed(out, "by_class", [{"name": "cat"}])
    with pytest.raises(InputError, match="holds no finished comparison"):
        rewrite_report(out)
