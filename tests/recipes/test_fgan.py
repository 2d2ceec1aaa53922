"""The recipes of adversarial training: their measures against mathematics, and their tiny runs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kullback.training.gan import info_nce

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module


def run_tiny(name: str, folder: Path) -> Path:
    """Where it has written, unasked: not where the results of a full run are."""
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--tiny"]
    subprocess.run(command, check=True, capture_output=True, timeout=600, cwd=folder)
    assert [x.name for x in (folder / "build").iterdir()] == [f"{name}_tiny"]
    return folder / "build" / f"{name}_tiny"


class TestBounds:
    def test_tiny(self, tmp_path: Path) -> None:
        out = run_tiny("fgan_bounds", tmp_path)
        results = json.loads((out / "bounds.json").read_text())["results"]
        found = {x["bound"]: x for x in results}
        assert len(found) == len(results) == 11
        truth = {name: x["truth"] for name, x in found.items()}
        # KL of N(0, 1) from N(1.2, 1.2²), and identities between divergences.
        assert truth["kl"] == pytest.approx(math.log(1.2) + 2.44 / 2.88 - 0.5, rel=1e-6)
        assert truth["gan"] == pytest.approx(2 * truth["js"], rel=1e-6)
        assert truth["alpha"] == pytest.approx(4 * truth["squared_hellinger"], rel=1e-6)
        for x in results:
            # 250 steps leave a few per cent; above the truth there is sampling noise only, and
            # twice the 95 % interval is four standard errors.
            assert x["value"] > 0.9 * x["truth"], x
            assert x["value"] - x["truth"] < 2 * (x["high"] - x["value"]), x
        # One objective under two names, from one seed.
        assert found["nwj"]["value"] == pytest.approx(found["kl"]["value"], rel=1e-4)
        assert (out / "bounds.svg").read_text().lstrip().startswith("<?xml")

    def test_infonce_cannot_say_more_than_log_n(self, recipe: Any) -> None:
        bounds = recipe("fgan_bounds")
        pairs = bounds.problems(tiny=False)["pairs"]
        assert bounds.truth(pairs, "info_nce") == pytest.approx(-math.log(1 - 0.8**2), rel=1e-5)
        assert math.log(bounds.PAIRS) > 6 * bounds.truth(pairs, "info_nce")
        for n in (2, bounds.PAIRS):
            # A critic that is sure of every pair, and right.
            value = float(info_nce(1000 * torch.eye(n, dtype=torch.float64)))
            assert math.log(n) - 1e-12 < value <= math.log(n)


class TestGaussian:
    def test_tiny(self, tmp_path: Path) -> None:
        out = run_tiny("fgan_gaussian", tmp_path)
        fits = json.loads((out / "fits.json").read_text())["fits"]
        (best,) = fits["kl"]["minima"]
        # The Gaussian nearest in KL(P‖Q) has the mean and the variance of P.
        assert best["mean"] == pytest.approx(-0.8, abs=1e-3)
        assert best["scale"] == pytest.approx(math.sqrt(4 + 0.36 - 0.64), abs=1e-3)
        # KL(Q‖P) takes a mode and leaves the other: all but −log 0.7 of it is gone.
        lowest = fits["reverse_kl"]["minima"][0]
        assert lowest["divergence"] == pytest.approx(-math.log(0.7), abs=1e-2)
        assert lowest["right_of_0"] < 0.01
        for found in fits.values():
            for fit in found["trained"]:
                # No Gaussian is better than the best; the integral is right to 1e-6 of itself.
                assert fit["divergence"] > found["minima"][0]["divergence"] * (1 - 1e-5)
        assert all(0.1 < fit["right_of_0"] < 0.6 for fit in fits["kl"]["trained"])
        assert (out / "fits.svg").read_text().lstrip().startswith("<?xml")


class TestRingAndDigits:
    def test_tiny(self, tmp_path: Path) -> None:
        out = run_tiny("fgan", tmp_path)
        results = json.loads((out / "ring.json").read_text())["results"]
        assert list(results) == ["js", "wasserstein"]
        for runs in results.values():
            assert len(runs) == 2
            # Generators start near the centre, where no mode is; 400 steps bring them outwards.
            assert all(run["high_quality"] > 0.05 for run in runs)
        assert (out / "ring.svg").read_text().lstrip().startswith("<?xml")

    def test_the_ring_itself_and_a_circle(self, recipe: Any) -> None:
        fgan = recipe("fgan")
        torch.manual_seed(0)
        real = fgan.measure_ring(fgan.ring().draw((1, 100_000))[0])
        # In two dimensions e^(−9/2) lies beyond 3σ; of 100,000 draws ± 0.0003.
        assert real["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.002)
        assert real["covered"] == 8
        angle = torch.linspace(0, 2 * math.pi, 100_001)[:-1]
        circle = fgan.measure_ring(fgan.RADIUS * torch.stack([angle.cos(), angle.sin()], -1))
        # A chord of 3σ subtends 2 asin(3σ/2R), on both sides of each of eight modes.
        share = 8 * 4 * math.asin(3 * fgan.WIDTH / (2 * fgan.RADIUS)) / (2 * math.pi)
        assert circle["high_quality"] == pytest.approx(share, abs=1e-3)
        # Every mode has its share of a plain circle, and none of them counts.
        assert circle["covered"] == 0
        assert fgan.measure_ring(fgan.modes()[:1].repeat(100, 1))["covered"] == 1

    @pytest.mark.skipif(
        importlib.util.find_spec("sklearn") is None, reason="pip install scikit-learn"
    )
    def test_the_digits_themselves(self, recipe: Any) -> None:
        task = recipe("fgan").digits()
        torch.manual_seed(0)
        found = task.measure(task.draw((1, 5000))[0])
        assert found["covered"] == 10
        # 10 classes of 5000 draws: (10 − 1)/(2·5000) on average, and what the classifier mistakes.
        assert 0 <= found["kl_of_classes"] < 0.005
        one = task.measure(torch.zeros(50, 64))
        assert one["covered"] == 1
        assert one["kl_of_classes"] == pytest.approx(math.log(10), abs=0.05)


def test_networks_side_by_side_are_networks_alone(recipe: Any) -> None:
    """Adam's steps on the mean over all are its steps on each."""
    side_by_side = recipe("side_by_side").SideBySide
    x = torch.randn(3, 16, 2, generator=torch.Generator().manual_seed(0))

    def trained(seeds: list[int], inputs: torch.Tensor) -> torch.Tensor:
        network = side_by_side(seeds, [2, 8, 1])
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            (network(inputs) - 1).square().mean().backward()
            optimizer.step()
        return network(inputs).detach()

    alone = torch.cat([trained([seed], x[seed : seed + 1]) for seed in range(3)])
    # Adam's own epsilon, 1e-8, is all that sees the factor of 3.
    torch.testing.assert_close(trained([0, 1, 2], x), alone, rtol=1e-4, atol=1e-5)
