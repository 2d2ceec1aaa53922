"""A variational autoencoder of handwritten digits: a latent that is used, half used, or collapsed.

Each pixel of scikit-learn's digits counts how many of 4 × 4 bits of a scan are on, so the decoder's
likelihood is Binomial(16, p): a true probability of the data as they are, and held-out nats that
mean something. The same network learns by five objectives, which differ in their KL term only:

| run | KL term |
| --- | --- |
| plain | KL(q(z|x)‖p(z)): the ELBO |
| free_bits | at least half a nat in each dimension |
| annealed | times β, which rises from 0 to 1 in the first half of the training |
| beta_16 | times 16: binary cross-entropy of x/16, summed over pixels, makes that of it unseen |
| beta_1024 | times 16 · 64: the same averaged over pixels, binary_cross_entropy's default |
| pythae | plain, trained by pythae from the same first weights |

All are judged by the same numbers of held-out digits.

Run: python recipes/vae_digits.py [--epochs 120] [--seeds 5] [--out build/vae_digits] [--tiny]
It needs pip install "kullback[recipes]" scikit-learn pythae, and takes about three minutes on
one idle core; --tiny trains for a few epochs only, to see that everything works.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from kullback.numerics import t_quantile
from kullback.training.vae import (
    CollapseReport,
    FreeBits,
    LinearSchedule,
    collapse_report,
    elbo,
    gaussian_kl,
    importance_weighted_bound,
)
from vae_digits_pictures import draw_bounds, draw_digits

PIXELS, BITS = 64, 16
NAMES = {
    "plain": "plain",
    "free_bits": "free bits",
    "annealed": "annealed",
    "beta_16": "β = 16",
    "beta_1024": "β = 1024",
    "pythae": "pythae",
}
BETAS = {"plain": 1.0, "beta_16": float(BITS), "beta_1024": float(BITS * PIXELS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each run")
    parser.add_argument("--latents", type=int, default=16, help="dimensions of z")
    parser.add_argument("--width", type=int, default=128, help="of the two hidden layers")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--draws", type=int, default=1000, help="of the importance-weighted bound")
    parser.add_argument("--runs", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--out", type=Path, help="build/vae_digits, or build/vae_digits_tiny")
    parser.add_argument("--tiny", action="store_true", help="a few epochs, two seeds, few draws")
    options = parser.parse_args()
    options.out = options.out or Path("build/vae_digits" + "_tiny" * options.tiny)
    if options.tiny:
        options.epochs, options.seeds, options.draws = 5, 2, 50
    if "pythae" in options.runs and importlib.util.find_spec("pythae") is None:
        raise SystemExit("pythae is missing: pip install pythae, or leave it out of --runs")
    torch.set_num_threads(1)
    console = Console()

    train_set, held_out = digits()
    apart = pixels_apart(train_set, held_out)
    found: list[dict[str, Any]] = []
    pictures: dict[str, dict[str, Tensor]] = {}
    jobs = [(seed, run) for seed in range(options.seeds) for run in options.runs]
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(jobs))
        for seed, run in jobs:
            progress.update(bar, description=f"{NAMES[run]}, seed {seed}")
            model, seconds = trained(run, train_set, seed, options)
            numbers, report = evaluate(model, held_out, options.draws)
            found.append({"run": run, "seed": seed, "seconds": seconds, **numbers})
            if not seed:
                pictures[run] = {"reconstructed": model.mean_of(held_out), "drawn": model.drawn()}
                progress.console.print(f"[b]{NAMES[run]}[/b], seed {seed}. {report.verdict}")
            write(found, apart, options)
            if run == options.runs[-1]:
                draw_bounds(found, apart, NAMES, options.out / "vae_bounds.svg")
                draw_digits(held_out / BITS, pictures, NAMES, options.out / "vae_digits.svg")
            progress.advance(bar)
    report_all(console, found, apart)
    console.print(f"Numbers and pictures: {options.out}")


def digits() -> tuple[Tensor, Tensor]:
    """Three quarters to train on and a quarter held out, [images, 64], counts from 0 to 16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("scikit-learn is missing: pip install scikit-learn") from None
    images = torch.tensor(load_digits().data, dtype=torch.float32)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    first = 3 * len(images) // 4
    return images[order[:first]], images[order[first:]]


