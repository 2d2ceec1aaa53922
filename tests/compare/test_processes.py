"""Many processes: the numbers of one, one report, and one message where one of them fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from kullback.compare import compare, processes
from kullback.compare.processes import Processes, group
from kullback.compare.shares import readers_of
from kullback.compare.windows import Window, batches, cut
from kullback.errors import ComparisonError, InputError

launches = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch without distributed"
)
SIZES = [40, 7, 300, 25, 61, 12, 33, 90]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Saved logits of eight documents; one of them is longer than half of the text."""
    folder = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(0)
    p = rng.normal(size=(sum(SIZES), 17)) * 2
    about = {
        "documents": np.repeat([f"d{i}" for i in range(len(SIZES))], SIZES),
        "tokens": rng.integers(0, 17, sum(SIZES)),
    }
    np.savez(folder / "p.npz", logits=p, **about)
    np.savez(folder / "q.npz", logits=p + 0.2 * rng.normal(size=p.shape), **about)
    return folder / "p.npz", folder / "q.npz"


def launched(*command: Any, size: int = 2, **environment: Any) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", size]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [str(word) for word in (*run, *command)],
        env={name: str(value) for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=500,
    )


def numbers(thing: Any) -> dict[str, float]:
    """Every number in a nested report, by its path."""
    if isinstance(thing, dict):
        pairs = [(key, value) for key, value in thing.items() if key != "provenance"]
    elif isinstance(thing, list):
        pairs = list(enumerate(thing))
    else:
        return {"": thing} if isinstance(thing, int | float) else {}
    return {f"{k}/{path}": x for k, v in pairs for path, x in numbers(v).items()}


def assert_same(found: Any, expected: Any) -> None:
    found, expected = numbers(found), numbers(expected)
    assert len(expected) > 30
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name


def text(sizes: list[int], context: int = 8) -> list[Window]:
    tokens = [np.arange(size) for size in sizes]
    return cut(tokens, [str(size) for size in sizes], context=context, warmup=1).items


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_group_has_one_reader_and_none_much_more_than_the_rest(size: int, batch: int) -> None:
    groups = list(batches(text(SIZES), batch))
    readers = readers_of(groups, size)
    assert len(readers) == len(groups)
    tokens = [sum(len(window.tokens) for window in group) for group in groups]
    loads = [
        sum(n for n, r in zip(tokens, readers, strict=True) if r == rank) for rank in range(size)
    ]
    # What is dealt out at once is at most an even share, or one group.
    even = sum(tokens) / size
    assert max(loads) <= even + max(even, *tokens)
    assert max(loads) <= 4 / 3 * max(even, *tokens)
    shares = [Processes(rank, size).share(groups) for rank in range(size)]
    assert sorted(id(g) for share in shares for g in share) == sorted(map(id, groups))


def test_documents_stay_whole_unless_one_is_more_than_a_share() -> None:
    groups = [[window] for window in text(SIZES)]
    readers = readers_of(groups, 2)
    by_document: dict[int, set[int]] = {}
    for found, rank in zip(groups, readers, strict=True):
        by_document.setdefault(found[0].document, set()).add(rank)
    assert {document for document, ranks in by_document.items() if len(ranks) > 1} == {2}


def test_alone_nothing_is_exchanged() -> None:
    with group() as found:
        assert (found.rank, found.size, found.is_first) == (0, 1, True)
        assert found.gathered(3) == [3]
        assert found.from_first(lambda: 4) == 4
        count = found.counter()
        assert (count(2), count(3), found.counter()(1)) == (2, 5, 1)
        assert found.device("cuda") == "cuda"
        found.agree({"text": "any"})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE='two'"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK='-1'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 is no process of WORLD_SIZE=2"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "does not find the others"),
    ],
)
def test_what_is_no_launchers_environment_is_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((InputError, ComparisonError), match=message), group():
        pass


class Counters(Counter[str]):
    """As a store of torch counts."""

    def add(self, name: str, more: int) -> int:
        self[name] += more
        return self[name]


def test_a_wait_ends_when_nobody_moves_or_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr(processes, "_LAST_WORDS_SECONDS", 0.0)
    store = Counters()
    one, other = (Processes(rank, 2, rank, store) for rank in (0, 1))
    with pytest.raises(ComparisonError, match=r"1 of 2 processes did not move for 0:00:00\.2"):
        one.gathered(1)
    failed = other.failure(InputError("no such file"))
    assert str(failed) == "process 1 of 2: no such file"
    with pytest.raises(ComparisonError, match="another process failed") as waiting:
        one.gathered(1)
    assert "process 0 of 2 stopped, since another failed" in str(one.failure(waiting.value))


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = [Processes(rank, 3, rank) for rank in range(3)]
    assert [rank.device(None) for rank in ranks] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [rank.device("cpu") for rank in ranks] == ["cpu"] * 3
    assert ranks[0].device("cuda:1") == "cuda:1"
    assert Processes().device(None) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert ranks[1].device(None) is None


