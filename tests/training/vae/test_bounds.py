"""The bounds of log p(x), against models whose evidence is known, by enumeration where they can."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.vae import elbo, importance_weighted_bound

# A latent of three states: p(x, z) for the one x there is, and q(z|x).
JOINT = torch.tensor([0.02, 0.15, 0.0004], dtype=torch.float64)
POSTERIOR = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
WEIGHTS = (JOINT / POSTERIOR).log()


def expected_bound(draws: int) -> float:
    """The mean over all tuples of draws, each by its probability."""
    tuples = torch.tensor(list(product(range(3), repeat=draws)))
    bounds = importance_weighted_bound(WEIGHTS[tuples], dim=1)
    return float((POSTERIOR[tuples].prod(1) * bounds).sum())


class TestEnumeration:
    def test_one_draw_is_the_elbo(self) -> None:
        # log p(x) − KL(q‖p(z|x)), by the definition of each.
        evidence = JOINT.sum()
        kl = (POSTERIOR * (POSTERIOR / (JOINT / evidence)).log()).sum()
        assert expected_bound(1) == pytest.approx(float(evidence.log() - kl), rel=1e-13)

    def test_more_draws_are_nearer_and_never_above(self) -> None:
        bounds = [expected_bound(draws) for draws in (1, 2, 3, 4, 6)]
        assert bounds == sorted(bounds)
        assert bounds[0] < bounds[-1] < math.log(float(JOINT.sum()))
        # To first order the gap is the variance of the relative weights over 2K.
        relative = JOINT / POSTERIOR / JOINT.sum()
        variance = float((POSTERIOR * relative**2).sum()) - 1
        gap = math.log(float(JOINT.sum())) - expected_bound(8)
        assert gap == pytest.approx(variance / 16, rel=0.2)


def test_with_the_true_posterior_every_draw_says_it_all() -> None:
    x = torch.tensor([0.3, -2.0], dtype=torch.float64)
    # z ~ N(0, 1), x ~ N(z, ½): the posterior is N(x/1.5, 1/3), the evidence N(0, 1.5).
    third, half, zero = (torch.full_like(x, value) for value in (1 / 3, 0.5, 0.0))
    posterior = Normal(x / 1.5, third.sqrt())
    z = posterior.sample((7,))
    joint = Normal(zero, 1.0).log_prob(z) + Normal(z, half.sqrt()).log_prob(x)
    weights = joint - posterior.log_prob(z)
    evidence = Normal(zero, (1 + half).sqrt()).log_prob(x)
    for bound in (elbo, importance_weighted_bound):
        assert torch.allclose(bound(weights), evidence, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_the_draws_lie_along_dim(dim: int) -> None:
    weights = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    draws = weights.shape[dim]
    assert torch.allclose(elbo(weights, dim), weights.sum(dim) / draws, rtol=1e-13, atol=0)
    expected = (weights.exp().sum(dim) / draws).log()
    assert torch.allclose(importance_weighted_bound(weights, dim), expected, rtol=1e-13, atol=0)


def test_the_gradient_is_the_normalised_weights() -> None:
    weights = torch.tensor([[0.3, -1000.0], [2.0, -1001.0], [-torch.inf, -torch.inf]])
    weights = weights.double().requires_grad_()
    importance_weighted_bound(weights).sum().backward()
    assert torch.allclose(weights.grad, weights.detach().softmax(0), rtol=1e-13, atol=0)  # type: ignore[arg-type]


def test_where_no_draw_explains_anything() -> None:
    weights = torch.tensor([[-torch.inf, 0.0], [-torch.inf, 0.0]], requires_grad=True)
    found = importance_weighted_bound(weights)
    assert found.tolist() == [-math.inf, 0.0]
    found.sum().backward()
    assert weights.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]  # type: ignore[union-attr]


def test_half_precision_is_widened() -> None:
    weights = torch.full((2**14,), -3.0, dtype=torch.float16)
    for bound in (elbo, importance_weighted_bound):
        found: Tensor = bound(weights)
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(-3.0, rel=1e-6)


@pytest.mark.parametrize("bound", [elbo, importance_weighted_bound])
class TestRefusals:
    def test_shapes_and_dtypes(self, bound) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ShapeError, match="no dimension 2"):
            bound(torch.zeros(3, 4), 2)
        with pytest.raises(ShapeError, match="no draws along 0"):
            bound(torch.zeros(0, 4))
        with pytest.raises(ShapeError, match="no dimension 0"):
            bound(torch.tensor(1.0))
        with pytest.raises(ShapeError, match=r"shape \(5, 0\): there are no samples"):
            bound(torch.zeros(5, 0))
        for dim in (1.0, True, "a"):
            with pytest.raises(InputError, match=f"dim={dim!r} is of type"):
                bound(torch.zeros(3, 4), dim=dim)
        with pytest.raises(DtypeError, match="int64"):
            bound(torch.zeros(3, 4).long())

    @pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
    def test_weights(self, bound, wrong: float) -> None:  # type: ignore[no-untyped-def]
        weights = torch.zeros(3, 4)
        weights[1, 2] = wrong
        with pytest.raises(NonFiniteError, match=rf"{wrong} at \[1, 2\]"):
            bound(weights)
        assert not bool(bound(weights, validate=False).isfinite().all())
