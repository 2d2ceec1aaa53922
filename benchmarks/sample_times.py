"""How long estimates from draws take, beside the peers that do the same, in turns in one run.

The best of a few rounds counts, of wall time: what disturbs a run only ever makes it longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.samples.door import estimate
from sample_peers import available
from sample_runs import draws

NEIGHBOURS = "nearest_neighbors"
LARGE = {"neighbours": 50_000, "line": 10_000_000, "columns": 10_000, "auto": 1_000_000}
SMALL = {"neighbours": 2_000, "line": 100_000, "columns": 1_000, "auto": 20_000}
COLUMNS = 1_000


@dataclass(frozen=True)
class Timing:
    """Seconds by contender, ours first, and what the issue asks of them."""

    question: str
    seconds: dict[str, float]
    target: str
    reached: float
    met: bool


def timings(sizes: dict[str, int], rounds: int = 3) -> Iterator[Timing]:
    """One question after the other, as they are answered."""
    yield _neighbours(sizes["neighbours"], rounds)
    yield _line(sizes["line"], rounds)
    yield _columns(sizes["columns"], rounds)
    yield _auto(sizes["auto"], rounds)


def _best(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The best wall seconds of each, after one call that is not counted for ours, the first."""
    next(iter(contenders.values()))()
    best = dict.fromkeys(contenders, np.inf)
    for _ in range(rounds):
        for name, call in contenders.items():
            began = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def _estimate(x: np.ndarray, y: np.ndarray, method: str) -> Any:
    return estimate(x, y, divergence="kl", method=method)


def _neighbours(n: int, rounds: int) -> Timing:
    x, y = draws("gaussian 5d", n, 0)
    contenders: dict[str, Callable[[], Any]] = {"kullback": lambda: _estimate(x, y, NEIGHBOURS)}
    for name, peer in available().items():
        if "kNN" in name or name in ("npeet-plus", "Pérez-Cruz, k = 1"):
            contenders[name] = lambda peer=peer: peer.estimate(x, y)
    seconds = _best(contenders, rounds)
    ours, *others = seconds.values()
    ratio = ours / min(others)
    question = f"nearest neighbours, n = {n:,}, d = 5"
    return Timing(question, seconds, "≤ 1 × the fastest peer", ratio, ratio <= 1)


def _line(n: int, rounds: int) -> Timing:
    from scipy.stats import wasserstein_distance

    from kullback.samples.transport import wasserstein_line

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(n), rng.normal(0.5, 1.2, n)
    contenders = {
        "kullback": lambda: wasserstein_line(x, y),
        "scipy": lambda: wasserstein_distance(x, y),
    }
    return _times_scipy(f"Wasserstein on the line, {n:,} values", _best(contenders, rounds))


def _columns(n: int, rounds: int) -> Timing:
    from scipy.stats import wasserstein_distance

    from kullback.samples.transport import wasserstein_line

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, COLUMNS)), rng.normal(0.5, 1.2, (n, COLUMNS))
    contenders = {
        "kullback": lambda: wasserstein_line(x, y),
        "scipy": lambda: [wasserstein_distance(a, b) for a, b in zip(x.T, y.T, strict=True)],
    }
    question = f"Wasserstein of {COLUMNS:,} columns × {n:,}"
    return _times_scipy(question, _best(contenders, rounds))


def _times_scipy(question: str, seconds: dict[str, float]) -> Timing:
    ratio = seconds["scipy"] / seconds["kullback"]
    return Timing(question, seconds, "≥ 5 × scipy's speed", ratio, ratio >= 5)


def _auto(n: int, rounds: int) -> Timing:
    x, y = draws("gaussian 1d", n, 0)
    seconds = _best({"kullback": lambda: _estimate(x, y, "auto")}, rounds)
    took = seconds["kullback"]
    return Timing(f"auto, n = {n:,}, d = 1", seconds, "under 2 s", took, took < 2)