def test_a_precision_is_refused(sides: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"precision=0\.02 .* start one process"):
        compare(*sides, precision=0.02, processes=Processes(0, 2))


EXCHANGES = """
import json, sys
from pathlib import Path
from kullback.compare.processes import group
from kullback.errors import InputError

with group() as found:
    about = {"text": 1, "reference": {"sha": 2, "device": found.rank}}
    found.agree(about)
    count = found.counter()
    count(found.rank + 1)
    all_here = found.gathered(found.rank)
    told = [found.gathered(found.rank), found.from_first(lambda: f"from {found.rank}"), count(0)]
    about["reference"]["sha"] += found.rank
    try:
        found.agree(about)
    except InputError as error:
        told.append(str(error))
    Path(sys.argv[1], f"{found.rank}.json").write_text(json.dumps(told))
"""


@launches
def test_what_is_exchanged_is_the_same_everywhere(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(EXCHANGES)
    ended = launched(tmp_path / "run.py", tmp_path)
    assert ended.returncode == 0, ended.stderr
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert told[0][:3] == [[0, 1], "from 0", 3]
    assert "they differ in reference.sha (2 in process 0, 3 in process 1);" in told[0][3]


@launches
@pytest.mark.parametrize("batch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_two_processes_have_the_numbers_of_one(
    sides: tuple[Path, Path], tmp_path: Path, batch: int
) -> None:
    ended = launched(
        "-m", "kullback", "compare", *sides, "--batch", batch, "--json", tmp_path / "found.json"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the candidate loses") == 1
    assert_same(
        json.loads((tmp_path / "found.json").read_text()), compare(*sides, batch=batch).to_dict()
    )


FAILING = """
import os, sys, time
from kullback.cli import app
from kullback.compare.readers.arrays import SavedArrays
from kullback.errors import InputError

read, rows = [], SavedArrays.rows

def failing(self, windows):
    read.append(windows)
    if os.environ["RANK"] == os.environ["FAILS"] and len(read) == 3:
        time.sleep(3)
        raise eval(os.environ["WITH"])
    if os.environ["RANK"] != os.environ["FAILS"] and len(read) == 3:
        time.sleep(60)
    return rows(self, windows)

SavedArrays.rows = failing
app(prog_name="kullback")
"""


@launches
@pytest.mark.parametrize("fails", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_one_that_fails_says_why_and_what_was_finished_is_kept(
    sides: tuple[Path, Path], tmp_path: Path, fails: int
) -> None:
    (tmp_path / "run.py").write_text(FAILING)
    command = (tmp_path / "run.py", "compare", *sides, "--out", tmp_path / "out")
    ended = launched(*command, FAILS=fails, WITH="InputError('the disk is on fire')")
    assert ended.returncode != 0
    assert f"Error: process {fails} of 2: the disk is on fire" in " ".join(ended.stderr.split())
    assert "exitcode  : 2" in ended.stderr
    assert not (tmp_path / "out" / "positions.parquet").exists()
    # A group by the one that failed, and one by the other, which was terminated.
    parts = sorted(path.name for path in (tmp_path / "out" / "parts").iterdir())
    assert parts == ["part-000-00000.parquet", "part-001-00000.parquet"]
    kept = sum(pq.read_metadata(tmp_path / "out" / "parts" / name).num_rows for name in parts)
    assert 0 < kept < sum(SIZES)
    # It goes on with another number of processes.
    whole, rest = compare(*sides, out=tmp_path / "whole"), compare(*sides, out=tmp_path / "out")
    tables = [pq.read_table(tmp_path / name / "positions.parquet") for name in ("whole", "out")]
    assert tables[0].equals(tables[1])
    assert_same(rest.to_dict(), whole.to_dict())


@launches
def test_two_processes_fill_one_folder(sides: tuple[Path, Path], tmp_path: Path) -> None:
    whole = compare(*sides, out=tmp_path / "one")
    ended = launched("-m", "kullback", "compare", *sides, "--out", tmp_path / "two")
    assert ended.returncode == 0, ended.stderr
    assert_same(json.loads((tmp_path / "two" / "summary.json").read_text()), whole.to_dict())
    tables = [pq.read_table(tmp_path / name / "positions.parquet") for name in ("one", "two")]
    assert tables[0].equals(tables[1])
    assert not (tmp_path / "two" / "parts").exists()


@launches
def test_a_common_error_is_told_once(sides: tuple[Path, Path], tmp_path: Path) -> None:
    ended = launched("-m", "kullback", "compare", sides[0], tmp_path / "none.npz")
    assert ended.returncode != 0
    assert ended.stderr.count("there is no file or folder") == 1


def test_windows_that_share_a_chunk_are_kept_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("p", "q"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(2, 600, 5)))
    sides = tmp_path / "p.npy", tmp_path / "q.npy"

    def stop(done: int, total: int) -> None:
        if done > 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(*sides, out=tmp_path / "out", progress=stop)
    assert compare(*sides, out=tmp_path / "out").to_dict()["positions"] == 1200
