"""Estimates from draws alone: whether intervals cover, how far values are off, and the time.

On every cell of the battery (`sample_cells.py`), whose divergences are known, stand side by side
`kullback.estimate` by each method, the peers' estimators of KL (`sample_peers.py`: value and time
only) and the mean of the true log-ratio, which is what the draws themselves leave unsure.

    python benchmarks/samples.py                                     # a look, in minutes
    python benchmarks/samples.py --n 1000 10000 50000 --seeds 200 --jobs 2 --json build/samples.json
    python benchmarks/samples.py --methods peers --seeds 20
    python benchmarks/samples.py --parts times --large

What the JSON file holds already is not run again; `--again` forgets the methods asked for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console

from kullback.samples.door import METHODS
from sample_cells import CELLS
from sample_peers import available, missing
from sample_runs import KNOWN, Block, Blocks, Key, read, run_all, tasks, write
from sample_tables import coverage_table, error_table, targets_table, times_table

SAVE_EVERY = 20.0
WIDTH = 230
"""So that a table of all contenders keeps its numbers on one line."""


def main() -> None:
    options = _options()
    console, path = Console(width=max(Console().width, WIDTH)), options.json
    blocks = read(path) if path else {}
    if missing():
        console.print(f"Not installed, and left out: {', '.join(missing())}")
    if "estimates" in options.parts:
        keys = _keys(options)
        if options.again:
            blocks = {key: block for key, block in blocks.items() if key not in keys}
        _measure(keys, options, blocks)
        shown = {key: blocks[key] for key in keys if key in blocks}
        for n in options.n:
            console.print(error_table(shown, options.divergence, n))
            console.print(coverage_table(shown, options.divergence, n))
        console.print(targets_table(shown, options.divergence))
        if options.pictures:
            from sample_pictures import draw

            console.print(*draw(blocks, options.divergence, options.pictures))
    if "times" in options.parts:
        from sample_times import LARGE, SMALL, timings

        for timing in timings(LARGE if options.large else SMALL):
            console.print(times_table(timing))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="estimates from draws alone, on known pairs")
    parser.add_argument("--parts", nargs="+", choices=["estimates", "times"], default=["estimates"])
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=[*METHODS, *available(), "peers", KNOWN],
        default=[*METHODS, "peers", KNOWN],
    )
    parser.add_argument("--divergence", default="kl", help="peers know kl only")
    parser.add_argument("--n", nargs="+", type=int, default=[1_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--slow-seeds", type=int, default=10, help="for pairwise kernel densities")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where results are kept, and looked for")
    parser.add_argument("--pictures", type=Path, help="a folder for the manual's pictures")
    parser.add_argument("--again", action="store_true", help="measure what is in the file anew")
    parser.add_argument("--large", action="store_true", help="the times at the issue's sizes")
    return parser.parse_args()


def _keys(options: argparse.Namespace) -> list[Key]:
    """Every (divergence, cell, n, method) asked for that makes sense."""
    peers = available()
    names = [m for m in options.methods if m != "peers"]
    names += [name for name in peers if "peers" in options.methods and name not in names]
    return [
        (options.divergence, cell, n, name)
        for n in options.n
        for cell in options.cells
        for name in names
        if options.divergence in CELLS[cell].truth
        and _fits(name, cell, n, options.divergence == "kl")
    ]


def _fits(name: str, cell: str, n: int, is_kl: bool) -> bool:
    peer = available().get(name)
    if peer is None and name != KNOWN:
        return True
    return is_kl and (peer is None or peer.applies(CELLS[cell], n))


def _measure(keys: list[Key], options: argparse.Namespace, blocks: Blocks) -> None:
    """Run what is missing into `blocks`, and keep it in the file as it comes."""
    peers = available()
    slow = [key for key in keys if key[3] in peers and peers[key[3]].slow and key[2] > 1_000]
    fast = [key for key in keys if key not in slow]
    todo = list(tasks(fast, options.seeds, blocks))
    todo += tasks(slow, min(options.seeds, options.slow_seeds), blocks)
    saved = time.monotonic()
    for done, (task, block) in enumerate(run_all(todo, options.jobs), start=1):
        into = blocks.setdefault(task[:4], Block())
        into.rows += block.rows
        into.refused |= block.refused
        if options.json and (time.monotonic() - saved > SAVE_EVERY or done == len(todo)):
            write(options.json, blocks)
            saved = time.monotonic()
            print(f"{done} of {len(todo)}: {' '.join(map(str, task[:4]))}", flush=True)


if __name__ == "__main__":
    main()
