"""TRPO on CartPole-v1, Swimmer-v5 and Hopper-v5, beside stable-baselines3-contrib's.

Both learn with the same settings, those that rl-baselines3-zoo tuned for the other side, on the
same machine at the same time. Every batch is one constrained step of
`kullback.training.trust_region.TrustRegion`: the mean KL(old‖new) stays within 0.01 nats for each
dimension of the action. How it learns is in trpo_agent.py; this file runs it over seeds, and draws.

Run: python recipes/trpo.py [--environments CartPole-v1 …] [--seeds 3] [--out build/trpo] [--tiny]
It needs pip install "kullback[recipes]" sb3-contrib. CartPole takes a minute a seed, a million
steps of Swimmer or Hopper about six, two runs at a time. Finished runs are kept: the same command
goes on with the others.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import multiprocessing
import statistics
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from command_line import count, until_interrupted
from finished import read, write
from trpo_agent import Run, Settings

MUJOCO = Settings("Hopper-v5")
TASKS = {
    "CartPole-v1": Settings(
        "CartPole-v1",
        steps=200_000,
        horizon=512,
        normalize=False,
        decay=0.98,
        damping=1e-3,
        cg_iterations=15,
        critic_batch=512,
        test_episodes=100,
    ),
    "Swimmer-v5": dataclasses.replace(MUJOCO, environment="Swimmer-v5", discount=0.9999),
    "Hopper-v5": MUJOCO,
}
# On Swimmer a run ends near 350 or near 150: few seeds would say which, and not how often.
SEEDS = {"CartPole-v1": 5, "Swimmer-v5": 10, "Hopper-v5": 3}
NAMES = {"kullback": "kullback", "sb3": "sb3-contrib"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--environments", nargs="+", choices=list(TASKS), default=list(TASKS), help="which (all)")
    add("--seeds", type=count, help="of each environment, 0, 1, … (5, 10 and 3)")
    add("--steps", type=count, help="of each run (as tuned)")
    add("--learners", nargs="+", choices=list(NAMES), default=list(NAMES), help="which (both)")
    add("--workers", type=count, default=2, help="runs at a time, a core for each (%(default)s)")
    add("--out", type=Path, help="folder (build/trpo, or build/trpo_tiny)")
    add("--tiny", action="store_true", help="a few hundred steps of each, one seed")
    options = parser.parse_args()
    options.out = options.out or Path("build/trpo_tiny" if options.tiny else "build/trpo")
    if "sb3" in options.learners and importlib.util.find_spec("sb3_contrib") is None:
        raise SystemExit(
            "The other side is missing: pip install sb3-contrib, or leave it out with "
            "--learners kullback"
        )
    console = Console()
    runs = play(planned(options), options)
    report(console, runs)
    draw(runs, options.out / "curves.svg")
    console.print(f"Runs: {options.out}/*.json, curves: {options.out / 'curves.svg'}")


def planned(options: argparse.Namespace) -> list[tuple[str, Settings, int]]:
    """(learner, settings, seed), the two learners of a seed side by side."""
    found = []
    for environment in options.environments:
        settings = TASKS[environment]
        if options.tiny:
            settings = dataclasses.replace(settings, horizon=128, steps=600, test_episodes=2)
        if options.steps is not None:
            settings = dataclasses.replace(settings, steps=options.steps)
        seeds = options.seeds or (1 if options.tiny else SEEDS[environment])
        found += [(who, settings, seed) for seed in range(seeds) for who in options.learners]
    return found


def play(plan: list[tuple[str, Settings, int]], options: argparse.Namespace) -> dict[str, Any]:
    """Name to run; each is written when it ends, and one that has been is read instead."""
    options.out.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    runs: dict[str, Any] = {}
    with (
        Progress() as progress,
        spawn.Manager() as manager,
        ProcessPoolExecutor(options.workers, mp_context=spawn) as pool,
    ):
        news = manager.Queue()
        bars, futures = {}, list[Future[None]]()
        for who, settings, seed in plan:
            name = f"{settings.environment}_{who}_{seed}"
            runs[name] = options.out / f"{name}.json"
            bars[name] = progress.add_task(name, total=settings.steps)
            if finished(runs[name], settings):
                progress.update(bars[name], completed=settings.steps)
            else:
                futures.append(pool.submit(work, who, settings, seed, runs[name], news))
        try:
            while not all(future.done() for future in futures):
                with contextlib.suppress(Empty):
                    name, steps = news.get(timeout=1.0)
                    progress.update(bars[name], completed=steps)
                for future in futures:
                    if future.done():
                        future.result()
        except BaseException:
            # One that failed, or an interruption, ends the others too.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return {name: json.loads(path.read_text()) for name, path in runs.items()}


def finished(path: Path, settings: Settings) -> bool:
    """Whether the run is there, with these very settings."""
    run = read(path)
    return run is not None and run["settings"] == dataclasses.asdict(settings)


def work(who: str, settings: Settings, seed: int, path: Path, news: Any) -> None:
    """One run, in a process and on a core of its own."""
    import torch

    torch.set_num_threads(1)
    if who == "kullback":
        from trpo_agent import train
    else:
        from trpo_peer import train
    run: Run = train(settings, seed, lambda steps: news.put((path.stem, steps)))
    write(path, dataclasses.asdict(run))


def report(console: Console, runs: dict[str, Any]) -> None:
    """Mean and standard deviation over seeds; the KL is the largest of any accepted step."""
    table = Table(
        title="The last policy's mean return, by seed; ± the seeds' standard deviation",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("", "", "return", "by seed", "max KL", "accepted", "time"):
        table.add_column(
            heading, justify="right" if heading else "left", no_wrap=heading != "by seed"
        )
    for environment, by_learner in grouped(runs).items():
        for who, found in by_learner.items():
            returns = [statistics.fmean(run["test_returns"]) for run in found]
            seconds = statistics.median(run["seconds"] for run in found)
            accepted = sum(run["accepted"] for run in found) / sum(len(r["kls"]) for r in found)
            table.add_row(
                environment,
                NAMES[who],
                f"{statistics.fmean(returns):.0f} ± {statistics.pstdev(returns):.0f}",
                " ".join(f"{x:.0f}" for x in returns),
                f"{max(max(run['kls']) for run in found):.5f}",
                f"{accepted:.1%}",
                f"{seconds:.0f} s",
            )
    console.print(table)


def grouped(runs: dict[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Environment to learner to its runs."""
    found: dict[str, dict[str, list[Any]]] = {}
    for name, run in runs.items():
        environment, who, _ = name.split("_")
        found.setdefault(environment, {}).setdefault(who, []).append(run)
    return found


def draw(runs: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    panels = grouped(runs)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 3.4 * len(panels), 3.2), layout="constrained", squeeze=False
    )
    for axis, (environment, by_learner) in zip(axes[0], panels.items(), strict=True):
        for (who, found), colour in zip(by_learner.items(), ("C0", "C1"), strict=False):
            for place, run in enumerate(found):
                label = NAMES[who] if place == 0 else None
                thousands = [steps / 1000 for steps in run["steps"]]
                axis.plot(thousands, run["returns"], color=colour, linewidth=1, label=label)
        axis.set(title=environment, xlabel="thousand steps")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("return, mean of 100 episodes")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    until_interrupted(main)
