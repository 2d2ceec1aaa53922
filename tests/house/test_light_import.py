"""`import kullback` costs little more than torch, and loads nothing that only one room needs."""

from __future__ import annotations

import statistics
import subprocess
import sys

HEAVY = {
    "accelerate",
    "gguf",
    "ibis",
    "matplotlib",
    "numba",
    "pandas",
    "plotly",
    "rich",
    "safetensors",
    "scipy",
    "torchao",
    "transformers",
    "triton",
    "typer",
}

PROBE = """
import sys, time
import torch
before = set(sys.modules)
start = time.process_time()
import kullback
print(time.process_time() - start)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def import_in_fresh_process() -> tuple[float, set[str]]:
    output = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True
    ).stdout
    seconds, packages = output.splitlines()
    return float(seconds), set(packages.split())


def test_import_is_light() -> None:
    runs = [import_in_fresh_process() for _ in range(3)]
    loaded = runs[0][1]
    assert "kullback" in loaded
    assert loaded & HEAVY == set(), "import these inside the functions that use them"
    # A quarter of a second of the processor's own time, most of it for the closed forms; half a
    # second leaves none for a compiler or a data frame library under another name.
    assert statistics.median(seconds for seconds, _ in runs) < 0.5
