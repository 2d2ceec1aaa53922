"""TRPO's recipe: what a batch is, that a step keeps to its constraint, and a run of each kind."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

RECIPES = Path(__file__).parents[2] / "recipes"
pytest.importorskip("mujoco", reason="pip install gymnasium[mujoco]")


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module("trpo_agent")


def begun(agent: Any, environment: str, horizon: int) -> Any:
    settings = agent.Settings(environment, normalize=environment != "CartPole-v1")
    torch.manual_seed(0)
    env = agent.make(settings)
    observation, _ = env.reset(seed=0)
    policy = agent.Policy(env)
    return settings, policy, agent.collect(env, policy, observation, np.zeros(2, bool), horizon)[0]


def test_the_step_of_a_reset_is_not_real(agent: Any) -> None:
    _, _, batch = begun(agent, "CartPole-v1", 200)
    ended = batch.terminated | (batch.truncated & batch.real)
    # Every step after an end is a reset's, and no other is.
    assert torch.equal(~batch.real[1:], ended[:-1])
    assert batch.real[0].all()
    assert len(batch.returns) == int(ended.sum()) > 5
    # CartPole pays 1 a step, so an episode's return is its number of real steps.
    lengths = [np.diff(np.flatnonzero([True, *ended[:, i]])) for i in (0, 1)]
    resets = [np.r_[0, np.ones(len(found) - 1, int)] for found in lengths]
    expected = np.concatenate([x - r for x, r in zip(lengths, resets, strict=True)])
    assert sorted(batch.returns) == sorted(expected.tolist())
    # Episodes that fell over: the state they ended in is the one that is judged, not the next.
    place = tuple(batch.terminated.nonzero()[0].tolist())
    last = batch.observations[place[0] + 1, place[1]]
    assert abs(float(last[2])) > 0.2 or abs(float(last[0])) > 2.4


def test_nothing_flows_through_a_reset(agent: Any) -> None:
    settings, _, batch = begun(agent, "CartPole-v1", 60)
    critic = agent.network(4, 1, gain=1.0)
    advantages, targets = agent.judge(critic, batch, settings)
    first = int(batch.terminated[:, 0].nonzero()[0])
    with torch.no_grad():
        values = critic(batch.observations)[..., 0].double()
    expected = 0.0
    for step in range(first, -1, -1):
        following = 0.0 if step == first else float(values[step + 1, 0])
        delta = 1.0 + 0.99 * following - float(values[step, 0])
        expected = delta + 0.99 * 0.95 * expected
    assert float(advantages[0, 0]) == pytest.approx(expected, rel=1e-5)
    assert float(targets[0, 0]) == pytest.approx(expected + float(values[0, 0]), rel=1e-5)


@pytest.mark.parametrize(("environment", "dimensions"), [("CartPole-v1", 1), ("Hopper-v5", 3)])
def test_a_step_keeps_to_the_constraint(agent: Any, environment: str, dimensions: int) -> None:
    settings, policy, batch = begun(agent, environment, 128)
    states = batch.observations[:-1][batch.real]
    advantages = torch.randn(batch.rewards.shape)
    with torch.no_grad():
        old = policy.double()(states.double())
    policy.float()
    optimizer = agent.TrustRegion(policy.parameters(), settings.max_kl)
    step = agent.improve(policy, optimizer, batch, advantages)
    assert step.accepted
    with torch.no_grad():
        reached = float(kl_divergence(old, policy.double()(states.double())).mean()) / dimensions
    assert reached <= settings.max_kl * (1 + 1e-5)
    assert reached == pytest.approx(step.kl, rel=1e-3)


def test_a_time_limit_ends_the_return_that_scales_rewards(agent: Any) -> None:
    env = agent.make(agent.Settings("Swimmer-v5"))
    env.reset(seed=0)
    cut = [env.step(np.zeros((2, 2), np.float32))[3] for _ in range(1000)]
    assert cut[-1].all()
    assert not np.any(cut[:-1])
    assert (env.accumulated_reward == 0).all()


def test_tiny(tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib", reason="pip install sb3-contrib")
    tasks = ["--environments", "CartPole-v1", "Swimmer-v5"]
    command = [sys.executable, str(RECIPES / "trpo.py"), "--tiny", *tasks, "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    runs = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(runs) == {f"{x}_{y}_0" for x in tasks[1:] for y in ("kullback", "sb3")}
    for name, run in runs.items():
        assert len(run["test_returns"]) == run["settings"]["test_episodes"]
        assert 0 < max(run["kls"]) <= run["settings"]["max_kl"], name
    assert (tmp_path / "curves.svg").read_text().lstrip().startswith("<?xml")
    # Finished runs are not made again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_of_other_settings_is_made_again(agent: Any, tmp_path: Path) -> None:
    trpo = importlib.import_module("trpo")
    settings = agent.Settings("Hopper-v5", steps=10)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"settings": json.loads(json.dumps(settings.__dict__))}))
    assert trpo.finished(path, settings)
    assert not trpo.finished(path, replace(settings, damping=0.2))


def test_the_settings_reach_the_step(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def region(parameters: Any, max_kl: float, **options: Any) -> None:
        raise Seen(max_kl, options)

    monkeypatch.setattr(agent, "TrustRegion", region)
    settings = agent.Settings("CartPole-v1", normalize=False, max_kl=0.02, damping=0.3)
    with pytest.raises(Seen) as seen:
        agent.train(settings, 0, lambda steps: None)
    max_kl, options = seen.value.args
    assert max_kl == 0.02
    for name, value in options.items():
        assert value == getattr(settings, name)
    assert set(options) == {"damping", "cg_iterations", "line_search_steps", "damped_length"}


@pytest.mark.parametrize("wrong", ["0", "-1", "two"])
def test_counts_are_checked(agent: Any, wrong: str) -> None:
    command = [sys.executable, str(RECIPES / "trpo.py"), "--seeds", wrong]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert "no whole number from 1 on" in found.stderr or "expected one argument" in found.stderr
