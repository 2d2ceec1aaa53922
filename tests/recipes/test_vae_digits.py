"""The recipe of autoencoders runs from beginning to end, and its two sides have one objective."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
PYTHAE = importlib.util.find_spec("pythae") is not None
RUNS = ["plain", "free_bits", "annealed", "beta_16", "beta_1024", *(["pythae"] if PYTHAE else [])]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "recipes")
    return importlib.import_module("vae_digits")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What --tiny writes."""
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    folder = tmp_path_factory.mktemp("vae_digits")
    script = ROOT / "recipes" / "vae_digits.py"
    command = [sys.executable, str(script), "--tiny", "--runs", *RUNS]
    subprocess.run(command, check=True, capture_output=True, timeout=600, cwd=folder)
    # Not where the results of a full run are.
    out = folder / "build" / "vae_digits_tiny"
    for name in ("vae_bounds.svg", "vae_digits.svg"):
        assert (out / name).read_text().lstrip().startswith("<?xml")
    return json.loads((out / "runs.json").read_text())


def test_bounds(found: dict[str, Any]) -> None:
    assert [(x["seed"], x["run"]) for x in found["runs"]] == [(s, r) for s in (0, 1) for r in RUNS]
    for one in found["runs"]:
        # The KL in closed form against draws of it: 450 · 50 draws whose standard deviation is
        # at most √16 nats, a half of a χ² in each dimension, leave about 0.03.
        assert one["elbo"] == pytest.approx(one["elbo_of_draws"], abs=0.2)
        assert one["iwae"] > one["elbo_of_draws"]
        # One part is the exact sum less the other. Trusted is what was found apart and added up
        # to that sum; and 450 inputs have no more to tell than which of them it was.
        told, missed = (one["report"][x] for x in ("mutual_information", "aggregate_kl"))
        assert told["trusted"], one["run"]
        assert 0 <= told["mean"] < math.log(450) + 1e-9
        assert missed["high"] >= 0


def test_the_heavier_the_kl_the_less_it_is(found: dict[str, Any]) -> None:
    for seed in (0, 1):
        runs = {x["run"]: x for x in found["runs"] if x["seed"] == seed}
        rates = [runs[run]["rate"] for run in ("beta_1024", "beta_16", "plain", "free_bits")]
        assert rates == sorted(rates)
        collapsed = runs["beta_1024"]
        assert collapsed["report"]["verdict"].startswith("Collapsed")
        assert not runs["plain"]["report"]["verdict"].startswith("Collapsed")
        # A decoder that hears nothing is a model of pixels apart, and fits it less well than
        # counting does; one nat for the chance of the split.
        assert found["pixels_apart"] - 20 < collapsed["elbo"] < found["pixels_apart"] + 1


def test_likelihood_is_the_binomial(recipe: ModuleType) -> None:
    counts = torch.arange(17.0, dtype=torch.float64)[:, None]
    logits = torch.tensor([-2.5], dtype=torch.float64)
    ours = recipe.log_likelihood(counts, logits) + recipe.ways(counts)
    truth = torch.distributions.Binomial(16, logits=logits).log_prob(counts).squeeze(-1)
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)
    assert float(ours.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.skipif(not PYTHAE, reason="pip install pythae")
def test_pythae_has_the_same_objective(recipe: ModuleType) -> None:
    """Its gradient is a sixteenth of ours, from the same weights, digits and noise."""
    peer = importlib.import_module("vae_digits_peer")
    torch.manual_seed(0)
    model = recipe.Autoencoder(4, 32).double()
    x = torch.randint(0, 17, (8, recipe.PIXELS), dtype=torch.float64)
    gradients = []
    for theirs in (False, True):
        torch.manual_seed(1)
        if theirs:
            loss = recipe.BITS * peer.pythae_model(model)({"data": x / recipe.BITS}).loss
        else:
            loss = recipe.objective(model, "plain", x)
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    # float64, and sums of some hundred terms.
    for ours, other in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-10)
