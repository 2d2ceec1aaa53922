"""What `policy_penalty.py` has found, as JSON, as a picture and as tables."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

__all__ = ["PENALTIES", "report", "write"]


class Penalty(NamedTuple):
    label: str
    color: str
    line: str = "-"


# Dashed is what would lie under another.
PENALTIES = {
    "none": Penalty("no penalty", "#888888", "--"),
    "k1": Penalty("k1 as a loss", "#d62728"),
    "k2": Penalty("k2 as a loss", "#9467bd", "--"),
    "k3": Penalty("k3 as a loss, as in GRPO", "#ff7f0e"),
    "exact": Penalty("policy_kl", "#e377c2"),
    "full": Penalty("policy_kl_from_logits", "#17becf"),
    "reward": Penalty("k1 in the reward", "#2ca02c"),
    "sequence": Penalty("sequence_kl", "#1f77b4"),
}


def write(runs: list[dict[str, Any]], best: dict[str, float], options: Any) -> None:
    """All runs so far as JSON and as a picture: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    (options.out / "curves.json").write_text(
        json.dumps({"settings": settings, "optimum": best, "runs": runs}, indent=1)
    )
    draw(runs, best, options)


def of_all_seeds(runs: list[dict[str, Any]], name: str, adaptive: bool, key: str) -> Tensor:
    """[seeds, measurements], of the runs that are finished."""
    curves = [r["curve"] for r in runs if (r["penalty"], r["adaptive"]) == (name, adaptive)]
    return torch.tensor([[point[key] for point in curve] for curve in curves]).reshape(
        -1, len(runs[0]["curve"])
    )


def draw(runs: list[dict[str, Any]], best: dict[str, float], options: Any) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained")
    fixed, frontier, adaptive = axes
    for name in options.penalties:
        label, color, line = PENALTIES[name]
        # The dashed ones above, so that the line under them shows between.
        look: dict[str, Any] = {"color": color, "linestyle": line, "zorder": 2 + (line == "--")}
        for axis, moves in ((fixed, False), (adaptive, True)):
            kl = of_all_seeds(runs, name, moves, "kl")[:, 1:]
            if not len(kl):
                continue
            steps = [point["step"] for point in runs[0]["curve"]][1:]
            axis.plot(steps, kl.mean(0), label=label, **look)
            low, high = kl.amin(0), kl.amax(0)
            axis.fill_between(steps, low, high, color=color, alpha=0.12, linewidth=0)
        kl, reward = (of_all_seeds(runs, name, False, key) for key in ("kl", "reward"))
        if len(kl):
            frontier.plot(kl.mean(0), reward.mean(0), "o", color=color, markersize=4)
    fixed.axhline(best["kl"], color="black", linewidth=0.8, linestyle=":")
    frontier.plot(best["kl"], best["reward"], "k*", markersize=11, zorder=4)
    adaptive.axhline(options.target, color="black", linewidth=0.8, linestyle=":")
    fixed.set(title=f"β = {options.coefficient:g}; the best policy π* dotted")
    frontier.set(
        title="the same policies; π* is the star", xlim=(0.8 * best["kl"], 1.8 * best["kl"])
    )
    frontier.set(ylim=(0.85 * best["reward"], 1.1 * best["reward"]), xlabel="KL(π‖ref), nats")
    frontier.set(ylabel=f"letters e in {options.length} characters")
    adaptive.set(title=f"AdaptiveKL; target {options.target:g} dotted")
    for axis in (fixed, adaptive):
        axis.set(xlabel="step", ylabel="KL(π‖ref) of a continuation, nats", yscale="log")
        axis.set_yticks(TICKS, [str(tick) for tick in TICKS])
        axis.minorticks_off()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = fixed.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(options.out / "curves.svg")
    plt.close(figure)


TICKS = (2, 4, 10, 30, 100, 300)


def report(
    console: Console, runs: list[dict[str, Any]], best: dict[str, float], options: Any
) -> None:
    """The last third of each run; the spread is that of the seeds."""
    for moves in (False, True):
        rule = f"AdaptiveKL to {options.target:g} nats" if moves else f"β = {options.coefficient:g}"
        seeds = f"mean of {options.seeds} seeds (lowest, highest)"
        table = Table(
            title=f"{rule}: {seeds if options.seeds > 1 else 'one seed'}",
            caption="" if moves else LAST_COLUMN,
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        headings = ("penalty", "KL(π‖ref)", "believed", "letters e")
        for heading in (*headings, "β" if moves else "KL(π‖π*)"):
            # A range may break in two where it must, a name may not.
            table.add_column(heading, no_wrap=heading == "penalty")
        for name in options.penalties:
            if moves and name == "none":
                continue
            columns = {key: late(of_all_seeds(runs, name, moves, key)) for key in KEYS}
            last = columns.pop("coefficient")
            if not moves:
                last = best["value"] - columns["reward"] / last + columns["kl"]
            table.add_row(PENALTIES[name].label, *map(spread, (*columns.values(), last)))
        console.print(table)
    console.print(
        f"π* at β = {options.coefficient:g}: KL {best['kl']:.2f} ± {best['kl_error']:.2f}, "
        f"{best['reward']:.2f} ± {best['reward_error']:.2f} letters e; "
        f"{best['effective_draws']:.0f} effective draws a prompt, and reward/β − KL is "
        f"{best['halves']:.4f} from half of them, {best['value']:.4f} from all."
    )


LAST_COLUMN = (
    "KL(π‖π*) is an estimate from draws of the reference and of the policy: its noise can bring "
    "what is near 0 below it."
)
KEYS = ("kl", "believed", "reward", "coefficient")


def late(x: Tensor) -> Tensor:
    """The mean of each run's last third."""
    return x[:, -(-2 * x.shape[1] // 3) :].mean(-1)


def spread(x: Tensor) -> str:
    if len(x) == 1:
        return f"{float(x):.3g}"
    return f"{float(x.mean()):.3g}\n({float(x.min()):.3g}, {float(x.max()):.3g})"
