"""What bounds KL between mixtures, what only comes near, and that each is said to be what it is.

The truth is the trapezoidal rule on a wide grid, which for smooth densities that have vanished at
its ends is exact to rounding (Trefethen & Weideman 2014); a test compares it with mpmath.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import pytest
import torch
import torch.distributions as td
from torch import Tensor

from kullback.distributions.estimation import mixtures
from kullback.distributions.estimation.components import gaussian, parts_of
from kullback.distributions.estimation.estimate import estimate
from kullback.errors import InputError

# Log-densities are good to about 1e-13, and grids to 1e-12.
ROUNDING = 1e-9


def random_mixture(generator: torch.Generator) -> td.MixtureSameFamily:
    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parts = int(torch.randint(1, 6, (), generator=generator))
    spread = 4 * torch.rand((), generator=generator, dtype=torch.float64)
    return td.MixtureSameFamily(
        td.Categorical(logits=draw(parts)),
        td.Normal(spread * draw(parts), (0.5 * draw(parts)).exp()),
    )


def random_pairs(count: int) -> list[tuple[Any, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [(random_mixture(generator), random_mixture(generator)) for _ in range(count)]


def by_grid(p: Any, q: Any) -> Tensor:
    x = torch.linspace(-60, 60, 12_001, dtype=torch.float64)
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    return (log_p.exp() * (log_p - log_q)).sum() * (x[1] - x[0])


def test_the_grid_is_exact() -> None:
    p, q = random_pairs(1)[0]

    def log_density(mixture: Any, x: Any) -> Any:
        weights = mixture.mixture_distribution.probs.tolist()
        parts = mixture.component_distribution
        numbers = zip(weights, parts.loc.tolist(), parts.scale.tolist(), strict=True)
        return mp.log(sum(w * mp.npdf(x, mu, sigma) for w, mu, sigma in numbers))

    points = [-60, -20, -8, -4, -2, 0, 2, 4, 8, 20, 60]
    with mp.workdps(20):
        exact = mp.quad(
            lambda x: mp.exp(log_density(p, x)) * (log_density(p, x) - log_density(q, x)), points
        )
    assert float(by_grid(p, q)) == pytest.approx(float(exact), rel=1e-10)


def test_bounds_hold() -> None:
    tight, better = 0, 0
    for p, q in random_pairs(60):
        truth = by_grid(p, q)
        slack = ROUNDING * (1 + truth)
        below, above = mixtures.product_bounds(p, q)
        upper = mixtures.variational_upper_bound(p, q)
        low, high = mixtures.bracket(p, q)
        assert below <= truth + slack
        assert above >= truth - slack
        assert upper >= truth - slack
        assert low == max(below, torch.zeros(()))
        assert high == min(above, upper)
        tight += bool(high < 1.5 * truth)
        better += bool(above < upper)
    # Neither bound from above makes the other superfluous, and together they are of use.
    assert 0 < better < 60
    assert tight > 30


def test_the_approximations_are_no_bounds() -> None:
    """Each of them lies on both sides of the truth: whoever calls one a bound is wrong."""
    for approximation in (mixtures.variational, mixtures.matched_bound, mixtures.unscented):
        gaps = [float(approximation(p, q) - by_grid(p, q)) for p, q in random_pairs(40)]
        assert min(gaps) < -1e-3
        assert max(gaps) > 1e-3


def test_a_one_to_one_match_is_a_bound() -> None:
    """Goldberger's match bounds where no two components of P match the same one of Q."""
    generator = torch.Generator().manual_seed(1)
    places = torch.tensor([-30.0, 0.0, 30.0], dtype=torch.float64)
    for _ in range(10):
        sides = [
            td.MixtureSameFamily(
                td.Categorical(logits=torch.randn(3, generator=generator, dtype=torch.float64)),
                td.Normal(places + torch.randn(3, generator=generator, dtype=torch.float64), 1.0),
            )
            for _ in range(2)
        ]
        truth, matched = by_grid(*sides), mixtures.matched_bound(*sides)
        assert truth - ROUNDING <= matched
        # So far apart, a draw tells its component, and the bound is the divergence.
        assert float(matched) == pytest.approx(float(truth), rel=1e-9)


def test_one_component_is_no_mixture() -> None:
    """½ (σ²/τ² − 1) − log σ/τ + (μ − ν)²/2τ², whichever way."""
    p, q = td.Normal(torch.tensor(0.3).double(), 1.0), td.Normal(torch.tensor(1.0).double(), 2.0)
    exact = (1 / 4 - 1) / 2 + math.log(2) + (1 - float(p.loc)) ** 2 / 8
    for approximation in (
        mixtures.variational,
        mixtures.variational_upper_bound,
        mixtures.matched_bound,
        mixtures.moment_matching,
        mixtures.unscented,
    ):
        assert float(approximation(p, q)) == pytest.approx(exact, rel=1e-12)


def test_equal_mixtures() -> None:
    p = random_pairs(1)[0][0]
    low, high = mixtures.bracket(p, p)
    assert low == 0
    assert high == pytest.approx(0, abs=1e-12)


