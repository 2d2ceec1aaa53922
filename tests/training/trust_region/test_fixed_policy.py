"""A kl() that compares the policy with itself is 0 everywhere: it binds nothing, and is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import kullback as kl
from kullback.errors import InputError
from kullback.training.trust_region import TrustRegion, policy_surrogate

Divergence = Callable[[Any, Any], Tensor]


class Task:
    """A small categorical policy, the actions that it took, and how good they were."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)
        self.states, self.advantages = torch.randn(64, 4, dtype=dtype), torch.randn(64, dtype=dtype)
        with torch.no_grad():
            self.old_logits = self.network(self.states)
            self.old = Categorical(logits=self.old_logits)
            self.actions = self.old.sample()

    def policy(self) -> Categorical:
        return Categorical(logits=self.network(self.states))

    def surrogate(self) -> Tensor:
        old_log_probs = self.old.log_prob(self.actions)
        return policy_surrogate(
            self.policy().log_prob(self.actions), old_log_probs, self.advantages
        )


@pytest.mark.parametrize("damped_length", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "divergence", [kl.kl_divergence, torch.distributions.kl_divergence], ids=["ours", "torch's"]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_policy_against_its_own_output(
    seed: int, divergence: Divergence, dtype: torch.dtype, damped_length: bool
) -> None:
    task = Task(seed, dtype)
    before = [x.detach().clone() for x in task.network.parameters()]

    def against_itself() -> Tensor:
        new = task.policy()
        return divergence(Categorical(logits=new.logits.detach()), new).mean()

    region = TrustRegion(task.network.parameters(), 0.01, damped_length=damped_length)
    with pytest.raises(InputError, match="compute the old policy once"):
        region.step(task.surrogate, against_itself)
    assert all(map(torch.equal, before, task.network.parameters()))


@pytest.mark.parametrize("share", [0.15, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_the_policy_against_its_own_output(seed: int, share: float) -> None:
    """As one of several heads may be: the KL is `share` too small, and the step too long."""
    task = Task(seed)

    def partly() -> Tensor:
        new = task.policy()
        itself = kl.kl_divergence(Categorical(logits=new.logits.detach()), new).mean()
        return share * itself + (1 - share) * kl.kl_divergence(task.old, new).mean()

    region = TrustRegion(task.network.parameters(), 0.01)
    with pytest.raises(InputError, match="all of it"):
        region.step(task.surrogate, partly)


@pytest.mark.parametrize(("gap", "sign"), [(4.0, -1), (4.0, 1), (12.0, 1), (20.0, 1)])
def test_a_kl_far_from_its_expansion_is_still_a_kl(gap: float, sign: int) -> None:
    """Nearly certain, and to become more or less so: KL(old‖new) is far from a square."""
    logits = torch.tensor([gap, 0.0], dtype=torch.float64, requires_grad=True)
    old = logits.detach().clone()
    region = TrustRegion([logits], 0.5, damping=0.0, accept_ratio=0.0)
    found = region.step(
        lambda: sign * logits.softmax(-1)[0], lambda: kl.kl_divergence(old, logits, space="logits")
    )
    assert found.accepted
    with torch.no_grad():
        assert found.kl == float(kl.kl_divergence(old, logits, space="logits"))


def test_a_policy_that_becomes_certain_is_none() -> None:
    """KL(old‖new) = log(1 + e⁻ᵍ) at most, where its expansion grows without end."""
    logits = torch.tensor([24.0, 0.0], dtype=torch.float64, requires_grad=True)
    old = logits.detach().clone()
    region = TrustRegion([logits], 0.01, damping=0.0, accept_ratio=0.0)
    found = region.step(
        lambda: logits.softmax(-1)[0], lambda: kl.kl_divergence(old, logits, space="logits")
    )
    assert found.accepted
    # The measured KL is far below the expansion, and right.
    assert 0 < found.kl < 1e-3 * 0.01
    with torch.no_grad():
        assert found.kl == float(kl.kl_divergence(old, logits, space="logits"))


def test_a_kl_that_falls_is_told_apart_from_one_that_is_flat() -> None:
    x = torch.ones(2, requires_grad=True)
    found = TrustRegion([x]).step(x.sum, lambda: -(x - 1).square().sum())
    assert not found.accepted
    assert "sign" in found.reason


class TestSmallSteps:
    """In float32, at 1e-8 nats: what is measured, against float64 of the network's own logits."""

    @pytest.mark.parametrize("seed", range(5))
    def test_from_logits(self, seed: int) -> None:
        task = Task(seed)
        found = TrustRegion(task.network.parameters(), 1e-8).step(
            task.surrogate,
            lambda: kl.kl_divergence(
                task.old_logits, task.network(task.states), space="logits"
            ).mean(),
        )
        assert found.accepted
        # Kernels read float32 logits as they are and calculate wide; the mean rounds once more.
        assert found.kl == pytest.approx(self.true(task), rel=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_from_distributions(self, seed: int) -> None:
        """torch's Categorical rounds what it normalises, by up to 1e-7 where steps are 1e-4."""
        task = Task(seed)
        found = TrustRegion(task.network.parameters(), 1e-8).step(
            task.surrogate, lambda: kl.kl_divergence(task.old, task.policy()).mean()
        )
        assert found.accepted
        assert found.kl == pytest.approx(self.true(task), rel=1e-3)

    @staticmethod
    def true(task: Task) -> float:
        with torch.no_grad():
            new = task.network(task.states).double().log_softmax(-1)
        old = task.old_logits.double().log_softmax(-1)
        # Σ p (log p/q + q/p − 1) has no cancelling terms of first order.
        d = new - old
        return float((old.exp() * (d.expm1() - d)).sum(-1).mean())
