"""Generalised advantages against the sum that defines them, episode by episode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, KullbackError, NonFiniteError, ShapeError
from kullback.training.trust_region import generalized_advantages


def batch(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """rewards, values, next values, terminated and truncated, [30, 4]."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(3, 30, 4, generator=generator, dtype=torch.float64).to(dtype)
    end = torch.rand(30, 4, generator=generator)
    return *numbers, end < 0.1, end > 0.85


def direct(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    discount: float,
    decay: float,
) -> Tensor:
    """Σₗ (γλ)ˡ δₜ₊ₗ, one number after the other, up to the first end after t."""
    out = torch.zeros(rewards.shape, dtype=torch.float64)
    steps, lanes = rewards.shape
    for lane in range(lanes):
        for t in range(steps):
            for later in range(t, steps):
                onward = 0.0 if terminated[later, lane] else float(next_values[later, lane])
                delta = float(rewards[later, lane]) + discount * onward - float(values[later, lane])
                out[t, lane] += (discount * decay) ** (later - t) * delta
                if terminated[later, lane] or truncated[later, lane]:
                    break
    return out


@pytest.mark.parametrize(("discount", "decay"), [(0.99, 0.95), (1, 1), (0.9, 0), (0, 0.5)])
@pytest.mark.parametrize(
    # 30 roundings of sums of order ten.
    ("dtype", "tolerance"),
    [(torch.float64, 1e-13), (torch.float32, 1e-4)],
)
def test_the_direct_sum(
    discount: float, decay: float, dtype: torch.dtype, tolerance: float
) -> None:
    rewards, values, next_values, terminated, truncated = batch(0, dtype)
    found = generalized_advantages(
        rewards,
        values,
        next_values,
        terminated=terminated,
        truncated=truncated,
        discount=discount,
        decay=decay,
    )
    expected = direct(rewards, values, next_values, terminated, truncated, discount, decay)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, rtol=0, atol=tolerance)


def test_with_both_at_one_it_is_the_return_less_the_value() -> None:
    rewards, values, *_ = batch(1)
    over = torch.zeros(30, 4)
    over[-1] = 1
    after = torch.cat([values[1:], torch.full((1, 4), 7.0)])
    found = generalized_advantages(rewards, values, after, terminated=over, discount=1.0, decay=1.0)
    assert torch.allclose(found + values, rewards.flip(0).cumsum(0).flip(0), rtol=0, atol=1e-12)


def test_an_end_is_worth_nothing_and_a_cut_what_the_critic_says() -> None:
    one, yes, no = torch.ones(1), torch.tensor([True]), torch.tensor([False])
    told: dict[str, Any] = {"discount": 0.5, "decay": 1.0}
    ended = generalized_advantages(one, one, 8 * one, terminated=yes, truncated=no, **told)
    cut = generalized_advantages(one, one, 8 * one, terminated=no, truncated=yes, **told)
    both = generalized_advantages(one, one, 8 * one, terminated=yes, truncated=yes, **told)
    assert (ended.item(), cut.item(), both.item()) == (0, 4, 0)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_no_reward_reaches_an_earlier_episode(end: str) -> None:
    rewards, values, next_values, *_ = batch(2)
    ends: dict[str, Any] = {"terminated": torch.zeros(30, 4), "truncated": torch.zeros(30, 4)}
    ends[end][9] = 1
    before = generalized_advantages(rewards, values, next_values, **ends)
    rewards[10:] += 100
    after = generalized_advantages(rewards, values, next_values, **ends)
    assert torch.equal(before[:10], after[:10])
    assert (after[10:] > before[10:]).all()


def test_what_follows_an_end_is_not_read_and_nothing_is_differentiated() -> None:
    rewards, values, next_values, terminated, _ = batch(3)
    odd = torch.where(terminated, torch.nan, next_values)
    found = generalized_advantages(rewards, values.requires_grad_(), odd, terminated=terminated)
    assert found.isfinite().all()
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rewards": torch.ones(3, dtype=torch.int64)}, DtypeError, r"rewards\.float\(\)"),
        ({"values": torch.ones(4)}, ShapeError, "values"),
        ({"terminated": torch.ones(3, 1)}, ShapeError, "terminated"),
        ({"truncated": torch.ones(2)}, ShapeError, "truncated"),
        ({"rewards": torch.tensor([1.0, torch.nan, 1])}, NonFiniteError, "step 1.*reward nan"),
        ({"next_values": torch.tensor([1.0, 1, torch.inf])}, NonFiniteError, "step 2.*next"),
        ({"discount": 1.1}, InputError, "discount=1.1"),
        ({"decay": -0.1}, InputError, "decay=-0.1"),
        ({"discount": "a"}, InputError, "discount='a'"),
        ({"rewards": torch.ones(0)}, ShapeError, "at least one step"),
        ({"rewards": [1.0, 2.0, 3.0]}, DtypeError, "rewards are a list"),
        ({"terminated": [False] * 3}, DtypeError, "terminated is a list"),
        ({"terminated": torch.tensor([0, torch.nan, 1])}, InputError, "terminated is 1 where"),
        ({"truncated": torch.tensor([0, 2, 1])}, InputError, "truncated is 1 where"),
    ],
)
def test_errors(change: dict[str, Any], error: type[KullbackError], words: str) -> None:
    usual = {name: torch.ones(3) for name in ("rewards", "values", "next_values")}
    with pytest.raises(error, match=words):
        generalized_advantages(**{**usual, "terminated": torch.zeros(3), **change})
