"""TRPO on vectorised Gymnasium environments, around `kullback.training.trust_region`.

A batch is gathered with the policy as it is; `TrustRegion.step` improves the policy within
KL(old‖new) ≤ `max_kl`; the critic is fitted to what the batch returned; and again. A state of the
policy is one network from observations to a distribution of actions, and the critic is another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers.vector import NormalizeObservation, NormalizeReward, RecordEpisodeStatistics
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

import kullback
from kullback.training.trust_region import (
    TrustRegion,
    generalized_advantages,
    policy_surrogate,
)


@dataclass(frozen=True)
class Settings:
    """What a run depends on, but for the seed; the defaults are those of the MuJoCo runs.

    `max_kl` is in nats for each dimension of the action, as stable-baselines3-contrib counts;
    normalised observations and rewards are kept within ± `clip`.
    """

    environment: str
    steps: int = 1_000_000
    environments: int = 2
    horizon: int = 1024
    normalize: bool = True
    clip: float = 10.0
    discount: float = 0.99
    decay: float = 0.95
    max_kl: float = 0.01
    damping: float = 0.1
    cg_iterations: int = 25
    line_search_steps: int = 10
    damped_length: bool = True
    learning_rate: float = 1e-3
    critic_epochs: int = 20
    critic_batch: int = 128
    test_episodes: int = 20


@dataclass
class Run:
    """What a run left: a curve of training returns, every step's KL, and the last policy's test."""

    settings: Settings
    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    kls: list[float] = field(default_factory=list)
    accepted: int = 0
    seconds: float = 0.0
    test_returns: list[float] = field(default_factory=list)


class Policy(nn.Module):
    """Observations to a distribution of actions: Gaussian, or categorical."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__()
        space, inputs = env.single_action_space, env.single_observation_space.shape[0]
        self.continuous = isinstance(space, gym.spaces.Box)
        outputs = space.shape[0] if self.continuous else int(space.n)
        self.dimensions = outputs if self.continuous else 1
        self.body = network(inputs, outputs, gain=0.01)
        if self.continuous:
            self.log_scale = nn.Parameter(torch.zeros(outputs))

    def forward(self, observations: Tensor) -> Distribution:
        found = self.body(observations)
        if not self.continuous:
            return Categorical(logits=found, validate_args=False)
        scale = self.log_scale.exp().expand_as(found)
        return Independent(Normal(found, scale, validate_args=False), 1, validate_args=False)


def network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Two hidden layers of 64, orthogonal; a small last layer is a start that prefers nothing."""
    sizes, gains = (inputs, 64, 64, outputs), (2**0.5, 2**0.5, gain)
    layers: list[nn.Module] = []
    for rows, columns, size in zip(sizes[:-1], sizes[1:], gains, strict=True):
        layer = nn.Linear(rows, columns)
        nn.init.orthogonal_(layer.weight, size)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@dataclass
class Batch:
    """[time, environments, ...], one more observation than actions; and the episodes that ended.

    Gymnasium resets an environment in the step after the one that ended, in which the action is
    ignored: such steps are not `real`, and their observation is the state that the episode ended
    in, which is what the critic has to be asked about.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    real: Tensor
    returns: list[float]


def train(settings: Settings, seed: int, report: Callable[[int], object]) -> Run:
    """Train a policy and test it; `report` gets the steps so far after every batch."""
    torch.manual_seed(seed)
    env = make(settings)
    policy = Policy(env)
    critic = network(env.single_observation_space.shape[0], 1, gain=1.0)
    optimizer = TrustRegion(
        policy.parameters(),
        settings.max_kl,
        damping=settings.damping,
        cg_iterations=settings.cg_iterations,
        line_search_steps=settings.line_search_steps,
        damped_length=settings.damped_length,
    )
    adam = torch.optim.Adam(critic.parameters(), lr=settings.learning_rate, eps=1e-5, fused=True)

    run, began, finished = Run(settings), time.perf_counter(), []
    observation, _ = env.reset(seed=seed)
    ended = np.zeros(settings.environments, bool)
    done = 0
    while done < settings.steps:
        batch, observation, ended = collect(env, policy, observation, ended, settings.horizon)
        finished = (finished + batch.returns)[-100:]
        done += int(batch.real.sum())

        advantages, targets = judge(critic, batch, settings)
        step = improve(policy, optimizer, batch, advantages)
        fit(critic, adam, batch.observations[:-1][batch.real], targets[batch.real], settings)

        run.steps.append(done)
        run.returns.append(float(np.mean(finished)) if finished else float("nan"))
        run.kls.append(step.kl)
        run.accepted += step.accepted
        report(done)
    run.seconds = time.perf_counter() - began
    run.test_returns = test(env, policy, settings, seed + 10_000)
    env.close()
    return run