def test_the_upper_bound_is_the_best_of_all_splits() -> None:
    """Against random ways to split two components between two."""
    p = td.MixtureSameFamily(
        td.Categorical(torch.tensor([0.3, 0.7]).double()),
        td.Normal(torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 0.5]).double()),
    )
    q = td.MixtureSameFamily(
        td.Categorical(torch.tensor([0.6, 0.4]).double()),
        td.Normal(torch.tensor([0.5, -1.0]).double(), torch.tensor([1.0, 2.0]).double()),
    )
    apart = parts_of(p).kl(parts_of(q))
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = torch.rand(4, 100_000, generator=generator, dtype=torch.float64)
    cells = [(0.3 * a, 0.6 * c), (0.3 * (1 - a), 0.4 * d)]
    cells += [(0.7 * b, 0.6 * (1 - c)), (0.7 * (1 - b), 0.4 * (1 - d))]
    costs = [
        phi * ((phi / psi).log() + distance)
        for (phi, psi), distance in zip(cells, apart.flatten(), strict=True)
    ]
    searched = torch.stack(costs).sum(0)
    found = mixtures.variational_upper_bound(p, q)
    assert found <= searched.min()
    # As many random splits come close to the best one in four dimensions.
    assert found == pytest.approx(float(searched.min()), rel=0.05)


def test_weights_of_zero_and_infinite_distances() -> None:
    two = torch.tensor([0.0, 1.0]).double()
    p = td.MixtureSameFamily(td.Categorical(two), td.Uniform(two * 0, two + 1))
    q = td.MixtureSameFamily(td.Categorical(two), td.Uniform(two * 0, two * 0 + 4))
    assert float(mixtures.variational_upper_bound(p, q)) == pytest.approx(math.log(2))
    assert mixtures.variational_upper_bound(q, p) == math.inf


def test_batches_broadcast() -> None:
    generator = torch.Generator().manual_seed(0)
    p = td.MixtureSameFamily(
        td.Categorical(torch.ones(3, 2)),
        td.MultivariateNormal(torch.randn(3, 2, 4, generator=generator), torch.eye(4)),
    )
    q = td.MixtureSameFamily(
        td.Categorical(torch.ones(5, 1, 6)),
        td.Independent(td.Normal(torch.randn(5, 1, 6, 4, generator=generator), 1.0), 1),
    )
    for a, b in ((p, q), (q, p)):
        values = [*mixtures.bracket(a, b), mixtures.variational(a, b), mixtures.matched_bound(a, b)]
        values += [mixtures.moment_matching(a, b), mixtures.unscented(a, b)]
        assert {value.shape for value in values} == {(5, 3)}
        assert all(bool(value.isfinite().all()) for value in values)


def test_components_without_a_closed_form_are_refused() -> None:
    p = td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.StudentT(torch.tensor([3.0, 4.0])))
    with pytest.raises(InputError, match="monte_carlo"):
        mixtures.variational(p, p)
    with pytest.raises(InputError, match="components of P are StudentT"):
        mixtures.unscented(p, p)


def test_moments_of_components() -> None:
    factor = torch.tensor([[1.0], [2.0]]).double()
    low_rank = td.LowRankMultivariateNormal(torch.zeros(2).double(), factor, torch.ones(2).double())
    found = gaussian(low_rank)
    assert found is not None
    torch.testing.assert_close(found.covariance, factor @ factor.T + torch.eye(2).double())
    assert gaussian(td.LogNormal(0.0, 1.0)) is None


class TestThroughTheDoor:
    @staticmethod
    def pair() -> tuple[Any, Any]:
        generator = torch.Generator().manual_seed(3)
        loc = torch.randn(5, 6, generator=generator, dtype=torch.float64)
        eye = torch.eye(6, dtype=torch.float64)
        return (
            td.MixtureSameFamily(
                td.Categorical(torch.ones(2).double()), td.MultivariateNormal(loc[:2], eye)
            ),
            td.MixtureSameFamily(
                td.Categorical(torch.ones(3).double()), td.MultivariateNormal(loc[2:], eye)
            ),
        )

    def test_monte_carlo_between_bounds(self) -> None:
        p, q = self.pair()
        found = estimate(p, q, generator=torch.Generator().manual_seed(0))
        low, high = mixtures.bracket(p, q)
        assert found.method.startswith("Monte Carlo")
        assert low <= found.low <= found.value <= found.high <= high
        assert found.trusted
        assert f"between {float(low):.4g} and {float(high):.4g}" in found.diagnosis

    def test_few_draws_are_cut_by_the_bounds(self) -> None:
        """A Gaussian against itself moved by a hair: the bounds know it, few draws do not."""
        p, q = self.pair()
        wide = estimate(p, q, budget=128, generator=torch.Generator().manual_seed(0))
        low, high = mixtures.bracket(p, q)
        assert low <= wide.low <= wide.value <= wide.high <= max(high, wide.value)

    @pytest.mark.parametrize(
        "method", ["variational", "goldberger", "matched_bound", "moment_matching", "unscented"]
    )
    def test_approximations_come_with_bounds(self, method: str) -> None:
        p, q = self.pair()
        found = estimate(p, q, method=method)
        low, high = mixtures.bracket(p, q)
        truth = estimate(p, q, generator=torch.Generator().manual_seed(0))
        assert (found.low, found.high) == (low, high)
        assert found.low <= truth.value <= found.high
        assert found.confidence == 1.0
        assert "an approximation" in found.diagnosis

    def test_they_are_for_kl(self) -> None:
        with pytest.raises(InputError, match="is for KL of mixtures, not for js"):
            estimate(*self.pair(), "js", method="variational")
