"""Which divergence covers and which seeks: one Gaussian is to imitate a mixture of two.

No Gaussian can be 0.7 N(−2, 0.6²) + 0.3 N(2, 0.6²), so each divergence has a best compromise of its
own. That best is found by descent on the divergence itself, an integral that `kullback.estimate`
differentiates; then the same Gaussian is trained against a critic that sees draws only, from five
random starts.

Run: python recipes/fgan_gaussian.py [--seeds 5] [--out build/fgan_gaussian] [--tiny]
It needs pip install "kullback[recipes]" and takes about 3 minutes on one core; --tiny tries KL and
reverse KL only, for fewer steps. The seeds of a divergence are trained at once, from one stream of
random numbers: the same number of them gives the same fits, and one alone gives others. Finished
divergences are kept: the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

import kullback
from command_line import count, parsed, positive, until_interrupted
from finished import Finished
from kullback.divergences import GAN
from kullback.training.gan import FGAN
from side_by_side import SideBySide

NAMES = {
    "kl": "KL(P‖Q)",
    "chi_squared": "Pearson χ²",
    "squared_hellinger": "squared Hellinger",
    "js": "Jensen–Shannon",
    "gan": "GAN",
    "total_variation": "total variation",
    "reverse_kl": "KL(Q‖P)",
}
DATA = MixtureSameFamily(
    Categorical(torch.tensor([0.7, 0.3], dtype=torch.float64)),
    Normal(torch.tensor([-2.0, 2.0], dtype=torch.float64), 0.6),
)


def main() -> None:
    options = asked()
    # Networks as small as these are slower on several threads.
    torch.set_num_threads(1)

    fits: dict[str, dict[str, Any]] = {}
    # How many seeds there are is of what one divergence finds: they share its random numbers.
    finished = Finished(options, apart=("divergences",))
    for name in options.divergences:
        fits[name] = finished.result(name, partial(fitted, name, options))
        write(fits, options)
    report(Console(), fits)
    finished.tell(Console())


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add, number = parser.add_argument, partial(parser.add_argument, type=count)
    number("--steps", default=2000, help="of the generator (%(default)s)")
    number("--batch", default=512, help="draws a step, of data and of generator (%(default)s)")
    number("--critic-steps", default=2, help="for each of the generator's (%(default)s)")
    add("--learning-rate", type=positive, default=5e-3, help="the critic's Adam's (%(default)s)")
    add("--divergences", nargs="+", choices=NAMES, default=list(NAMES), help="which (all)")
    number("--seeds", default=5, help="fits of each divergence, seeds 0, 1, … (%(default)s)")
    add("--out", type=Path, default=Path("build/fgan_gaussian"), help="folder (%(default)s)")
    add(
        "--tiny",
        action="store_true",
        help="unless given: KL and reverse KL, 800 steps, 2 seeds, in build/fgan_gaussian_tiny",
    )
    tiny = {"divergences": ["kl", "reverse_kl"], "seeds": 2, "steps": 800}
    options = parsed(parser, tiny | {"out": Path("build/fgan_gaussian_tiny")})
    options.seeds = list(range(options.seeds))
    return options


def fitted(name: str, options: Any) -> dict[str, Any]:
    return {"minima": minima(name), "trained": train(name, options)}


def divergence(name: str, mean: Tensor, log_scale: Tensor) -> Tensor:
    """D of the data from N(mean, scale²), by quadrature, with its gradient."""
    functional = GAN if name == "gan" else name
    model = Normal(mean.double(), log_scale.double().exp())
    return kullback.estimate(DATA, model, functional, rtol=1e-6).value  # type: ignore[return-value]


def minima(name: str) -> list[dict[str, float]]:
    """What descent finds from three starts, the lowest first."""
    mean = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([-0.5, 0.5, -0.5], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([mean, log_scale], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        descent.zero_grad()
        total = divergence(name, mean, log_scale).sum()
        total.backward()
        return total

    descent.step(closure)
    fits = [described(name, m, s) for m, s in zip(mean.detach(), log_scale.detach(), strict=True)]
    fits.sort(key=lambda fit: fit["divergence"])
    apart = [fits[0]]
    for fit in fits[1:]:
        if all(abs(fit["mean"] - other["mean"]) > 0.3 for other in apart):
            apart.append(fit)
    return apart


def described(name: str, mean: Tensor, log_scale: Tensor) -> dict[str, float]:
    lesser = Normal(mean.double(), log_scale.double().exp()).cdf(torch.tensor(0.0))
    return {
        "mean": float(mean),
        "scale": float(log_scale.exp()),
        "divergence": float(divergence(name, mean, log_scale)),
        # The data have 0.3 right of 0.
        "right_of_0": 1 - float(lesser),
    }


def train(name: str, options: Any) -> list[dict[str, float]]:
    """One fit for each seed, all trained at once."""
    game = FGAN(name)
    critic = SideBySide(options.seeds, [1, 32, 32, 1])
    starts = [torch.randn((), generator=torch.Generator().manual_seed(x)) for x in options.seeds]
    mean = torch.stack(starts).reshape(-1, 1, 1).requires_grad_()
    log_scale = torch.zeros_like(mean).requires_grad_()
    size = (len(options.seeds), options.batch, 1)
    torch.manual_seed(options.seeds[0])

    def fake() -> Tensor:
        return mean + log_scale.exp() * torch.randn(size)

    of_critic = torch.optim.Adam(critic.parameters(), options.learning_rate, betas=(0.5, 0.99))
    of_generator = torch.optim.Adam([mean, log_scale], 2 * options.learning_rate, betas=(0.5, 0.99))
    paces = [
        torch.optim.lr_scheduler.CosineAnnealingLR(x, options.steps)
        for x in (of_critic, of_generator)
    ]
    for _ in track(range(options.steps), NAMES[name]):
        for _ in range(options.critic_steps):
            of_critic.zero_grad()
            real = DATA.sample(size).float()
            game.discriminator_loss(critic(real), critic(fake().detach())).backward()
            of_critic.step()
        of_generator.zero_grad()
        game.generator_loss(critic(fake())).backward()
        of_generator.step()
        for pace in paces:
            pace.step()
    found = zip(mean.detach().flatten(), log_scale.detach().flatten(), strict=True)
    return [described(name, m, s) for m, s in found]


def write(fits: dict[str, dict[str, Any]], options: Any) -> None:
    """The fits so far as JSON and as a picture: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    (options.out / "fits.json").write_text(
        json.dumps({"settings": settings, "fits": fits}, indent=1)
    )
    draw(fits, options.out / "fits.svg")


