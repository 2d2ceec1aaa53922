"""The best policy of `policy_penalty.py`, by weighing what its reference writes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from characters import ALPHABET, CharacterModel, written

__all__ = ["means", "optimum"]


@torch.no_grad()
def optimum(
    reference: CharacterModel, prompts: Tensor, coefficient: float, length: int, draws: int
) -> dict[str, float]:
    """What the best policy has: π* ∝ ref·exp(reward/β) after each prompt, by weighing ref's own.

    No policy has more of "value", reward/β − KL(π‖ref), and what one lacks is its KL(π‖π*).
    The logarithm of a mean is low by about a half over the effective draws, (Σw)²/Σw². "halves" is
    the value from half the draws, low by twice as much: half to all is about what all still lacks.
    """
    kls, rewards, values, halves, effective = [], [], [], [], []
    for prompt in prompts:
        tokens = written(reference, prompt.expand(draws, -1), length)
        reward = (tokens == ALPHABET.index("e")).double().sum(-1)
        weights = (reward / coefficient).softmax(-1)
        values.append(log_mean_exp(reward / coefficient))
        two = (reward / coefficient).chunk(2)
        halves.append(torch.stack([log_mean_exp(half) for half in two]).mean())
        effective.append(1 / weights.square().sum())
        rewards.append((weights * reward).sum())
        kls.append(rewards[-1] / coefficient - values[-1])
    found = {"kl": kls, "reward": rewards, "value": values, "halves": halves}
    found["effective_draws"] = effective
    return means({name: torch.stack(x) for name, x in found.items()})


def log_mean_exp(x: Tensor) -> Tensor:
    return x.logsumexp(-1) - math.log(len(x))


def means(found: dict[str, Tensor]) -> dict[str, float]:
    """And their standard errors."""
    return {key: float(x.mean()) for key, x in found.items()} | {
        f"{key}_error": float(x.std()) / math.sqrt(len(x)) for key, x in found.items()
    }
