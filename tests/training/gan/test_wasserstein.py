"""The Wasserstein critic's losses and its penalty, on critics whose slopes are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.gan import (
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestTheLosses:
    def test_a_critic_of_slope_one_bounds_the_distance_and_the_best_reaches_it(self) -> None:
        """On the line W₁ is the mean gap of the sorted draws; of a shift, T(x) = x reaches it."""
        fake = rand(50)
        shifted, turned = fake + 1.3, 2 * rand(50, seed=1)
        assert float(-wasserstein_critic_loss(shifted, fake)) == pytest.approx(1.3)
        distance = float((turned.sort().values - fake.sort().values).abs().mean())
        for critic in (torch.sin, torch.abs, torch.tanh, lambda x: -x):
            assert float(-wasserstein_critic_loss(critic(turned), critic(fake))) < distance

    def test_gradients(self) -> None:
        real, fake = rand(4).requires_grad_(), rand(2, 3).requires_grad_()
        of_real, of_fake = torch.autograd.grad(wasserstein_critic_loss(real, fake), (real, fake))
        torch.testing.assert_close(of_real, torch.full((4,), -1 / 4).double())
        torch.testing.assert_close(of_fake, torch.full((2, 3), 1 / 6).double())
        (of_generator,) = torch.autograd.grad(wasserstein_generator_loss(fake), fake)
        torch.testing.assert_close(of_generator, -of_fake)

    def test_empty_wrong_and_foreign_scores(self) -> None:
        some = torch.zeros(3)
        with pytest.raises(ShapeError, match="real_scores"):
            wasserstein_critic_loss(torch.zeros(0), some)
        with pytest.raises(NonFiniteError, match=r"fake_scores\[2\] is nan"):
            wasserstein_critic_loss(some, torch.tensor([0, 0, math.nan]))
        with pytest.raises(NonFiniteError, match=r"fake_scores\[0\] is inf"):
            wasserstein_generator_loss(torch.tensor([math.inf]))
        with pytest.raises(DtypeError, match="fake_scores"):
            wasserstein_generator_loss(torch.zeros(3).long())

    def test_half_precision_is_widened(self) -> None:
        found = wasserstein_critic_loss(torch.ones(3).half(), torch.zeros(3).half())
        assert found.dtype == torch.float32


class TestThePenalty:
    def test_of_a_straight_critic(self) -> None:
        """weight·(‖w‖ − 1)², wherever it is looked at; ∂/∂w = 2·weight·(‖w‖ − 1)·w/‖w‖."""
        w = torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64, requires_grad=True)
        penalty = gradient_penalty(lambda x: x @ w, rand(6, 3), rand(6, 3, seed=1), weight=0.5)
        assert float(penalty.detach()) == pytest.approx(0.5 * 12**2)
        (found,) = torch.autograd.grad(penalty, w)
        torch.testing.assert_close(found, 2 * 0.5 * 12 * w.detach() / 13)

    def test_is_zero_at_slope_one_whatever_the_direction(self) -> None:
        w = torch.tensor([0.6, -0.8], dtype=torch.float64)
        penalty = gradient_penalty(lambda x: x @ w, rand(6, 2), rand(6, 2, seed=1))
        assert float(penalty) == pytest.approx(0.0, abs=1e-30)

    def test_a_flat_critic_pays_in_full_and_has_a_finite_gradient(self) -> None:
        w = torch.zeros(2, requires_grad=True)
        penalty = gradient_penalty(lambda x: x @ w, torch.randn(4, 2), torch.randn(4, 2))
        assert float(penalty.detach()) == 10.0
        (found,) = torch.autograd.grad(penalty, w)
        assert found.tolist() == [0.0, 0.0]

    def test_looks_between_the_pairs_at_one_uniform_share_an_example(self) -> None:
        """The critic ½‖x‖² has slope x itself: the points that were looked at come to light."""
        real, fake = torch.full((4000, 2, 3), 3.0), torch.full((4000, 2, 3), -1.0)
        seen = []

        def critic(x: Tensor) -> Tensor:
            seen.append(x.detach())
            return 0.5 * x.square().sum((1, 2))

        found = float(gradient_penalty(critic, real, fake, generator=seeded()).detach())
        (points,) = seen
        assert bool((points == points[:, :1, :1]).all())
        share = (points[:, 0, 0] + 1) / 4
        lengths = points.flatten(1).norm(dim=1)
        assert found == pytest.approx(float(10 * (lengths - 1).square().mean()), rel=1e-5)
        # Moments of U(0, 1), with five standard errors of 4000 draws.
        assert float(share.mean()) == pytest.approx(0.5, abs=5 * 0.289 / 63)
        assert float(share.var()) == pytest.approx(1 / 12, abs=5 * 0.0745 / 63)
        assert float(share.min()) >= 0
        assert float(share.max()) <= 1

    def test_gradient_of_a_network_against_finite_differences(self) -> None:
        real, fake = rand(5, 3), rand(5, 3, seed=1)
        first, second = 0.7 * rand(3, 4, seed=2), rand(4, seed=3)

        def penalty(a: Tensor, b: Tensor) -> Tensor:
            return gradient_penalty(lambda x: (x @ a).tanh() @ b, real, fake, generator=seeded())

        assert torch.autograd.gradcheck(penalty, (first.requires_grad_(), second.requires_grad_()))

    def test_scores_may_be_a_column(self) -> None:
        real, fake = torch.randn(8, 3), torch.randn(8, 3)
        critic = nn.Linear(3, 1)
        column = gradient_penalty(critic, real, fake, generator=seeded())
        row = gradient_penalty(lambda x: critic(x)[:, 0], real, fake, generator=seeded())
        assert column == row

    def test_reaches_the_critic_and_not_what_made_the_draws(self) -> None:
        """With a critic whose slope differs from place to place."""
        critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        real, fake = torch.randn(4, 2, requires_grad=True), torch.randn(4, 2, requires_grad=True)
        gradient_penalty(critic, real, fake).backward()
        assert real.grad is None
        assert fake.grad is None
        assert all(w.grad is not None for w in (critic[0].weight, critic[2].weight))

    def test_has_its_value_without_gradients_too(self) -> None:
        real, fake = torch.randn(4, 2), torch.randn(4, 2)
        critic = nn.Linear(2, 1)
        truth = gradient_penalty(critic, real, fake, generator=seeded())
        with torch.no_grad():
            assert gradient_penalty(critic, real, fake, generator=seeded()) == truth

    def test_a_generator_repeats_it(self) -> None:
        real, fake = torch.randn(4, 2), torch.randn(4, 2)

        def of(seed: int) -> Tensor:
            return gradient_penalty(lambda x: x.square().sum(1), real, fake, generator=seeded(seed))

        assert of(1) == of(1) != of(2)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
    def test_is_the_same_within_compiled_code(self) -> None:
        critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        real, fake = torch.randn(4, 2), torch.randn(4, 2)

        def loss() -> Tensor:
            return gradient_penalty(critic, real, fake, generator=seeded()) + critic(fake).mean()

        weights = [critic[0].weight, critic[2].weight]
        found = torch.autograd.grad(torch.compile(loss, backend="aot_eager")(), weights)
        torch.testing.assert_close(found, torch.autograd.grad(loss(), weights))

    def test_trains_a_critic_to_the_distance(self) -> None:
        """Two Gaussians 2 apart, one critic of two parameters: it ends near slope 1, above it.

        The best slope s of −2s + 10(s − 1)² is 1.1: the penalty is soft, the loss no bound.
        """
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        w.data[0] = 0.3
        fake = rand(64, 2)
        real = fake + torch.tensor([2.0, 0.0])
        steps = torch.optim.SGD([w], lr=0.02)
        for _ in range(200):
            steps.zero_grad()
            loss = wasserstein_critic_loss(real @ w, fake @ w)
            (loss + gradient_penalty(lambda x: x @ w, real, fake, generator=seeded())).backward()
            steps.step()
        assert w.detach().tolist() == pytest.approx([1.1, 0.0], abs=1e-6)


class TestWhatThePenaltyTakes:
    @staticmethod
    def critic(x: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1)

    @pytest.mark.parametrize(
        ("real", "fake", "match"),
        [
            (torch.zeros(3, 2), torch.zeros(2, 2), "as many"),
            (torch.zeros(3, 2), torch.zeros(3, 2).double(), "dtype"),
            (torch.zeros(0, 2), torch.zeros(0, 2), "at least one example"),
            (torch.zeros(3), torch.zeros(3), r"as \[n, 1\]"),
        ],
    )
    def test_shapes(self, real: Tensor, fake: Tensor, match: str) -> None:
        with pytest.raises(ShapeError, match=match):
            gradient_penalty(self.critic, real, fake)

    def test_integers(self) -> None:
        with pytest.raises(DtypeError, match="real is of"):
            gradient_penalty(self.critic, torch.zeros(3, 2).long(), torch.zeros(3, 2))

    @pytest.mark.parametrize("name", ["real", "fake"])
    def test_draws_that_are_not_finite(self, name: str) -> None:
        draws = {"real": torch.zeros(3, 2), "fake": torch.zeros(3, 2)}
        draws[name][2, 1] = math.nan
        with pytest.raises(NonFiniteError, match=rf"{name}\[2, 1\] is nan"):
            gradient_penalty(self.critic, **draws)

    def test_slopes_that_are_not_finite(self) -> None:
        with pytest.raises(NonFiniteError, match="slopes"):
            gradient_penalty(lambda x: x.sqrt().sum(1), torch.zeros(3, 2), torch.zeros(3, 2))

    def test_scores_that_are_not_finite(self) -> None:
        with pytest.raises(NonFiniteError, match=r"critic\(x\)"):
            gradient_penalty(lambda x: x.log().sum(1), torch.zeros(3, 2), torch.zeros(3, 2))

    @pytest.mark.parametrize(
        "critic", [lambda x: x.sum(), lambda x: x, lambda x: x.sum(1)[:, None, None]]
    )
    def test_not_one_score_an_example(self, critic: Callable[[Tensor], Tensor]) -> None:
        with pytest.raises(ShapeError, match="one score an example"):
            gradient_penalty(critic, torch.zeros(3, 2), torch.zeros(3, 2))

    @pytest.mark.parametrize(
        "critic",
        [lambda x: x.detach().sum(1), lambda x: torch.zeros(len(x), requires_grad=True)],
    )
    def test_scores_that_do_not_depend_on_the_draws(
        self, critic: Callable[[Tensor], Tensor]
    ) -> None:
        with pytest.raises(InputError, match="do not depend"):
            gradient_penalty(critic, torch.zeros(3, 2), torch.zeros(3, 2))

    @pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan, "a", True, None])
    def test_weights(self, weight: Any) -> None:
        with pytest.raises(InputError, match="weight="):
            gradient_penalty(self.critic, torch.zeros(3, 2), torch.zeros(3, 2), weight=weight)