def draw(fits: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    x = torch.linspace(-5, 5, 400, dtype=torch.float64)
    figure, axes = plt.subplots(
        2, 4, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained"
    )
    for axis in axes.flat:
        axis.set(yticks=[], ylim=(0, 0.72), xlim=(-5, 5), xlabel="x")
        axis.spines[["top", "right", "left"]].set_visible(False)
    for axis, (name, found) in zip(axes.flat, fits.items(), strict=False):
        axis.set_title(NAMES[name], fontsize=10)
        axis.fill_between(x, DATA.log_prob(x).exp(), color="0.85", linewidth=0, label="data P")
        for fit in found["trained"]:
            axis.plot(x, density(fit, x), color="tab:blue", linewidth=1.2, label="trained Q")
        for place, fit in enumerate(found["minima"]):
            label, style = ("other minima", ":") if place else ("best Q", "--")
            axis.plot(x, density(fit, x), color="black", linestyle=style, lw=0.9, label=label)
    axes[1, 3].set_axis_off()
    # No panel has them all: not every divergence has other minima.
    labelled = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat]
    lines = {label: line for panel in labelled for line, label in panel}
    axes[1, 3].legend(lines.values(), lines.keys(), frameon=False, loc="center")
    figure.savefig(path)
    plt.close(figure)


def density(fit: dict[str, float], x: Tensor) -> Tensor:
    return Normal(fit["mean"], fit["scale"]).log_prob(x).exp()


def report(console: Console, fits: dict[str, dict[str, Any]]) -> None:
    table = Table(title="mean ± scale, divergence, share right of 0, which is 0.3 of the data's")
    for heading in ("divergence", "minima", "trained"):
        table.add_column(heading, no_wrap=True)
    for name, found in fits.items():
        cells = ("\n".join(shown(fit) for fit in found[key]) for key in ("minima", "trained"))
        table.add_row(NAMES[name], *cells, end_section=True)
    console.print(table)


def shown(fit: dict[str, float]) -> str:
    return "{mean:+.2f} ± {scale:.2f}  {divergence:.3f}  {right_of_0:.2f}".format(**fit)


if __name__ == "__main__":
    until_interrupted(main)
