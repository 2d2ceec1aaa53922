"""Positions on disk: a run that was stopped goes on, with the numbers of one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kullback.compare import compare, run
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.store import PositionStore, read_batches
from kullback.compare.store.schema import table_of
from kullback.errors import InputError
from synthetic import part, positions

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]
TEXTS = [TEXT, TEXT[40:], TEXT[::-1], TEXT[20:140]]


class Stopped(Exception):
    pass


def compared(p: Any, q: Any, out: Path | None = None, stop_after: int | None = None) -> Any:
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if stop_after is not None and len(calls) > stop_after:
            raise Stopped

    return compare(p, q, text=TEXTS, context=32, warmup=8, out=out, progress=progress)


def numbers(comparison: Any) -> dict[str, Any]:
    found = comparison.to_dict()
    del found["provenance"]
    return found


@pytest.fixture
def part_for_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PART_SECONDS", -1.0)


@pytest.mark.usefixtures("part_for_each_group")
def test_a_run_goes_on_where_it_stopped(make_model: MakeModel, tmp_path: Path) -> None:
    p, q = make_model(), make_model(seed=1)
    whole = compared(p, q, tmp_path / "whole")
    for stop_after in (0, 3, 4):
        with pytest.raises(Stopped):
            compared(p, q, tmp_path / "stopped", stop_after=stop_after)
    read = []

    def rows(windows: Any, rows: Any = q.rows) -> Any:
        read.extend(window.chunk for window in windows)
        return rows(windows)

    object.__setattr__(q, "rows", rows)
    found = compared(p, q, tmp_path / "stopped")
    # To the last bit: what is folded is the same table.
    assert numbers(found) == numbers(whole)
    assert 0 < len(read) < whole.chunks
    tables = [pq.read_table(tmp_path / name / "positions.parquet") for name in ("whole", "stopped")]
    assert tables[0].equals(tables[1])
    assert not list((tmp_path / "stopped").glob("parts*"))


def test_what_is_kept_is_what_was_read(make_model: MakeModel, tmp_path: Path) -> None:
    p, q = make_model(), make_model(seed=1)
    kept, passed = numbers(compared(p, q, tmp_path)), numbers(compared(p, q))
    for name in ("kl", "js", "same_top"):
        assert kept[name]["mean"] == pytest.approx(passed[name]["mean"], rel=1e-12)
        assert kept[name]["low"] == pytest.approx(passed[name]["low"], rel=1e-9)


def test_a_finished_run_is_read_again(make_model: MakeModel, tmp_path: Path) -> None:
    p, q = make_model(), make_model(seed=1)
    first = compared(p, q, tmp_path)
    before = (tmp_path / "positions.parquet").stat().st_mtime_ns
    assert numbers(compared(p, q, tmp_path, stop_after=0)) == numbers(first)
    assert (tmp_path / "positions.parquet").stat().st_mtime_ns == before


def test_another_run_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    compared(make_model(), make_model(seed=1), tmp_path)
    with pytest.raises(InputError, match="holds another comparison, which differs in") as raised:
        compared(make_model(), make_model(seed=2), tmp_path)
    for name in ("positions.parquet", "parts"):
        assert repr(str(tmp_path / name)) in str(raised.value)
        path = tmp_path / name
        path.rmdir() if path.is_dir() else path.unlink()
    compared(make_model(), make_model(seed=2), tmp_path)


@pytest.mark.usefixtures("part_for_each_group")
@pytest.mark.parametrize("damage", ["torn", "half-written", "empty"])
def test_a_torn_part_is_done_again(make_model: MakeModel, tmp_path: Path, damage: str) -> None:
    p, q = make_model(), make_model(seed=1)
    whole = compared(p, q, tmp_path / "whole")
    with pytest.raises(Stopped):
        compared(p, q, tmp_path / "torn", stop_after=3)
    last = max((tmp_path / "torn" / "parts").glob("part-*.parquet"))
    data = last.read_bytes()
    if damage == "half-written":
        last.with_suffix(".writing").write_bytes(data[:100])
    else:
        last.write_bytes(data[: len(data) // 2] if damage == "torn" else b"")
    assert numbers(compared(p, q, tmp_path / "torn")) == numbers(whole)


@pytest.mark.parametrize("names", [{"a": "b"}, {"a": "a"}])
def test_positions_survive_the_table(names: dict[str, str]) -> None:
    batch = positions(documents=3, per_document=40)
    table = table_of(batch, names["a"], ["x", "y", "z"], text_of=str)
    ((name, found),) = read_batches(table)
    assert name == names["a"]
    for key, values in batch.statistics.items():
        np.testing.assert_array_equal(found.statistics[key], values)
    for key in ("document", "chunk", "position", "token"):
        np.testing.assert_array_equal(getattr(found, key), getattr(batch, key))
    assert table["text"].to_pylist() == [str(token) for token in batch.token]


def test_a_run_stopped_while_cleaning_up_counts_nothing_twice(tmp_path: Path) -> None:
    batch = positions(documents=2, per_document=40)
    store = PositionStore(tmp_path, {"run": 1})
    chunks = np.unique(batch.chunk)
    for chunk in chunks:
        one = part(batch, batch.chunk == chunk)
        store.append([table_of(one, "q", ["x", "y"], None)], [int(chunk)])
    saved = {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    table = store.finish()
    (tmp_path / "parts").mkdir()
    for name in sorted(saved)[1:]:
        (tmp_path / "parts" / name).write_bytes(saved[name])
    again = PositionStore(tmp_path, {"run": 1})
    assert again.done == set(chunks.tolist())
    assert again.finish().num_rows == table.num_rows


@pytest.mark.parametrize("name", ["parts", "positions.parquet"])
def test_links_are_not_followed_out_of_the_folder(tmp_path: Path, name: str) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (outside / "mine.writing").write_text("mine")
    (out / name).symlink_to(outside if name == "parts" else outside / "mine.writing")
    with pytest.raises(InputError, match="is a link"):
        PositionStore(out, {"run": 1})
    assert (outside / "mine.writing").read_text() == "mine"


def test_a_link_in_the_way_of_the_table_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    batch = positions(documents=2, per_document=40)
    store = PositionStore(tmp_path / "out", {"run": 1})
    (tmp_path / "out" / "positions.writing").symlink_to(tmp_path / "mine")
    store.append([table_of(batch, "q", ["x", "y"], None)], [0])
    store.finish()
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "out" / "positions.parquet").is_symlink()


@pytest.mark.parametrize("name", ["positions.parquet", "parts/part-foo.parquet"])
def test_files_of_others_are_kept_and_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("my notes")
    with pytest.raises(InputError, match="no file of this command"):
        PositionStore(tmp_path, {"run": 1})
    assert path.read_text() == "my notes"


def test_a_table_that_lost_rows_is_not_believed(tmp_path: Path) -> None:
    batch = positions(documents=2, per_document=40)
    store = PositionStore(tmp_path, {"run": 1})
    store.append([table_of(batch, "q", ["x", "y"], None)], [0])
    store.finish()
    path = tmp_path / "positions.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 10).replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(InputError, match="damaged"):
        PositionStore(tmp_path, {"run": 1})


SCRIPT = """
import sys, time
from pathlib import Path
from kullback.compare import compare, run
run._PART_SECONDS = -1.0
texts = [Path(sys.argv[3]).read_text()[i * 400 : (i + 1) * 400] for i in range(12)]
def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.02)
found = compare(
    sys.argv[1], sys.argv[2], text=texts, context=64, warmup=16, out=sys.argv[4], progress=slowly
)
print(found.kl)
"""


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_numbers(
    make_model: MakeModel, tmp_path: Path
) -> None:
    for seed in (0, 1):
        side = make_model(seed=seed)
        side.model.save_pretrained(tmp_path / str(seed))
        side.tokenizer.save_pretrained(tmp_path / str(seed))
    (tmp_path / "text").write_text(TEXT * 30)

    def begun(out: str) -> subprocess.Popen[str]:
        given = [str(tmp_path / name) for name in ("0", "1", "text", out)]
        command = [sys.executable, "-c", SCRIPT, *given]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ended(out: str) -> tuple[str, Any]:
        last = begun(out).communicate()[0].splitlines()[-1]
        return last, pq.read_table(tmp_path / out / "positions.parquet")

    whole = ended("whole")
    chance = random.Random(0)
    killed, runs = 0, 0
    while killed < 20:
        running = begun(f"killed {runs}")
        assert running.stdout is not None
        # From the first window on, up to three more, and somewhere within one.
        for _ in range(chance.randint(1, 4)):
            running.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        running.stdout.close()
        if killed % 5 == 0:
            found = ended(f"killed {runs}")
            assert found[0] == whole[0]
            assert found[1].equals(whole[1])
            runs += 1
    assert runs >= 4
