"""Generators trained by every divergence, on a ring of eight Gaussians and on real digits.

The same networks, steps and seeds for each divergence of `FGAN`, and for the Wasserstein distance
with a gradient penalty, which the literature compares them with. On the ring a mode is covered
when draws within 3σ make a quarter of its fair share, and at least half of the draws that are
nearest to it, of which a plain circle has 0.38; on the digits (8 × 8 pixels, of scikit-learn) a
classifier that learned from the real ones says which digits are drawn. All draws carry a little
noise, the data's too: it gives P and Q densities on the same space, so that the divergence to be
lowered is finite.

Run: python recipes/fgan.py [--tasks ring digits] [--seeds 5] [--out build/fgan] [--tiny]
It needs pip install "kullback[recipes]" scikit-learn and takes about ten minutes on one core;
--tiny takes a few steps of two divergences on the ring. The seeds of a divergence are trained at
once, from one stream of random numbers: the same number of them gives the same results, and one
alone gives others. Finished divergences are kept: the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import kullback
from command_line import count, parsed, positive, until_interrupted
from finished import Finished
from kullback.training.gan import (
    FGAN,
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from side_by_side import SideBySide

NAMES = {
    "kl": "KL(P‖Q)",
    "chi_squared": "Pearson χ²",
    "squared_hellinger": "squared Hellinger",
    "js": "Jensen–Shannon",
    "gan": "GAN",
    "total_variation": "total variation",
    "reverse_kl": "KL(Q‖P)",
    "wasserstein": "Wasserstein, penalty",
}
RADIUS, WIDTH = 2.0, 0.1
# Corners let a generator of this size tear the ring apart, where smooth ones draw a circle.
leaky = partial(torch.nn.functional.leaky_relu, negative_slope=0.2)


@dataclass(frozen=True)
class Task:
    """Data to draw from, the networks' sizes, and what a generator's draws are judged by."""

    draw: Callable[[tuple[int, int]], Tensor]
    generator: list[int]
    critic: list[int]
    noise: float
    steps: int
    measure: Callable[[Tensor], dict[str, float]]


def main() -> None:
    options = asked()
    # Networks as small as these are slower on several threads.
    torch.set_num_threads(1)

    # How many seeds there are is of what one divergence finds: they share its random numbers.
    finished = Finished(options, apart=("tasks", "divergences"))
    for name in options.tasks:
        task = TASKS[name]()
        results: dict[str, list[dict[str, float]]] = {}
        pictures: dict[str, Tensor] = {}
        for divergence in options.divergences:
            found = finished.result(
                f"{name}_{divergence}", partial(measured, task, divergence, options)
            )
            results[divergence] = found["measured"]
            pictures[divergence] = torch.tensor(found["drawn"])
            write(name, results, options)
            PICTURES[name](pictures, task, options.out / f"{name}.svg")
        report(Console(), name, results)
    finished.tell(Console())


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add, number = parser.add_argument, partial(parser.add_argument, type=count)
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="what to draw (both)")
    add("--divergences", nargs="+", choices=NAMES, default=list(NAMES), help="which (all)")
    number("--steps", help="of the generator (4000, on the digits 1200)")
    number("--critic-steps", default=2, help="for each of the generator's (%(default)s)")
    number("--batch", default=128, help="draws a step, of data and of generator (%(default)s)")
    add("--learning-rate", type=positive, default=2e-3, help="Adam's (%(default)s)")
    number("--seeds", default=5, help="networks of each divergence, seeds 0, 1, … (%(default)s)")
    add("--out", type=Path, default=Path("build/fgan"), help="folder (%(default)s)")
    add(
        "--tiny",
        action="store_true",
        help="unless given: the ring, two divergences, 400 steps, 2 seeds, in build/fgan_tiny",
    )
    tiny = {"tasks": ["ring"], "divergences": ["js", "wasserstein"], "steps": 400, "seeds": 2}
    options = parsed(parser, tiny | {"out": Path("build/fgan_tiny")})
    options.seeds = list(range(options.seeds))
    return options


def measured(task: Task, divergence: str, options: Any) -> dict[str, Any]:
    """What each seed's draws are judged by, and those of the first seed that a picture shows."""
    draws = train(task, divergence, options)
    return {"measured": [task.measure(x) for x in draws], "drawn": draws[0][:1000].tolist()}


def ring() -> Task:
    def draw(size: tuple[int, int]) -> Tensor:
        places = modes()[torch.randint(8, size)]
        return places + WIDTH * torch.randn(places.shape)

    return Task(draw, [8, 64, 64, 2], [2, 64, 64, 1], 0.05, 4000, measure_ring)


def modes() -> Tensor:
    angle = torch.arange(8) * torch.pi / 4
    return RADIUS * torch.stack([angle.cos(), angle.sin()], -1)


def measure_ring(x: Tensor) -> dict[str, float]:
    distance, nearest = torch.cdist(x, modes()).min(-1)
    good = distance < 3 * WIDTH
    near, around = (torch.bincount(x, minlength=8) for x in (nearest[good], nearest))
    # A generator that draws the whole circle has draws at every mode, and 0.38 of those around it.
    covered = (near > 0.25 / 8 * len(x)) & (near >= 0.5 * around)
    return {"covered": int(covered.sum()), "high_quality": float(good.float().mean())}