def make(settings: Settings) -> Any:
    env: Any = RecordEpisodeStatistics(
        gym.make_vec(
            settings.environment, num_envs=settings.environments, vectorization_mode="sync"
        )
    )
    if not settings.normalize:
        return env
    seen = ClippedObservation(env)
    seen.clip = settings.clip
    found = ClippedReward(seen, gamma=settings.discount)
    found.clip = settings.clip
    return found


class ClippedObservation(NormalizeObservation):
    """Observations less their mean over their standard deviation, within ± `clip`."""

    clip: float

    def observations(self, observations: Any) -> Any:
        return super().observations(observations).clip(-self.clip, self.clip)


class ClippedReward(NormalizeReward):
    """Rewards over the standard deviation of an episode's discounted return, within ± `clip`.

    Gymnasium's own lets the return run on over a time limit into the next episode: with a discount
    near 1 it grows, and the rewards become too small for the critic to see.
    """

    clip: float

    def step(self, actions: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(actions)
        self.accumulated_reward[truncated] = 0.0
        return observation, reward.clip(-self.clip, self.clip), terminated, truncated, info


@torch.no_grad()
def collect(
    env: Any, policy: Policy, observation: Any, ended: Any, horizon: int
) -> tuple[Batch, Any, Any]:
    """A batch, and the observation and the ends to begin the next one with."""
    observations, steps, returns = [observation], [], []
    for _ in range(horizon):
        action = policy(torch.as_tensor(observation)).sample()
        real = ~ended
        observation, reward, terminated, truncated, info = env.step(within(env, action))
        observations.append(observation)
        steps.append((action.numpy(), np.float32(reward), terminated, truncated, real))
        ended = terminated | truncated
        returns += episodes(info)
    actions, rewards, terminated, truncated, real = (
        torch.as_tensor(np.stack(x)) for x in zip(*steps, strict=True)
    )
    # The step of a reset belongs to no episode: nothing may flow through it.
    truncated = truncated | ~real
    seen = torch.as_tensor(np.stack(observations))
    return Batch(seen, actions, rewards, terminated, truncated, real, returns), observation, ended


def episodes(info: dict[str, Any]) -> list[float]:
    """Returns of the episodes that this step ended."""
    ended = info.get("_episode", ())
    return [float(info["episode"]["r"][place]) for place in np.flatnonzero(ended)]


def within(env: Any, action: Tensor) -> Any:
    """The action as the environment takes it; a Gaussian one may lie outside of its box."""
    space = env.single_action_space
    if not isinstance(space, gym.spaces.Box):
        return action.numpy()
    return np.clip(action.numpy(), space.low, space.high)


@torch.no_grad()
def judge(critic: nn.Module, batch: Batch, settings: Settings) -> tuple[Tensor, Tensor]:
    """How much better each action was than its state, and what the critic should have said."""
    values = critic(batch.observations)[..., 0]
    advantages = generalized_advantages(
        batch.rewards,
        values[:-1],
        values[1:],
        terminated=batch.terminated,
        truncated=batch.truncated,
        discount=settings.discount,
        decay=settings.decay,
    )
    return advantages, advantages + values[:-1]


def improve(policy: Policy, optimizer: TrustRegion, batch: Batch, advantages: Tensor) -> Any:
    """The constrained step, on the real steps of the batch."""
    observations, actions = batch.observations[:-1][batch.real], batch.actions[batch.real]
    wanted = advantages[batch.real]
    wanted = (wanted - wanted.mean()) / wanted.std()
    with torch.no_grad():
        old = policy(observations)
        old_log_probs = old.log_prob(actions)

    def surrogate() -> Tensor:
        return policy_surrogate(policy(observations).log_prob(actions), old_log_probs, wanted)

    def kl() -> Tensor:
        return kullback.kl_divergence(old, policy(observations)).mean() / policy.dimensions

    return optimizer.step(surrogate, kl)


def fit(critic: nn.Module, adam: Any, states: Tensor, targets: Tensor, settings: Settings) -> None:
    """The critic, by least squares in small batches."""
    for _ in range(settings.critic_epochs):
        for rows in torch.randperm(len(states)).split(settings.critic_batch):
            loss = (critic(states[rows])[:, 0] - targets[rows]).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()


@torch.no_grad()
def test(env: Any, policy: Policy, settings: Settings, seed: int) -> list[float]:
    """Returns of whole episodes under the policy's most probable actions, as it was trained.

    Each environment plays the same number: the first to end would be the shortest.
    """
    if settings.normalize:
        # The observations' scale is part of what was learnt; the rewards' is not read here.
        env.env.update_running_mean = False
    share = -(-settings.test_episodes // settings.environments)
    played: list[list[float]] = [[] for _ in range(settings.environments)]
    observation, _ = env.reset(seed=seed)
    while min(map(len, played)) < share:
        action = policy(torch.as_tensor(observation)).mode
        observation, _, _, _, info = env.step(within(env, action))
        for place in np.flatnonzero(info.get("_episode", ())):
            played[place].append(float(info["episode"]["r"][place]))
    return [x for found in played for x in found[:share]][: settings.test_episodes]
