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
one idle core; --tiny trains for a few epochs only, to see that everything works. Finished runs are
kept: the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from command_line import count, parsed, positive, until_interrupted
from finished import Finished
from kullback.training.vae import (
    FreeBits,
    LinearSchedule,
    collapse_report,
    elbo,
    gaussian_kl,
    importance_weighted_bound,
)
from vae_digits_pictures import draw_bounds, draw_digits
from vae_digits_report import NAMES, report_all

PIXELS, BITS = 64, 16
BETAS = {"plain": 1.0, "beta_16": float(BITS), "beta_1024": float(BITS * PIXELS)}


def main() -> None:
    options = asked()
    if "pythae" in options.runs and importlib.util.find_spec("pythae") is None:
        raise SystemExit("pythae is missing: pip install pythae, or leave it out of --runs")
    torch.set_num_threads(1)
    console = Console()

    train_set, held_out = digits()
    apart = pixels_apart(train_set, held_out)
    found: list[dict[str, Any]] = []
    pictures: dict[str, dict[str, Tensor]] = {}
    finished = Finished(options, apart=("runs", "seeds"))
    jobs = [(seed, run) for seed in range(options.seeds) for run in options.runs]
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(jobs))
        for seed, run in jobs:
            progress.update(bar, description=f"{NAMES[run]}, seed {seed}")
            make = partial(judged, run, seed, (train_set, held_out), options)
            one = finished.result(f"{run}_{seed}", make)
            made = {name: torch.tensor(images) for name, images in one.pop("pictures").items()}
            found.append(one)
            if not seed:
                pictures[run] = made
                verdict = one["report"]["verdict"]
                progress.console.print(f"[b]{NAMES[run]}[/b], seed {seed}. {verdict}")
            write(found, apart, options)
            if run == options.runs[-1]:
                draw_bounds(found, apart, NAMES, options.out / "vae_bounds.svg")
                draw_digits(held_out / BITS, pictures, NAMES, options.out / "vae_digits.svg")
            progress.advance(bar)
    report_all(console, found, apart)
    console.print(f"Numbers and pictures: {options.out}")
    finished.tell(console)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    number = partial(parser.add_argument, type=count)
    number("--epochs", default=120, help="of each training (%(default)s)")
    number("--seeds", default=5, help="trainings of each run, from seeds 0, 1, … (%(default)s)")
    number("--latents", default=16, help="dimensions of z (%(default)s)")
    number("--width", default=128, help="of the two hidden layers (%(default)s)")
    number("--batch", default=64, help="digits a step (%(default)s)")
    parser.add_argument("--learning-rate", type=positive, default=3e-3, help="Adam's (%(default)s)")
    number("--draws", default=1000, help="of the importance-weighted bound (%(default)s)")
    parser.add_argument(
        "--runs", nargs="+", choices=NAMES, default=list(NAMES), help="objectives (all of them)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/vae_digits"), help="folder (%(default)s)"
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="unless given: 5 epochs, 2 seeds, 50 draws, in build/vae_digits_tiny",
    )
    tiny = {"epochs": 5, "seeds": 2, "draws": 50, "out": Path("build/vae_digits_tiny")}
    return parsed(parser, tiny)


def judged(run: str, seed: int, images: tuple[Tensor, Tensor], options: Any) -> dict[str, Any]:
    """Train, and what the held-out digits say; of the first seed, pictures too."""
    train_set, held_out = images
    model, seconds = trained(run, train_set, seed, options)
    pictures = {}
    if not seed:
        made = {"reconstructed": model.mean_of(held_out), "drawn": model.drawn()}
        pictures = {name: drawn.tolist() for name, drawn in made.items()}
    numbers = evaluate(model, held_out, options.draws)
    return {"run": run, "seed": seed, "seconds": seconds, **numbers, "pictures": pictures}


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
def evaluate(model: Autoencoder, held_out: Tensor, draws: int) -> dict[str, Any]:
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
    return {
        # The KL in closed form leaves less noise than draws of the weights, which say the same.
        "elbo": -distortion - report.rate,
        "elbo_of_draws": float(elbo(torch.stack(log_weights)).mean()),
        "iwae": float(importance_weighted_bound(torch.stack(log_weights)).mean()),
        "distortion": distortion,
        "rate": report.rate,
        "report": report.to_dict(),
    }


def write(found: list[dict[str, Any]], apart: float, options: Any) -> None:
    """The numbers so far: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    kept = {"settings": settings, "pixels_apart": apart, "runs": found}
    (options.out / "runs.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    until_interrupted(main)