def digits() -> Task:
    try:
        from sklearn.datasets import load_digits
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise SystemExit("The digits are missing: pip install scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    classifier = LogisticRegression(max_iter=5000).fit(images / 16, labels)
    data = torch.from_numpy(images).float() / 16
    real = torch.from_numpy(labels).bincount(minlength=10).double() / len(labels)

    def draw(size: tuple[int, int]) -> Tensor:
        return data[torch.randint(len(data), size)]

    def measure(x: Tensor) -> dict[str, float]:
        found = torch.from_numpy(classifier.predict(x.numpy())).bincount(minlength=10)
        shares = found.double() / len(x)
        return {
            "covered": int((shares > 0.25 * real).sum()),
            "kl_of_classes": float(kullback.kl_divergence(shares, real)),
        }

    return Task(draw, [32, 128, 128, 64], [64, 128, 128, 1], 0.15, 1200, measure)


TASKS: dict[str, Callable[[], Task]] = {"ring": ring, "digits": digits}


def losses(divergence: str, critic: SideBySide, options: Any) -> tuple[Any, Any]:
    """Of the critic, from a real and a fake batch; of the generator, from the fake scores."""
    if divergence == "wasserstein":

        def penalised(real: Tensor, fake: Tensor) -> Tensor:
            # One example is one row; the rows of each network stay together.
            rows = gradient_penalty(
                lambda x: critic(x.unflatten(0, real.shape[:2])).flatten(),
                real.flatten(0, 1),
                fake.flatten(0, 1),
                weight=1.0,
            )
            return wasserstein_critic_loss(critic(real), critic(fake)) + rows

        return penalised, wasserstein_generator_loss
    game = FGAN(divergence)
    return (
        lambda real, fake: game.discriminator_loss(critic(real), critic(fake)),
        game.generator_loss,
    )


def train(task: Task, divergence: str, options: Any) -> Tensor:
    """[seeds, 2000, dimensions]: draws of the generators, all of which are trained at once."""
    generator = SideBySide(options.seeds, task.generator, leaky)
    critic = SideBySide([1000 + x for x in options.seeds], task.critic, leaky)
    critic_loss, generator_loss = losses(divergence, critic, options)
    steps = options.steps or task.steps
    torch.manual_seed(options.seeds[0])
    size = (len(options.seeds), options.batch)

    def fake(size: tuple[int, int]) -> Tensor:
        return generator(torch.randn(*size, task.generator[0]))

    def noisy(x: Tensor) -> Tensor:
        return x + task.noise * torch.randn_like(x)

    adam = partial(torch.optim.Adam, lr=options.learning_rate, betas=(0.5, 0.99), fused=True)
    of_critic, of_generator = adam(critic.parameters()), adam(generator.parameters())
    paces = [
        torch.optim.lr_scheduler.CosineAnnealingLR(x, steps) for x in (of_critic, of_generator)
    ]
    for _ in track(range(steps), NAMES[divergence]):
        for _ in range(options.critic_steps):
            of_critic.zero_grad()
            with torch.no_grad():
                drawn = fake(size)
            critic_loss(noisy(task.draw(size)), noisy(drawn)).backward()
            of_critic.step()
        of_generator.zero_grad()
        generator_loss(critic(noisy(fake(size)))).backward()
        of_generator.step()
        for pace in paces:
            pace.step()
    with torch.no_grad():
        return fake((size[0], 2000))


def write(name: str, results: dict[str, list[dict[str, float]]], options: Any) -> None:
    """The results so far: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(options).items()}
    (options.out / f"{name}.json").write_text(
        json.dumps({"settings": settings, "results": results}, indent=1)
    )


def panels(count: int) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    rows = -(-count // 5)
    figure, axes = plt.subplots(rows, 5, figsize=(9, 2.0 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, list(axes.flat)


def picture_ring(pictures: dict[str, Tensor], task: Task, path: Path) -> None:
    drawn = {"the data": task.draw((1, 2000))[0], **pictures}
    figure, axes = panels(len(drawn))
    for axis, (name, x) in zip(axes, drawn.items(), strict=False):
        color = "0.3" if name == "the data" else "tab:blue"
        axis.scatter(*x[:1000].T, s=1.5, alpha=0.5, color=color, linewidths=0, rasterized=True)
        axis.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
        if not bool((x[:1000].abs() < 3).all(-1).any()):
            axis.text(0, 0, "all draws lie\noutside the panel", ha="center", va="center", size=8)
        axis.set_title(NAMES.get(name, name), fontsize=9)
    figure.savefig(path, dpi=200)


def picture_digits(pictures: dict[str, Tensor], task: Task, path: Path) -> None:
    drawn = {"the data": task.draw((1, 25))[0], **pictures}
    figure, axes = panels(len(drawn))
    for axis, (name, x) in zip(axes, drawn.items(), strict=False):
        grid = torch.nn.functional.pad(x[:25].reshape(5, 5, 8, 8), (0, 1, 0, 1))
        axis.imshow(
            grid.permute(0, 2, 1, 3).reshape(45, 45), cmap="gray_r", vmin=0, vmax=1,
            interpolation="nearest",
        )  # fmt: skip
        axis.set_title(NAMES.get(name, name), fontsize=9)
    figure.savefig(path, dpi=200)


PICTURES = {"ring": picture_ring, "digits": picture_digits}


def report(console: Console, name: str, results: dict[str, list[dict[str, float]]]) -> None:
    table = Table(title=f"{name}, a number for each seed")
    table.add_column("trained by", no_wrap=True)
    keys = list(next(iter(results.values()))[0])
    for key in keys:
        table.add_column(key.replace("_", " "))
    for divergence, runs in results.items():
        cells = ("  ".join(f"{run[key]:.3g}" for run in runs) for key in keys)
        table.add_row(NAMES[divergence], *cells)
    console.print(table)


if __name__ == "__main__":
    until_interrupted(main)
