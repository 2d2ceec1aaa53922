"""What `vae_digits.py` has found, as a table: means over seeds, and plain against pythae."""

from __future__ import annotations

import math
import statistics
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kullback.numerics import t_quantile

__all__ = ["NAMES", "report_all"]

NAMES = {
    "plain": "plain",
    "free_bits": "free bits",
    "annealed": "annealed",
    "beta_16": "β = 16",
    "beta_1024": "β = 1024",
    "pythae": "pythae",
}


def report_all(console: Console, found: list[dict[str, Any]], apart: float) -> None:
    table = Table(
        title="Held-out digits, nats per digit, mean over seeds ± their standard deviation",
        box=SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("run", no_wrap=True)
    headings = ("ELBO", "IWAE", "distortion", "rate", "active", "I(x;z)", "KL(q‖p)", "s")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for run in dict.fromkeys(one["run"] for one in found):
        own = [one for one in found if one["run"] == run]
        bounds = [spread([one[key] for one in own]) for key in ("elbo", "iwae")]
        rest = [[one[key] for one in own] for key in ("distortion", "rate")]
        rest.append([sum(one["report"]["active"]) for one in own])
        for part in ("mutual_information", "aggregate_kl"):
            rest.append([one["report"][part]["mean"] for one in own])
        rest.append([one["seconds"] for one in own])
        table.add_row(NAMES[run], *bounds, *(f"{statistics.fmean(x):.1f}" for x in rest))
    console.print(table)
    console.print(f"Without a latent, each pixel with a p of its own: {apart:.1f}.")
    by_run = {run: [x["elbo"] for x in found if x["run"] == run] for run in ("plain", "pythae")}
    if len(by_run["pythae"]) == len(by_run["plain"]) > 1:
        mean, low, high = mean_interval(
            [ours - theirs for ours, theirs in zip(*by_run.values(), strict=True)]
        )
        verdict = "worse" if high < 0 else "better" if low > 0 else "no difference beyond the seeds"
        console.print(
            f"ELBO of plain less that of pythae, 95 % over seeds: {mean:.2f} "
            f"[{low:.2f}, {high:.2f}]: {verdict}."
        )


def spread(values: list[float]) -> str:
    deviation = f"±{statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{deviation}"


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval by Student's t."""
    mean, reach = statistics.fmean(values), t_quantile(0.975, len(values) - 1)
    reach *= statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - reach, mean + reach
