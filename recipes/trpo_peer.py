"""stable-baselines3-contrib's TRPO with the settings of our own runs, as the yardstick."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sb3_contrib import TRPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from trpo_agent import Run, Settings


def train(settings: Settings, seed: int, report: Callable[[int], object]) -> Run:
    """Train and test as `trpo_agent.train` does."""
    env: Any = make_vec_env(settings.environment, settings.environments, seed=seed)
    if settings.normalize:
        env = VecNormalize(
            env, clip_obs=settings.clip, clip_reward=settings.clip, gamma=settings.discount
        )
    learner = TRPO(
        "MlpPolicy",
        env,
        n_steps=settings.horizon,
        gamma=settings.discount,
        gae_lambda=settings.decay,
        target_kl=settings.max_kl,
        cg_damping=settings.damping,
        cg_max_steps=settings.cg_iterations,
        line_search_max_iter=settings.line_search_steps,
        learning_rate=settings.learning_rate,
        n_critic_updates=settings.critic_epochs,
        batch_size=settings.critic_batch,
        seed=seed,
        device="cpu",
    )
    curve = Curve(Run(settings), report)
    began = time.perf_counter()
    learner.learn(settings.steps, callback=curve)
    curve.run.seconds = time.perf_counter() - began
    if settings.normalize:
        env.training = env.norm_reward = False
    env.seed(seed + 10_000)
    found, _ = evaluate_policy(
        learner, env, settings.test_episodes, deterministic=True, return_episode_rewards=True
    )
    curve.run.test_returns = [float(x) for x in found]
    env.close()
    return curve.run


class Curve(BaseCallback):
    """The mean return of the last hundred episodes after every batch, and the last step's KL."""

    def __init__(self, run: Run, report: Callable[[int], object]) -> None:
        super().__init__()
        self.run, self.report = run, report

    def _on_rollout_end(self) -> None:
        finished = [x["r"] for x in self.model.ep_info_buffer or ()]
        self.run.steps.append(self.num_timesteps)
        self.run.returns.append(float(np.mean(finished)) if finished else float("nan"))
        kl = self.logger.name_to_value.get("train/kl_divergence_loss")
        if kl is not None:
            self.run.kls.append(float(kl))
            self.run.accepted += bool(kl > 0)
        self.report(self.num_timesteps)

    def _on_step(self) -> bool:
        return True
