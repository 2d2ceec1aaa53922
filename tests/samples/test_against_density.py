"""Draws against a density: closed forms, infinities, and who answers what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, Uniform

from kullback.distributions.targets import target_of
from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.samples.against_density import against_density

KL = target_of("kl")


class _Unsampled:
    """A density and nothing else, as a user writes it."""

    def __init__(self, log_prob) -> None:
        self.log_prob = log_prob


def _normal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, n)


def test_kl_to_a_density() -> None:
    found = against_density(_normal(4000), Normal(1.0, 1.0), KL, draws_are="p")
    assert found.low < 0.5 < found.high
    assert found.trusted
    # The variance of log p/q = ½ − x is 1 over the draws of P; the entropy adds a little.
    assert 0.9 / math.sqrt(4000) < found.stderr < 2.5 / math.sqrt(4000)


def test_the_other_way_round_is_reverse_kl() -> None:
    x, density = _normal(500), Normal(1.0, 1.0)
    forward = against_density(x, density, KL, draws_are="p")
    backward = against_density(x, density, target_of("reverse_kl"), draws_are="q")
    assert forward.value == backward.value


def test_the_cross_entropy_is_a_mean_with_a_t_interval() -> None:
    x = _normal(200)
    found = against_density(x, Normal(1.0, 2.0), target_of("cross_entropy"), draws_are="p")
    values = 0.5 * ((x - 1) / 2) ** 2 + math.log(2 * math.sqrt(2 * math.pi))
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert found.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(200), rel=1e-9)


def test_a_draw_without_density_makes_it_infinite() -> None:
    found = against_density(_normal(100), Uniform(-1.0, 1.0), KL, draws_are="p")
    assert found.value == found.low == found.high == math.inf
    assert "no density at" in found.diagnosis


def test_an_object_with_log_prob_gets_float64_of_the_right_shape() -> None:
    seen = []

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape, x.dtype))
        return Normal(torch.zeros(2).double(), 1.0).log_prob(x).sum(-1) - x[:, 0] * 0

    x = np.random.default_rng(0).standard_normal((300, 2))
    found = against_density(x, _Unsampled(log_prob), KL, draws_are="p")
    assert seen[-1] == (torch.Size([300, 2]), torch.float64)
    assert found.low <= 0 <= found.high


def test_the_unit_of_the_draws_does_not_matter() -> None:
    x = 1e-3 * np.random.default_rng(0).standard_normal((500, 2))

    def log_prob(at: torch.Tensor) -> torch.Tensor:
        return Normal(0.0, 1e-3).log_prob(at).sum(-1)

    found = against_density(x, _Unsampled(log_prob), KL, draws_are="p")
    assert found.low <= 0 <= found.high < 1


def test_what_needs_both_densities_goes_on_with_two_samples() -> None:
    x = _normal(1000)
    found = against_density(x, Normal(1.0, 1.0), target_of("js"), draws_are="p")
    assert "with 5000 draws of Q" in found.method
    assert found.value == pytest.approx(0.1114, abs=0.03)  # by quadrature
    with pytest.raises(InputError, match="without sample"):
        against_density(x, _Unsampled(Normal(0.0, 1.0).log_prob), target_of("js"), draws_are="p")


@pytest.mark.slow
def test_the_seed_decides_and_the_global_state_stays() -> None:
    x, density = _normal(100), MultivariateNormal(torch.zeros(1), torch.eye(1))
    before = torch.random.get_rng_state()
    one, two = (
        against_density(x, density, target_of("js"), draws_are="p", seed=4) for _ in range(2)
    )
    assert one.value == two.value
    assert torch.equal(before, torch.random.get_rng_state())


def test_bad_densities_are_refused() -> None:
    x = _normal(100)
    with pytest.raises(InputError, match="batch of shape"):
        against_density(x, Normal(torch.zeros(3), 1.0), KL, draws_are="p")
    with pytest.raises(ShapeError, match="columns"):
        against_density(x, MultivariateNormal(torch.zeros(2), torch.eye(2)), KL, draws_are="p")
    with pytest.raises(NonFiniteError, match="log_prob of Q is nan at draw 0"):
        against_density(x, _Unsampled(lambda t: t * math.nan), KL, draws_are="p")


def test_intervals_cover() -> None:
    held = []
    for seed in range(60):
        found = against_density(_normal(1000, seed), Normal(0.5, 1.2), KL, draws_are="p")
        held.append(found.low <= math.log(1.2) + 1.25 / 2.88 - 0.5 <= found.high)
    # Of 60 at 95 %, 52 or fewer has a probability of 1 %.
    assert np.mean(held) > 52 / 60
