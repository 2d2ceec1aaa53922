"""The recipe against enumeration of all continuations, and what it finds in a few steps."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

ROOT = Path(__file__).parents[2]
BETA = 0.6


@pytest.fixture(scope="module")
def recipe() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "recipes"))
        import policy_penalty

        yield policy_penalty


@pytest.fixture(scope="module")
def models(recipe: Any) -> tuple[Any, Any, Tensor]:
    """A policy far from its reference, and all continuations of two characters of a prompt."""
    torch.manual_seed(0)
    policy, reference = (recipe.CharacterModel(8).double() for _ in range(2))
    for side, scale in ((policy, 6.0), (reference, 3.0)):
        for weight in side.parameters():
            weight.data.mul_(scale)
    # Enough of the letter for its reward to matter.
    reference.head.bias.data[recipe.ALPHABET.index("e")] += 3
    reference.requires_grad_(False)
    letters = torch.arange(len(recipe.ALPHABET))
    return policy, reference, torch.cartesian_prod(letters, letters)


def all_of(recipe: Any, models: tuple[Any, Any, Tensor]) -> tuple[Any, Tensor, Tensor]:
    """Everything that can be written, log π and log ref of it."""
    policy, reference, tokens = models
    rollout = recipe.read(policy, reference, prompt(recipe).expand(len(tokens), -1), tokens)
    log_probs, reference_log_probs = (
        rollout.of_tokens(x).sum(-1) for x in (rollout.logits, rollout.reference_logits)
    )
    assert float(log_probs.detach().exp().sum()) == pytest.approx(1, abs=1e-12)
    return rollout, log_probs, reference_log_probs


def prompt(recipe: Any) -> Tensor:
    return recipe.encoded(["security"[: recipe.PROMPT]])[None]


def gradient(policy: Any, loss: Tensor) -> Tensor:
    found = torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True)
    return torch.cat([x.flatten() for x in found])


def test_what_is_measured_is_the_kl_of_whole_continuations(recipe: Any, models: Any) -> None:
    rollout, log_probs, reference_log_probs = all_of(recipe, models)
    whole = (log_probs.exp() * (log_probs - reference_log_probs)).sum()
    measured = (log_probs.exp() * recipe.token_kl("full", rollout).sum(-1)).sum()
    assert float(measured.detach()) == pytest.approx(float(whole.detach()), rel=1e-12)


def test_mean_gradients_of_the_penalties(recipe: Any, models: Any) -> None:
    """k1 pulls nowhere; k2 and policy_kl as the whole alphabet does; k3 elsewhere."""
    rollout, log_probs, _ = all_of(recipe, models)
    mean = {
        name: gradient(
            models[0], (log_probs.exp().detach() * recipe.token_kl(name, rollout).sum(-1)).sum()
        )
        for name in ("k1", "k2", "k3", "exact", "full")
    }
    size = mean["full"].norm()
    assert mean["k1"].norm() < 1e-12 * size
    for name in ("k2", "exact"):
        assert (mean[name] - mean["full"]).norm() < 1e-10 * size
    assert (mean["k3"] - mean["full"]).norm() > 0.1 * size


def test_only_these_losses_have_the_gradient_of_the_whole_kl(recipe: Any, models: Any) -> None:
    """Along what the tokens' own gradients lack, in batches that π wrote, within 4 errors."""
    policy, reference, _ = models
    rollout, log_probs, reference_log_probs = all_of(recipe, models)
    kl = log_probs - reference_log_probs
    whole = log_probs.exp() * (BETA * kl - rollout.rewards.sum(-1))
    aim = gradient(policy, whole.sum())
    own = (log_probs.exp().detach() * recipe.token_kl("full", rollout).sum(-1)).sum()
    lacking = gradient(policy, (log_probs.exp() * kl).sum()) - gradient(policy, own)
    assert lacking.norm() > 0.1 * aim.norm()
    torch.manual_seed(1)
    prompts = prompt(recipe).expand(500, -1)
    batches = [recipe.roll_out(policy, reference, prompts, 2) for _ in range(40)]
    for name, right in (("sequence", True), ("reward", True), ("exact", False), ("full", False)):
        missed = torch.stack(
            [(gradient(policy, recipe.loss_of(name, b, BETA)[0]) - aim) @ lacking for b in batches]
        )
        error = missed.std() / len(missed) ** 0.5
        assert (missed.mean().abs() < 4 * error) == right, name


