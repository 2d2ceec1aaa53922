"""The JSON file: valid, complete under its documented keys, and written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kullback.errors import InputError
from kullback.report import json_file
from kullback.report.json_file import check_writable, to_json, write_json
from synthetic import comparison, positions

DOCUMENT = Path(__file__).parents[2] / "docs" / "compare.md"


def strict(text: str) -> dict:
    """JSON as the standard has it, without Python's NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def leaves(tree: object, path: str = "") -> set[str]:
    """The dotted keys of a tree, [] for the items of a list; free-form branches end early."""
    if path in ("provenance", "columns"):
        return {path}
    if isinstance(tree, dict):
        return {k for key, item in tree.items() for k in leaves(item, f"{path}.{key}".strip("."))}
    if isinstance(tree, list):
        items = [leaf for item in tree for leaf in leaves(item, f"{path}[]")]
        return set(items) or {f"{path}[]"}
    return {path}


def test_keys_of_the_issue_are_there() -> None:
    result = comparison()
    tree = strict(to_json(result))
    assert tree["kl"]["mean"] == result.kl.value
    assert tree["kl"]["low"] == result.kl.low
    assert tree["kl"]["high"] == result.kl.high
    assert tree["kl"]["stderr"] == result.kl.stderr
    assert tree["kl"]["percentiles"] == result.percentiles
    assert tree["reverse_kl"]["mean"] == result.reverse_kl.value
    assert tree["js"]["mean"] == result.js.value
    assert tree["total_variation"]["mean"] == result.total_variation.value
    assert tree["same_top"]["mean"] == result.same_top.value
    assert tree["perplexity"]["reference"] == float(result.perplexity_reference)
    assert tree["perplexity"]["candidate"] == float(result.perplexity_candidate)
    assert tree["positions"] == result.positions
    assert tree["documents"] == 8
    assert tree["convention"] == "careful"
    assert tree["provenance"]["reference"]["hash"] == "12"
    assert tree["provenance"]["tokenizer"] is None


def test_every_key_is_documented_and_every_documented_key_is_there() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## The JSON file")[1].split("\n## ")[0]
    documented = set()
    for row in re.findall(r"^\| (`.+?) \|", section, flags=re.M):
        names = re.findall(r"`([^`]+)`", row)
        stem = names[0].rpartition(".")[0]
        documented |= {name.replace("…", stem) for name in names}
    estimates = {d for d in documented if d.endswith(".*")}
    fields = ("mean", "low", "high", "stderr", "trusted", "diagnosis")
    documented -= estimates
    documented |= {d.replace("*", field) for d in estimates for field in fields}
    assert leaves(strict(to_json(comparison(notes=["a note"])))) == documented


def test_infinity_and_what_is_unknown_are_valid_json() -> None:
    batch = positions()
    kl = batch.statistics["kl"].copy()
    kl[0] = math.inf
    batch = replace(batch, statistics=batch.statistics | {"kl": kl}, token=np.full(len(batch), -1))
    tree = strict(to_json(comparison(batch)))
    assert tree["kl"]["mean"] == tree["kl"]["percentiles"]["max"] == "inf"
    assert float(tree["kl"]["high"]) == math.inf
    assert tree["kl"]["stderr"] is None
    assert tree["perplexity"]["reference"] is None
    assert tree["delta_p"] is None


def test_a_file_reads_back_as_it_was(tmp_path: Path) -> None:
    result = comparison(notes=["Δp and ‖ survive"])
    write_json(result, tmp_path / "report.json")
    read = strict((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert read == result.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_is_as_readable_as_others(tmp_path: Path) -> None:
    write_json(comparison(), tmp_path / "report.json")
    (tmp_path / "other").write_text("")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_an_interrupted_write_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("older")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(json_file.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_json(comparison(), path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "report.json")
    with pytest.raises(InputError, match="is a folder"):
        write_json(comparison(), tmp_path)


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(path.read_text(encoding="utf-8")))
    reader.start()
    write_json(comparison(), path)
    reader.join(timeout=10)
    assert strict(found[0])["documents"] == 8
    assert stat.S_ISFIFO(path.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_stays_one() -> None:
    write_json(comparison(), os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, there: bool) -> None:
    (tmp_path / "reports").mkdir()
    target, link = tmp_path / "reports" / "new.json", tmp_path / "latest.json"
    if there:
        target.write_text("older")
    link.symlink_to(target)
    write_json(comparison(), link)
    assert link.is_symlink()
    assert strict(target.read_text(encoding="utf-8"))["documents"] == 8


def test_names_at_and_beyond_what_a_file_system_takes(tmp_path: Path) -> None:
    write_json(comparison(), tmp_path / ("n" * 250 + ".json"))
    with pytest.raises(InputError, match=r"cannot write JSON to .*too long"):
        check_writable(tmp_path / ("n" * 300))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=r"cannot write JSON to .*symbolic links"):
        check_writable(tmp_path / "loop")


@pytest.mark.parametrize("reached", [True, False, None])
def test_whether_the_precision_was_reached_is_a_key(reached: bool | None) -> None:
    tree = strict(to_json(replace(comparison(), precision_reached=reached)))
    assert tree["precision_reached"] is reached
