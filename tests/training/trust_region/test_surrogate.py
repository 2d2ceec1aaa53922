"""The objective of a policy's step: against the means it estimates, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import kullback as kl
from kullback.errors import DtypeError, NonFiniteError, ShapeError
from kullback.training.trust_region import TrustRegion, policy_surrogate

F64 = torch.float64


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_its_mean_over_the_old_policy_is_the_new_policys_advantage() -> None:
    """Each action as often as π_old takes it: Σ π·A, and its gradient."""
    counts = torch.tensor([1, 2, 5])
    actions = torch.repeat_interleave(torch.arange(3), counts)
    old = (counts / counts.sum()).double().log()
    new, advantages = logits(3, seed=1).requires_grad_(), logits(3, seed=2)
    log_probs = new.log_softmax(-1)
    found = policy_surrogate(log_probs[actions], old[actions], advantages[actions])
    mean = log_probs.exp() @ advantages
    assert float(found.detach()) == pytest.approx(float(mean.detach()), rel=1e-12)
    one, other = (torch.autograd.grad(x, new, retain_graph=True)[0] for x in (found, mean))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_it_is_the_objective_of_a_step() -> None:
    policy = logits(64, 4).requires_grad_()
    old, actions, advantages = policy.detach().clone(), torch.arange(64) % 4, logits(64, seed=3)
    rows = torch.arange(64)

    def surrogate() -> Tensor:
        of_old = old.log_softmax(-1)[rows, actions]
        return policy_surrogate(policy.log_softmax(-1)[rows, actions], of_old, advantages)

    step = TrustRegion([policy]).step(
        surrogate, lambda: kl.kl_divergence(old, policy, space="logits").mean()
    )
    assert step.accepted
    assert step.surrogate == pytest.approx(float(advantages.mean()), rel=1e-12)


def test_only_the_policy_is_differentiated() -> None:
    x = [logits(5, seed=seed).requires_grad_() for seed in range(3)]
    policy_surrogate(*x).backward()
    assert [each.grad is None for each in x] == [False, True, True]


def test_an_action_that_a_trial_gives_up_has_ratio_0() -> None:
    found = policy_surrogate(torch.tensor([-math.inf, 0.0]), torch.zeros(2), torch.ones(2))
    assert float(found) == 0.5


def test_half_precision_is_widened() -> None:
    x = torch.full((4096,), -1.0, dtype=torch.bfloat16)
    assert policy_surrogate(x, x, torch.full_like(x, 3.0)) == torch.tensor(3.0)


@pytest.mark.parametrize("shapes", [(64, 64, (64, 1)), ((64, 1), 64, 64), (64, (64, 1), 64)])
def test_nothing_is_broadcast(shapes: Any) -> None:
    with pytest.raises(ShapeError, match=r"\(64, 1\).*one entry for every action"):
        policy_surrogate(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("empty", [(0,), (4, 0)])
def test_an_empty_batch(empty: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="leave an empty batch out"):
        policy_surrogate(*(torch.zeros(empty) for _ in range(3)))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [1, 2])
def test_constants_are_finite(place: int, wrong: float) -> None:
    given = [torch.zeros(2, 3) for _ in range(3)]
    given[place][1, 2] = wrong
    name = ("old_log_probs", "advantages")[place - 1]
    with pytest.raises(NonFiniteError, match=rf"^{name}, position \(1, 2\): {wrong}"):
        policy_surrogate(*given)


def test_actions_in_place_of_log_probabilities() -> None:
    with pytest.raises(DtypeError, match=r"log_probs is of torch\.int64"):
        policy_surrogate(torch.zeros(3, dtype=torch.long), torch.zeros(3), torch.zeros(3))
