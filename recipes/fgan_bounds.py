"""How near a trained critic's bound comes to a divergence that is known.

Gaussians on the line and in four dimensions, and pairs of correlated Gaussians, whose divergence
is their mutual information. On each, small critics are trained from fresh draws, one for each
bound: the f-divergences of `FGAN`, and for KL also Donsker–Varadhan (with MINE's gradient), NWJ,
SMILE and, on the pairs, InfoNCE. Then each is measured on a million draws that it never saw, in
64 batches, against what `kullback.estimate` says of the distributions themselves.

Run: python recipes/fgan_bounds.py [--steps 3000] [--out build/fgan_bounds] [--tiny]
It needs pip install "kullback[recipes]" and takes about 5 minutes on one core; --tiny trains on
the line only, for a few steps. Finished critics are kept: the same command goes on with the
others.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

import kullback
from command_line import count, parsed, positive, until_interrupted
from finished import Finished
from kullback.divergences import GAN
from kullback.numerics.student import t_quantile
from kullback.training.gan import FGAN, MovingNormalizer, donsker_varadhan, info_nce, nwj, smile

GAMES = (
    "kl",
    "reverse_kl",
    "chi_squared",
    "squared_hellinger",
    "js",
    "gan",
    "total_variation",
    "alpha",
)
OF_KL = ("donsker_varadhan", "nwj", "smile")
PAIRS = 512  # of a batch of InfoNCE, whose values end at log 512 = 6.24
LABELS = {
    "kl": "KL(P‖Q)",
    "reverse_kl": "KL(Q‖P)",
    "chi_squared": "Pearson χ²",
    "squared_hellinger": "squared Hellinger",
    "js": "Jensen–Shannon",
    "gan": "GAN",
    "total_variation": "total variation",
    "alpha": "α = ½",
    "donsker_varadhan": "KL, Donsker–Varadhan",
    "nwj": "KL, NWJ",
    "smile": "KL, SMILE (no bound)",
    "info_nce": "KL, InfoNCE",
}


@dataclass(frozen=True)
class Problem:
    """P and Q, and the bounds that are tried on them."""

    p: Distribution
    q: Distribution
    bounds: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    problem: str
    bound: str
    seed: int
    truth: float
    value: float
    low: float
    high: float


def main() -> None:
    options = asked()
    # Networks as small as these are slower on several threads.
    torch.set_num_threads(1)

    results: list[Result] = []
    finished = Finished(options, apart=("seeds",))
    for name, problem in problems(options.tiny).items():
        truths = {bound: truth(problem, bound) for bound in problem.bounds}
        for bound in track(problem.bounds, f"Critics, {name}"):
            for seed in range(options.seeds):
                title = f"{name.replace(' ', '_')}_{bound}_{seed}"
                found = finished.result(title, partial(measured, problem, bound, seed, options))
                results.append(Result(name, bound, seed, truths[bound], *found))
                write(results, options)
    report(Console(), results)
    finished.tell(Console())


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add, number = parser.add_argument, partial(parser.add_argument, type=count)
    number("--steps", default=3000, help="of each critic (%(default)s)")
    number("--batch", default=1024, help="draws of P, and of Q, a step (%(default)s)")
    add("--learning-rate", type=positive, default=3e-3, help="Adam's (%(default)s)")
    number("--held-out", default=16384, help="draws of each of 64 batches (%(default)s)")
    number("--seeds", default=1, help="critics for each bound, seeds 0, 1, … (%(default)s)")
    add("--out", type=Path, default=Path("build/fgan_bounds"), help="folder (%(default)s)")
    add(
        "--tiny",
        action="store_true",
        help="on the line only; and unless given: 250 steps, batches of 512 and 4096, in "
        "build/fgan_bounds_tiny",
    )
    tiny = {"steps": 250, "batch": 512, "held_out": 4096, "out": Path("build/fgan_bounds_tiny")}
    return parsed(parser, tiny)


def measured(problem: Problem, bound: str, seed: int, options: Any) -> tuple[float, float, float]:
    """One critic's bound on held-out draws, and the ends of its 95 % interval."""
    torch.manual_seed(seed)
    return interval(learn(problem, bound, options))


def problems(tiny: bool) -> dict[str, Problem]:
    """Where all bounds are tried, Q's variances are ¾ to 2 times P's: what is averaged over draws,
    p/q squared at the most, or q/p, then has a variance.
    """
    line = Problem(
        gaussian([0.0], torch.tensor([[1.0]])),
        gaussian([1.2], torch.tensor([[1.44]])),
        (*GAMES, *OF_KL),
    )
    if tiny:
        return {"line": line}
    alone = torch.eye(4)
    chain = [[1.3, 0.2, 0.0, 0.0], [0.2, 1.3, 0.2, 0.0], [0.0, 0.2, 1.3, 0.2], [0.0, 0.0, 0.2, 1.3]]
    four = Problem(
        gaussian([0.0] * 4, alone),
        gaussian([0.9, -0.6, 0.6, 0.3], torch.tensor(chain)),
        (*GAMES, *OF_KL),
    )
    # x and y of two dimensions each, correlated by 0.8: −log(1 − 0.8²) = 1.02 nats.
    pairs = Problem(
        gaussian([0.0] * 4, alone + 0.8 * alone.roll(2, 0)),
        gaussian([0.0] * 4, alone),
        ("kl", *OF_KL, "info_nce"),
    )
    return {"line": line, "four dimensions": four, "pairs": pairs}


