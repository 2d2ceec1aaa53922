"""Estimates on the battery's cells, one row a seed, kept in a JSON file as they come.

All contenders see the same draws. A file holds one block for each (divergence, cell, n, method);
what is in it is not run again, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kullback.errors import KullbackError
from kullback.samples.door import estimate
from sample_cells import CELLS
from sample_peers import available

KNOWN = "known densities"
"""The mean of the true log-ratio over P's draws: what the draws themselves leave unsure."""


class Row(NamedTuple):
    """One estimate; `low` and `high` are NaN for what gives no interval."""

    seed: int
    value: float
    low: float
    high: float
    trusted: bool
    seconds: float


class Task(NamedTuple):
    """Some seeds of one block."""

    divergence: str
    cell: str
    n: int
    method: str
    seeds: tuple[int, ...]


@dataclass
class Block:
    """All rows of one (divergence, cell, n, method), and what was said instead of a row."""

    rows: list[Row] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def seeds(self) -> set[int]:
        return {row.seed for row in self.rows} | set(self.refused)


Key = tuple[str, str, int, str]
Blocks = dict[Key, Block]


def draws(cell: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The draws that every contender sees."""
    rng = np.random.default_rng([zlib.crc32(cell.encode()), n, seed])
    return CELLS[cell].draw(rng, n)


def run(task: Task) -> tuple[Task, Block]:
    """The rows of a task. Seconds are of the process's CPU: a busy machine does not spoil them."""
    contender, block = _contender(task), Block()
    for seed in task.seeds:
        x, y = draws(task.cell, task.n, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = time.process_time()
            try:
                answer = contender(x, y, seed)
            except (KullbackError, ArithmeticError, ValueError) as error:
                block.refused[seed] = f"{type(error).__name__}: {error}"
                continue
            seconds = time.process_time() - began
        block.rows.append(Row(seed, *answer, seconds))
    return task, block


Answer = tuple[float, float, float, bool]


def _contender(task: Task) -> Callable[[np.ndarray, np.ndarray, int], Answer]:
    peer = available().get(task.method)
    if task.method == KNOWN:
        return lambda x, y, seed: _bare(float(CELLS[task.cell].log_ratio(x).mean()))
    if peer:
        return lambda x, y, seed: _bare(peer.estimate(x, y))

    def ours(x: np.ndarray, y: np.ndarray, seed: int) -> Answer:
        found: Any = estimate(x, y, divergence=task.divergence, method=task.method, seed=seed)
        return float(found), float(found.low), float(found.high), bool(found.trusted)

    return ours


def _bare(value: float) -> Answer:
    return value, math.nan, math.nan, True


def tasks(wanted: Iterable[Key], seeds: int, blocks: Blocks, chunk: int = 10) -> Iterator[Task]:
    """What is missing in `blocks`, a few seeds at a time: all cells early, all seeds late."""
    keys = list(wanted)
    for start in range(0, seeds, chunk):
        for key in keys:
            done = blocks[key].seeds() if key in blocks else set()
            missing = tuple(s for s in range(start, min(start + chunk, seeds)) if s not in done)
            if missing:
                yield Task(*key, missing)


def run_all(todo: list[Task], jobs: int) -> Iterator[tuple[Task, Block]]:
    """The tasks' blocks as they come, from `jobs` processes of one thread each."""
    if jobs == 1:
        yield from map(run, todo)
        return
    from multiprocessing import get_context

    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, todo)


def read(path: Path) -> Blocks:
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))["blocks"]
    return {
        (b["divergence"], b["cell"], b["n"], b["method"]): Block(
            [Row(*row) for row in b["rows"]], {int(s): said for s, said in b["refused"].items()}
        )
        for b in kept
    }


def write(path: Path, blocks: Blocks) -> None:
    """All blocks, in place of the file at once."""
    kept = [
        {
            "divergence": divergence,
            "cell": cell,
            "n": n,
            "method": method,
            "truth": CELLS[cell].truth[divergence],
            "rows": sorted(block.rows),
            "refused": block.refused,
        }
        for (divergence, cell, n, method), block in sorted(blocks.items())
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    lines = ",\n".join(json.dumps(block, ensure_ascii=False) for block in kept)
    beside.write_text(f'{{"blocks": [\n{lines}\n]}}\n', encoding="utf-8")
    beside.replace(path)