def test_optimum(recipe: Any, models: Any) -> None:
    _, reference, _ = models
    rollout, _, reference_log_probs = all_of(recipe, models)
    reward = rollout.rewards.sum(-1) / BETA
    best = (reference_log_probs + reward).logsumexp(-1)
    star = (reference_log_probs + reward - best).exp()
    torch.manual_seed(2)
    draws = 10_000
    found = recipe.optimum(reference, prompt(recipe).repeat(2, 1), BETA, 2, draws)
    # The relative standard error of a mean of exp(reward/β) over the reference's draws.
    square = (reference_log_probs + 2 * (reward - best)).exp().sum()
    error = float((square - 1) / (2 * draws)) ** 0.5
    assert found["value"] == pytest.approx(float(best), abs=4 * error)
    kl = float((star * (reward - best)).sum())
    assert kl > 0.1
    assert found["kl"] == pytest.approx(kl, abs=10 * error)
    # ESS = n E[w]²/E[w²], w = exp(reward/β) under the reference.
    assert found["effective_draws"] == pytest.approx(draws / float(square), rel=0.2)


def test_the_logarithm_of_a_mean_is_low_and_halves_tell_by_how_much(
    recipe: Any, models: Any
) -> None:
    _, reference, _ = models
    rollout, _, reference_log_probs = all_of(recipe, models)
    reward = rollout.rewards.sum(-1) / BETA
    best = float((reference_log_probs + reward).logsumexp(-1))
    torch.manual_seed(3)
    # A few draws for many prompts: the bias shows, and the noise does not.
    found = recipe.optimum(reference, prompt(recipe).repeat(4000, 1), BETA, 2, 16)
    lacking, shown = best - found["value"], found["value"] - found["halves"]
    assert lacking > 4 * found["value_error"]
    assert shown == pytest.approx(lacking, rel=0.5)


def test_one_continuation_has_no_others(recipe: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["policy_penalty.py", "--tiny", "--batch", "1"])
    with pytest.raises(SystemExit):
        recipe.main()
    assert "2 or more" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", [1, 2])
def test_tables_fit_a_terminal(recipe: Any, seeds: int) -> None:
    report = sys.modules["policy_penalty_report"]
    keys = ("kl", "believed", "reward", "coefficient")
    runs = [
        {"penalty": name, "adaptive": adaptive, "curve": [dict.fromkeys(keys, 1.2345 + seed)] * 3}
        for seed in range(seeds)
        for name in recipe.PENALTIES
        for adaptive in (False, True)
    ]
    best = dict.fromkeys(("kl", "reward", "value", "halves", "effective_draws"), 1.0)
    best |= {"kl_error": 0.0, "reward_error": 0.0}
    console = Console(width=80, record=True, file=io.StringIO())
    settings = {"seeds": seeds, "target": 4.0, "coefficient": BETA}
    options = Namespace(penalties=list(recipe.PENALTIES), **settings)
    report.report(console, runs, best, options)
    text = console.export_text()
    assert all(f" {x.label} " in text for x in recipe.PENALTIES.values())
    assert "…" not in text
    # With one seed there is no range to tell.
    assert ("lowest" in text, "(1.23, 2.23)" in text) == (seeds > 1, seeds > 1)
    assert "below it" in text


def test_tiny(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = ROOT / "recipes" / "policy_penalty.py"
    command = [sys.executable, str(script), "--tiny"]
    subprocess.run(command, check=True, capture_output=True, timeout=600, cwd=tmp_path)
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["policy_penalty_tiny"]
    out = tmp_path / "build" / "policy_penalty_tiny"
    found = json.loads((out / "curves.json").read_text())
    curves = {(run["penalty"], run["adaptive"]): run["curve"] for run in found["runs"]}
    assert len(curves) == 15
    for curve in curves.values():
        assert all(a["step"] < b["step"] for a, b in pairwise(curve))
        assert curve[0]["kl"] == 0
        assert all(point["kl"] > 0 for point in curve[1:])
    last = {name: curve[-1] for (name, adaptive), curve in curves.items() if not adaptive}
    for name in ("none", "k1"):
        assert last[name]["kl"] > 5 * last["exact"]["kl"]
    # One gradient, and so one policy; what they believe of it differs.
    for one, other in zip(curves["k2", False], curves["exact", False], strict=True):
        assert one["kl"] == pytest.approx(other["kl"], rel=1e-3)
    assert last["k2"]["believed"] != pytest.approx(last["exact"]["believed"], rel=1e-3)
    # No policy is worth more than the best one.
    best = found["optimum"]
    for point in last.values():
        value = point["reward"] / BETA - point["kl"]
        assert value < best["value"] + 4 * (point["reward_error"] / BETA + best["value_error"])
    # β grows where the KL stays above its target, and only the k1 loss does nothing about it.
    assert curves["k1", True][-1]["kl"] > 4 * 4.0
    assert curves["k1", True][-1]["coefficient"] > BETA
    assert all(
        p["kl"] < 2 * 4.0 for p in (c[-1] for (n, a), c in curves.items() if a and n != "k1")
    )
    assert (out / "curves.svg").read_text().lstrip().startswith("<?xml")
