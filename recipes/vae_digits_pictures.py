"""The pictures of vae_digits.py: bounds and KL by run, and digits as each run decodes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from torch import Tensor

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

__all__ = ["draw_bounds", "draw_digits"]

COLOURS = dict(
    zip(
        ("plain", "free_bits", "annealed", "beta_16", "beta_1024", "pythae"),
        ("#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#d62728", "#7f7f7f"),
        strict=True,
    )
)
# Runs whose loss is a bound of log p(x), up to a floor: near each other, they get a panel.
NEAR = ("plain", "free_bits", "annealed", "pythae")


def draw_bounds(
    found: list[dict[str, Any]], apart: float, names: dict[str, str], path: Path
) -> None:
    """Every seed's bounds by run, far and near, and the KL of the dimensions by rank."""
    runs = list(dict.fromkeys(one["run"] for one in found))
    figure, (far, near, kl) = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    dots(far, found, runs, names)
    far.axvline(apart, color="#808080", linewidth=1, linestyle=":", zorder=0)
    far.set(xlabel="bounds of held-out log p(x), nats per digit")
    far.plot([], [], "o", color="#606060", linestyle="none", label="ELBO")
    far.plot([], [], "o", color="#606060", linestyle="none", mfc="none", label="IWAE")
    far.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    far.annotate("no latent", (apart, len(runs) - 0.5), (3, 3), textcoords="offset points")
    dots(near, found, [run for run in runs if run in NEAR], names)
    near.set(xlabel="the same, near")
    near.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for run in runs:
        curves = [sorted(one["report"]["kl"], reverse=True) for one in found if one["run"] == run]
        ranks = range(1, len(curves[0]) + 1)
        style = "--" if run == "pythae" else "-"
        kl.plot(ranks, np.mean(curves, 0), style, color=COLOURS[run], label=names[run])
    kl.set(xlabel="dimension, by falling KL", ylabel="mean KL, nats", yscale="log")
    kl.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for axis in (far, near, kl):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def dots(axis: Any, found: list[dict[str, Any]], runs: list[str], names: dict[str, str]) -> None:
    """A filled dot for each seed's ELBO, and above it an open one for its IWAE."""
    for place, run in enumerate(runs):
        own = [one for one in found if one["run"] == run]
        style = {"color": COLOURS[run], "linestyle": "none", "markersize": 5, "alpha": 0.8}
        axis.plot([x["elbo"] for x in own], [place + 0.12] * len(own), "o", **style)
        axis.plot([x["iwae"] for x in own], [place - 0.12] * len(own), "o", mfc="none", **style)
    axis.set_yticks(range(len(runs)), [names[run] for run in runs])
    axis.set_ylim(len(runs) - 0.5, -0.5)


def draw_digits(
    held_out: Tensor, pictures: dict[str, dict[str, Tensor]], names: dict[str, str], path: Path
) -> None:
    """Held-out digits and what each run makes of them; beside them what the prior's draws give."""
    count = len(next(iter(pictures.values()))["drawn"])
    # The first held-out digits are reconstructed; others stand for what draws should look like.
    originals = {"reconstructed": held_out[:count], "drawn": held_out[count : 2 * count]}
    titles = {"reconstructed": "reconstructed from the mean of q(z|x)", "drawn": "drawn from p(z)"}
    rows = len(pictures) + 1
    figure, axes = plt.subplots(rows, 2, figsize=(9, 0.5 * rows + 0.3), layout="constrained")
    for column, (key, title) in zip(axes.T, titles.items(), strict=True):
        column[0].set_title(title, fontsize=10)
        strips = [("held out", originals[key])]
        strips += [(names[run], made[key]) for run, made in pictures.items()]
        for axis, (name, images) in zip(column, strips, strict=True):
            axis.imshow(strip(images), cmap="gray_r", vmin=0, vmax=1, interpolation="none")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if key == "reconstructed":
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def strip(images: Tensor) -> np.ndarray:
    """Images side by side with a gap, each pixel as 8 × 8, so that no viewer blurs them."""
    padded = np.pad(images.numpy().reshape(-1, 8, 8), ((0, 0), (0, 0), (1, 1)))
    return np.kron(np.concatenate(list(padded), axis=1), np.ones((8, 8)))