def gaussian(mean: list[float], covariance: Tensor) -> Distribution:
    if len(mean) == 1:
        return Independent(Normal(torch.tensor(mean), covariance[0].sqrt()), 1)
    return MultivariateNormal(torch.tensor(mean), covariance)


def truth(problem: Problem, bound: str) -> float:
    """Closed form, integral, or draws to three digits and a half, as the library finds it."""
    name = bound if bound in GAMES else "kl"
    draws = torch.Generator().manual_seed(0)
    return float(
        kullback.estimate(
            problem.p,
            problem.q,
            GAN if name == "gan" else name,
            rtol=3e-4,
            alpha=0.5 if name == "alpha" else None,
            generator=draws,
        )
    )


def learn(problem: Problem, bound: str, options: Any) -> Tensor:
    """Train a critic; the bound's values on held-out batches."""
    if bound == "info_nce":
        return learn_pairs(problem, options)
    critic = network(problem.p.event_shape[0], 1)
    value = VALUES.get(bound) or (lambda p, q: -FGAN(bound).discriminator_loss(p, q))
    normalizer = MovingNormalizer(decay=0.99)

    def loss() -> Tensor:
        p_scores = critic(problem.p.sample((options.batch,)))
        q_scores = critic(problem.q.sample((options.batch,)))
        if bound == "donsker_varadhan":
            log_normalizer = normalizer.update(q_scores)
            return -donsker_varadhan(p_scores, q_scores, log_normalizer=log_normalizer)
        return -value(p_scores, q_scores)

    descend(critic, loss, options)
    held_out = (options.held_out,)
    with torch.no_grad():
        return torch.stack(
            [
                value(critic(problem.p.sample(held_out)), critic(problem.q.sample(held_out)))
                for _ in range(64)
            ]
        )


VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "donsker_varadhan": donsker_varadhan,
    "nwj": nwj,
    "smile": smile,
}


def learn_pairs(problem: Problem, options: Any) -> Tensor:
    """InfoNCE scores every x with every y of its batch, so its critic is a product of two."""
    of_x, of_y = network(2, 32), network(2, 32)

    def value() -> Tensor:
        x, y = problem.p.sample((PAIRS,)).chunk(2, dim=-1)
        return info_nce(of_x(x) @ of_y(y).T)

    descend(torch.nn.ModuleList([of_x, of_y]), lambda: -value(), options)
    with torch.no_grad():
        return torch.stack([value() for _ in range(16 * 64)])


def network(inputs: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 64),
        torch.nn.SiLU(),
        torch.nn.Linear(64, 64),
        torch.nn.SiLU(),
        torch.nn.Linear(64, outputs),
    )


def descend(critic: torch.nn.Module, loss: Callable[[], Tensor], options: Any) -> None:
    """Adam, with half a cosine, so that the last steps average over many batches."""
    optimizer = torch.optim.Adam(critic.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in range(options.steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()


def interval(values: Tensor) -> tuple[float, float, float]:
    """Mean and 95 % interval of independent batches."""
    mean, n = float(values.mean()), len(values)
    half = t_quantile(0.975, n - 1) * float(values.std()) / math.sqrt(n)
    return mean, mean - half, mean + half


def write(results: list[Result], options: Any) -> None:
    """The results so far as JSON and as a picture: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    (options.out / "bounds.json").write_text(
        json.dumps({"settings": settings, "results": [asdict(x) for x in results]}, indent=1)
    )
    draw(results, options.out / "bounds.svg")


def draw(results: list[Result], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(x.problem for x in results))
    bounds = [x for x in LABELS if any(y.bound == x for y in results)][::-1]
    figure, axes = plt.subplots(
        1, len(names), figsize=(2.2 + 2.4 * len(names), 4), sharey=True, layout="constrained"
    )
    for axis, name in zip([axes] if len(names) == 1 else axes, names, strict=True):
        axis.axvspan(95, 100, color="tab:green", alpha=0.12, linewidth=0)
        axis.axvline(100, color="black", linewidth=0.8)
        for found in (x for x in results if x.problem == name):
            low, value, high = (100 * x / found.truth for x in (found.low, found.value, found.high))
            place = bounds.index(found.bound)
            axis.plot([low, high], [place, place], color="tab:blue", linewidth=1.5)
            axis.plot(value, place, "o", color="tab:blue", markersize=4)
        axis.set(title=name, xlabel="held-out value, % of the truth")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_yticks(range(len(bounds)), [LABELS[x] for x in bounds])
    figure.savefig(path)
    plt.close(figure)


def report(console: Console, results: list[Result]) -> None:
    table = Table(title="Critics on held-out draws, 95 %, nats")
    for heading in ("", "bound", "truth", "held out", "% of the truth"):
        table.add_column(heading, no_wrap=heading not in ("", "bound"))
    for x in results:
        table.add_row(
            x.problem,
            LABELS[x.bound],
            f"{x.truth:.4f}",
            f"{x.value:.4f}",
            "{:.1f} [{:.1f}, {:.1f}]".format(
                *(100 * y / x.truth for y in (x.value, x.low, x.high))
            ),
        )
    console.print(table)


if __name__ == "__main__":
    until_interrupted(main)