class Autoencoder(nn.Module):
    """Counts to q(z|x), and z to the logits of p in Binomial(16, p) of each pixel."""

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.latents = latents
        self.encoder = layers(PIXELS, width, width, 2 * latents)
        self.decoder = layers(latents, width, width, PIXELS)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances."""
        mean, log_variance = self.encoder(x / BITS).chunk(2, dim=-1)
        return mean, log_variance

    @torch.no_grad()
    def mean_of(self, x: Tensor, count: int = 10) -> Tensor:
        """The first digits of x as decoded from their posterior's mean, [count, 64] in [0, 1]."""
        return self.decoder(self.posterior(x[:count])[0]).sigmoid()

    @torch.no_grad()
    def drawn(self, count: int = 10) -> Tensor:
        """Digits decoded from draws of the prior, [count, 64] in [0, 1]."""
        z = torch.randn(count, self.latents, generator=torch.Generator().manual_seed(0))
        return self.decoder(z).sigmoid()


def layers(*sizes: int) -> nn.Sequential:
    built: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        built += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*built[:-1])


def log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """log Binomial(x; 16, sigmoid(logits)) summed over pixels, but for `ways(x)`."""
    return (x * logits - BITS * F.softplus(logits)).sum(-1)


def ways(x: Tensor) -> Tensor:
    """Σ log C(16, x): what of the likelihood no network can change."""
    return (math.lgamma(BITS + 1) - torch.lgamma(x + 1) - torch.lgamma(BITS - x + 1)).sum(-1)


def pixels_apart(train_set: Tensor, held_out: Tensor) -> float:
    """Held-out log-likelihood of the best model without a latent: each pixel has its own p.

    Half a bit of each kind is added to the counts (Krichevsky & Trofimov 1981): a pixel that was
    never on in training may be on.
    """
    on, off = train_set.sum(0) + 0.5, (BITS - train_set).sum(0) + 0.5
    return float((log_likelihood(held_out, (on / off).log()) + ways(held_out)).mean())


def trained(run: str, train_set: Tensor, seed: int, options: Any) -> tuple[Autoencoder, float]:
    """The model, and how many seconds its training took."""
    torch.manual_seed(seed)
    model = Autoencoder(options.latents, options.width)
    if run == "pythae":
        from vae_digits_peer import train_by_pythae

        started = time.perf_counter()
        train_by_pythae(model, train_set, seed, options)
    else:
        started = time.perf_counter()
        train(model, run, train_set, options)
    return model, time.perf_counter() - started


def train(model: Autoencoder, run: str, train_set: Tensor, options: Any) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, fused=True)
    steps = options.epochs * math.ceil(len(train_set) / options.batch)
    beta = LinearSchedule(steps=max(1, steps // 2))
    for _ in range(options.epochs):
        for chosen in torch.randperm(len(train_set)).split(options.batch):
            loss = objective(model, run, train_set[chosen], beta.value)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            beta.step()


def objective(model: Autoencoder, run: str, x: Tensor, annealed: float = 1.0) -> Tensor:
    """The KL term of the run less the mean log-likelihood, in nats per digit."""
    mean, log_variance = model.posterior(x)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    if run == "free_bits":
        kl = FreeBits(0.5)(gaussian_kl(mean, log_variance, reduction="none"))
    else:
        kl = {"annealed": annealed, **BETAS}[run] * gaussian_kl(mean, log_variance)
    return kl - log_likelihood(x, model.decoder(z)).mean()


@torch.no_grad()
def evaluate(
    model: Autoencoder, held_out: Tensor, draws: int
) -> tuple[dict[str, Any], CollapseReport]:
    """Both bounds of the held-out log-likelihood in nats per digit, and how the latent is used."""
    mean, log_variance = model.posterior(held_out)
    generator = torch.Generator().manual_seed(0)
    explained, log_weights = [], []
    for _ in range(draws):
        noise = torch.randn(mean.shape, generator=generator)
        z = mean + (0.5 * log_variance).exp() * noise
        explained.append(log_likelihood(held_out, model.decoder(z)) + ways(held_out))
        # log p(z) − log q(z|x), in which the factors of 2π cancel.
        prior_gain = 0.5 * (noise.square() - z.square() + log_variance).sum(-1)
        log_weights.append(explained[-1] + prior_gain)
    report = collapse_report(mean, log_variance, generator=generator)
    distortion = -float(torch.stack(explained).mean())
    numbers = {
        # The KL in closed form leaves less noise than draws of the weights, which say the same.
        "elbo": -distortion - report.rate,
        "elbo_of_draws": float(elbo(torch.stack(log_weights)).mean()),
        "iwae": float(importance_weighted_bound(torch.stack(log_weights)).mean()),
        "distortion": distortion,
        "rate": report.rate,
        "report": report.to_dict(),
    }
    return numbers, report


def write(found: list[dict[str, Any]], apart: float, options: Any) -> None:
    """The numbers so far: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    kept = {"settings": settings, "pixels_apart": apart, "runs": found}
    (options.out / "runs.json").write_text(json.dumps(kept, indent=1))


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


if __name__ == "__main__":
    main()
