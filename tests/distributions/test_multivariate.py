"""Multivariate families where arithmetic is hard: near equality, in many dimensions, at edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Dirichlet,
    Distribution,
    Independent,
    LKJCholesky,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    Wishart,
)

import kullback
from kullback.numerics import solve_lower

# float32 near equality: what the manual promises, down to a divergence of 1e-9.
PROMISED = 1e-3


@pytest.fixture(autouse=True)
def _forty_digits_and_the_same_draws() -> Iterator[None]:
    torch.manual_seed(0)
    with mp.workdps(40):
        yield


def exact_matrix(x: Tensor) -> Any:
    return mp.matrix([[mp.mpf(float(entry)) for entry in row] for row in x])


def exact_vector(x: Tensor) -> Any:
    return mp.matrix([mp.mpf(float(entry)) for entry in x])


def gaussian_kl(loc_p: Any, cov_p: Any, loc_q: Any, cov_q: Any) -> Any:
    """As the books write it, with 40 digits."""
    ratio = cov_q**-1 * cov_p
    gap = loc_q - loc_p
    trace = mp.fsum(ratio[i, i] for i in range(ratio.rows))
    return (trace - ratio.rows - mp.log(mp.det(ratio)) + (gap.T * cov_q**-1 * gap)[0]) / 2


def perturbed(x: Tensor, size: float) -> Tensor:
    return x * (1 + size * torch.randn_like(x))


def random_factor(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    lower = torch.randn(n, n, dtype=dtype).tril(-1) / math.sqrt(n)
    return lower + (0.5 + torch.rand(n, dtype=dtype)).diag_embed()


COVARIANCES: dict[str, Callable[[Tensor], tuple[dict[str, Tensor], Any]]] = {
    "scale_tril": lambda x: ({"scale_tril": x}, exact_matrix(x) * exact_matrix(x).T),
    "covariance_matrix": lambda x: (
        {"covariance_matrix": x @ x.mT},
        exact_matrix(x @ x.mT),
    ),
    "precision_matrix": lambda x: (
        {"precision_matrix": x @ x.mT},
        exact_matrix(x @ x.mT) ** -1,
    ),
}


@pytest.mark.parametrize("held", COVARIANCES)
def test_gaussians_nearly_equal_in_float32(held: str) -> None:
    """The matrix that was given is the truth, not its factor in float32."""
    n = 5
    loc, factor = torch.randn(n), random_factor(n)
    other_loc, other_factor = perturbed(loc, 5e-6), perturbed(factor, 5e-6)
    (of_p, cov_p), (of_q, cov_q) = (COVARIANCES[held](x) for x in (factor, other_factor))
    expected = gaussian_kl(exact_vector(loc), cov_p, exact_vector(other_loc), cov_q)
    assert 1e-10 < expected < 5e-9
    p, q = MultivariateNormal(loc, **of_p), MultivariateNormal(other_loc, **of_q)
    assert kullback.kl_divergence(p, q).item() == pytest.approx(float(expected), rel=PROMISED)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7])
def test_sixty_four_dimensions_are_never_negative(size: float) -> None:
    for _ in range(20):
        factor, loc = random_factor(64), torch.randn(64)
        p = MultivariateNormal(loc, scale_tril=factor)
        q = MultivariateNormal(perturbed(loc, size), scale_tril=perturbed(factor, size))
        assert kullback.kl_divergence(p, q) > 0
        assert kullback.renyi_divergence(p, q, alpha=0.3) > 0


def gaussians(n: int = 4, dtype: torch.dtype = torch.float64) -> list[Distribution]:
    columns, diagonal = torch.randn(n, 2, dtype=dtype), 0.5 + torch.rand(n, dtype=dtype)
    loc = torch.randn(n, dtype=dtype)
    return [
        MultivariateNormal(loc, scale_tril=random_factor(n, dtype)),
        LowRankMultivariateNormal(loc, columns, diagonal),
        Independent(Normal(loc, diagonal), 1),
    ]


def families() -> list[Distribution]:
    factor = random_factor(3, torch.float64)
    return [
        *gaussians(),
        *gaussians(300)[1:],
        Dirichlet(torch.tensor([0.5, 2.0, 1e4], dtype=torch.float64)),
        Wishart(torch.tensor(5.5), scale_tril=factor),
        LKJCholesky(4, torch.tensor(1.75)),
    ]


@pytest.mark.parametrize("p", families(), ids=lambda p: type(p).__name__)
def test_exactly_zero_when_equal(p: Distribution) -> None:
    assert kullback.kl_divergence(p, p) == 0
    if p.event_shape.numel() < 100:
        assert kullback.renyi_divergence(p, p, alpha=0.3) == 0
        assert kullback.renyi_divergence(p, p, alpha=3.0) == 0
    again = p.expand([2])
    assert (kullback.kl_divergence(p, again) == 0).all()


def test_an_expanded_gaussian_is_the_same_gaussian() -> None:
    """Also where torch kept only a rounded factor of a float32 matrix."""
    factor = random_factor(6)
    p = MultivariateNormal(torch.zeros(6), covariance_matrix=factor @ factor.mT)
    assert (kullback.kl_divergence(p, p.expand([3])) == 0).all()
    batch = MultivariateNormal(torch.zeros(3, 6), covariance_matrix=factor @ factor.mT)
    assert (kullback.kl_divergence(batch, p) == 0).all()


def test_one_factor_beside_many_locations_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    solve = torch.linalg.solve_triangular

    def recorded(factor: Tensor, right: Tensor, *, upper: bool) -> Tensor:
        seen.append(factor.shape)
        return solve(factor, right, upper=upper)

    monkeypatch.setattr(torch.linalg, "solve_triangular", recorded)
    factor = random_factor(3)
    p = MultivariateNormal(torch.randn(50, 7, 3), scale_tril=factor)
    q = MultivariateNormal(torch.randn(7, 3), scale_tril=random_factor(3))
    value = kullback.kl_divergence(p, q)
    assert value.shape == (50, 7)
    assert seen
    assert all(shape == (3, 3) for shape in seen)
    one = MultivariateNormal(p.loc[4, 5], scale_tril=factor)
    assert value[4, 5] == pytest.approx(kullback.kl_divergence(one, q)[5].item(), rel=1e-6)


@pytest.mark.parametrize("batch", [(), (2,), (1,), (5, 1), (5, 2)])
@pytest.mark.parametrize("columns", [(), (2,), (5, 2)])
def test_solve_lower_broadcasts(batch: tuple[int, ...], columns: tuple[int, ...]) -> None:
    factor = random_factor(3, torch.float64).expand(*batch, 3, 3) + torch.eye(3)
    right = torch.randn(*columns, 3, 4, dtype=torch.float64)
    expected = torch.linalg.inv(factor) @ right
    solved = solve_lower(factor, right)
    torch.testing.assert_close(solved.expand_as(expected), expected, rtol=1e-11, atol=1e-12)


def test_renyi_nearly_equal_keeps_its_digits() -> None:
    """To leading order R_α = α·KL; the next is smaller by the perturbation, 1e-5."""
    one, other = gaussians(4)[:2], gaussians(4)
    for p in (one[0], other[1], Wishart(torch.tensor(6.0), scale_tril=random_factor(3))):
        q = nearby(p, 1e-5)
        kl = kullback.kl_divergence(p, q).item()
        assert 0 < kl < 1e-7
        for alpha in (0.01, 0.5, 0.99, 1.5, 20.0):
            value = kullback.renyi_divergence(p, q, alpha=alpha).item()
            assert value == pytest.approx(alpha * kl, rel=4e-4 * max(alpha, 1))


def nearby(p: Any, size: float) -> Any:
    if isinstance(p, MultivariateNormal):
        return MultivariateNormal(perturbed(p.loc, size), scale_tril=perturbed(p.scale_tril, size))
    if isinstance(p, LowRankMultivariateNormal):
        parts = (perturbed(x, size) for x in (p.loc, p.cov_factor, p.cov_diag))
        return LowRankMultivariateNormal(*parts)
    return Wishart(perturbed(p.df, size), scale_tril=perturbed(p.scale_tril, size))


def test_renyi_is_infinite_where_the_mixed_precision_is_not_positive() -> None:
    """α/σp² + (1 − α)/σq² ≤ 0 for σp² = 4 σq² and α = 2, also in one direction of two."""
    scales = torch.tensor([[2.0, 1.0], [1.25, 1.0]], requires_grad=True)
    p = MultivariateNormal(torch.zeros(2), scale_tril=scales.diag_embed())
    q = MultivariateNormal(torch.zeros(2), scale_tril=torch.eye(2))
    value = kullback.renyi_divergence(p, q, alpha=2.0)
    assert value[0] == math.inf
    # One dimension with s = 25/16: ∫ p²/q = 1/√(s(2 − s)).
    s = 1.25**2
    assert value[1].item() == pytest.approx(-0.5 * math.log(s * (2 - s)), rel=1e-6)
    value[1].backward()
    assert scales.grad is not None
    assert scales.grad.isfinite().all()


def test_far_apart_gaussians() -> None:
    """Scales 1e±20 apart: half the squared ratio and its logarithm, to the last digits."""
    eye = torch.eye(2, dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    narrow, wide = (MultivariateNormal(zero, scale_tril=s * eye) for s in (1e-20, 1e20))
    per_dimension = math.log(1e40) - 0.5
    assert kullback.kl_divergence(narrow, wide).item() == pytest.approx(2 * per_dimension)
    assert kullback.kl_divergence(wide, narrow).item() == pytest.approx(1e80)


def test_wasserstein_gradients_where_covariances_are_equal_or_commute() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    cases = [(eye, eye), (eye, 2 * eye), (eye, torch.tensor([1.0, 1.0, 3.0]).double().diag())]
    for one, other in cases:
        loc = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        left, right = (x.clone().requires_grad_() for x in (one, other))
        p = MultivariateNormal(loc, scale_tril=left, validate_args=False)
        q = MultivariateNormal(torch.ones(3).double(), scale_tril=right, validate_args=False)
        value = kullback.wasserstein_distance(p, q)
        square = 3 + (one - other).square().sum()
        assert value.item() == pytest.approx(math.sqrt(square), rel=1e-14)
        value.backward()
        for x in (loc, left, right):
            assert x.grad is not None
            assert x.grad.isfinite().all()
        # d/dLp √(3 + ‖Lp − Lq‖²) for matrices that commute.
        expected = (one - other) / value.item()
        torch.testing.assert_close(left.grad, expected, rtol=0, atol=1e-14)


def test_wasserstein_of_equal_sides_is_zero_with_a_gradient_of_zero() -> None:
    factor = random_factor(3, torch.float64).requires_grad_()
    p = MultivariateNormal(torch.zeros(3).double(), scale_tril=factor)
    q = MultivariateNormal(torch.zeros(3).double(), scale_tril=factor.detach().clone())
    value = kullback.wasserstein_distance(p, q)
    value.backward()
    assert value == 0
    assert factor.grad is not None
    assert (factor.grad == 0).all()


def test_wasserstein_has_two_derivatives() -> None:
    """With the singular vectors held fixed, and two singular values equal."""
    below = torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64, requires_grad=True)

    def distance(x: Tensor) -> Tensor:
        lower = torch.zeros(3, 3, dtype=torch.float64)
        lower = lower.index_put((torch.tensor([1, 2, 2]), torch.tensor([0, 0, 1])), x)
        p = MultivariateNormal(
            torch.zeros(3).double(), scale_tril=lower + torch.eye(3), validate_args=False
        )
        q = MultivariateNormal(torch.zeros(3).double(), scale_tril=2 * torch.eye(3).double())
        return kullback.wasserstein_distance(p, q)

    assert torch.autograd.gradcheck(distance, below)
    assert torch.autograd.gradgradcheck(distance, below)


def test_wasserstein_nearly_equal_keeps_its_digits() -> None:
    """Bures' formula as written, √(tr S + tr T − 2 tr …), has none left at 1e-9."""
    eye = torch.eye(2, dtype=torch.float64)
    p = MultivariateNormal(torch.zeros(2).double(), scale_tril=eye)
    q = MultivariateNormal(torch.zeros(2).double(), scale_tril=eye * (1 + 1e-9))
    step = (1 + 1e-9) - 1
    expected = math.sqrt(2) * step
    # The rotation is rounded at 1e-16, a part in 1e7 of the distance.
    assert kullback.wasserstein_distance(p, q).item() == pytest.approx(expected, rel=1e-6)


def low_rank(n: int, rank: int) -> LowRankMultivariateNormal:
    return LowRankMultivariateNormal(
        torch.randn(n).double(), torch.randn(n, rank).double(), 0.5 + torch.rand(n).double()
    )


@pytest.mark.parametrize("size", [1e-1, 1e-4, 1e-7])
def test_low_rank_agrees_with_the_full_matrices(size: float) -> None:
    """Both lose what the conditioning of the covariances takes, some hundreds here."""
    p = low_rank(300, 3)
    q = nearby(p, size)
    full_p, full_q = (MultivariateNormal(side.loc, scale_tril=side.scale_tril) for side in (p, q))
    expected = kullback.kl_divergence(full_p, full_q).item()
    tolerance = max(1e-11, 1e-13 / size)
    assert kullback.kl_divergence(p, q).item() == pytest.approx(expected, rel=tolerance)


def test_low_rank_does_not_see_a_rotation_of_the_columns() -> None:
    p = low_rank(300, 3)
    turn = torch.linalg.qr(torch.randn(3, 3).double()).Q
    q = LowRankMultivariateNormal(p.loc, p.cov_factor @ turn, p.cov_diag)
    padded = torch.nn.functional.pad(p.cov_factor, (0, 2))
    wider = LowRankMultivariateNormal(p.loc, padded, p.cov_diag)
    # Rounding of the product alone sets the two apart, by 1e-16 in each entry.
    assert abs(kullback.kl_divergence(p, q).item()) < 1e-25
    assert kullback.kl_divergence(p, wider) == 0


def test_low_rank_in_a_hundred_thousand_dimensions() -> None:
    """A full matrix would be 80 GB."""
    n = 100_000
    p, q = low_rank(n, 2), low_rank(n, 1)
    p_diagonal = Independent(Normal(p.loc, p.cov_diag.sqrt()), 1)
    q_diagonal = Independent(Normal(q.loc, q.cov_diag.sqrt()), 1)
    value = kullback.kl_divergence(
        p_diagonal, LowRankMultivariateNormal(q.loc, 0 * q.cov_factor, q.cov_diag)
    )
    assert value.item() == pytest.approx(kullback.kl_divergence(p_diagonal, q_diagonal).item())
    assert kullback.kl_divergence(p, q) > 0


def dirichlet_kl(p: Tensor, q: Tensor) -> Any:
    one, other = ([mp.mpf(float(x)) for x in side] for side in (p, q))
    total = mp.fsum(one)
    value = mp.loggamma(total) - mp.loggamma(mp.fsum(other))
    for a, b in zip(one, other, strict=True):
        value += mp.loggamma(b) - mp.loggamma(a) + (a - b) * (mp.digamma(a) - mp.digamma(total))
    return value


def test_a_thousand_dimensional_dirichlet() -> None:
    """torch's sums of log-gammas in float32 leave about half of the digits' worth of noise."""
    p = torch.linspace(0.5, 50.0, 1000)
    q = perturbed(p, 1.5e-3)
    expected = float(dirichlet_kl(p, q))
    assert 0.01 < expected < 0.1
    value = kullback.kl_divergence(Dirichlet(p), Dirichlet(q)).item()
    assert value == pytest.approx(expected, rel=1e-6)


DIRICHLETS = [
    (torch.tensor([0.5, 2.0, 1.25]), 2e-5),
    (torch.tensor([1e-3, 5.0, 300.0]), 2e-6),
    (torch.tensor([1e6, 1.0, 0.1]), 3e-5),
    (torch.linspace(1.0, 40.0, 64), 5e-7),
]


@pytest.mark.parametrize(("p", "size"), DIRICHLETS)
def test_dirichlets_nearly_equal_in_float32(p: Tensor, size: float) -> None:
    q = perturbed(p, size)
    expected = float(dirichlet_kl(p, q))
    assert 0 < expected < 1e-8
    value = kullback.kl_divergence(Dirichlet(p), Dirichlet(q)).item()
    assert value == pytest.approx(expected, rel=PROMISED)


@pytest.mark.parametrize("size", [1e-4, 1e-6, 1e-7])
def test_dirichlets_are_never_negative(size: float) -> None:
    p = torch.empty(200, 30).uniform_(-5, 8).exp()
    q = perturbed(p, size)
    one, other = Dirichlet(p), Dirichlet(q)
    moved = (p != q).any(-1)
    assert (kullback.kl_divergence(one, other)[moved] > 0).all()
    assert (kullback.renyi_divergence(one, other, alpha=0.5)[moved] > 0).all()
    scaled = Dirichlet(p * (1 + size))
    assert (kullback.kl_divergence(one, scaled) >= 0).all()


def test_dirichlet_of_proportional_concentrations() -> None:
    """Equal proportions leave the concentration alone, in which digits could be lost."""
    p = torch.full((3,), 1e5, dtype=torch.float64)
    q = p * 1.0001
    value = kullback.kl_divergence(Dirichlet(p), Dirichlet(q)).item()
    # log-gammas of 1e5 in float64 are good to 1e-16·1e5 of what is left.
    assert value == pytest.approx(float(dirichlet_kl(p, q)), rel=1e-9)


def test_dirichlet_renyi_is_infinite_where_the_mixture_is_improper() -> None:
    """∫ p²/q ∝ ∫ x^(2a − b − 1): infinite for 2a ≤ b."""
    p = torch.tensor([[0.5, 1.0], [0.75, 1.0]], requires_grad=True)
    value = kullback.renyi_divergence(Dirichlet(p), Dirichlet(torch.ones(2)), alpha=2.0)
    assert value[0] == math.inf
    # Beta(¾, 1) has the density ¾ x^(−¼), and ∫ 9/16 x^(−½) = 9/8.
    assert value[1].item() == pytest.approx(math.log(9 / 8), rel=1e-6)
    value[1].backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()


def wishart_kl(df_p: Any, cov_p: Any, df_q: Any, cov_q: Any) -> Any:
    """Bishop (2006), eqs. B.79 and B.81, in 40 digits."""
    n, m, d = mp.mpf(df_p), mp.mpf(df_q), cov_p.rows
    ratio = cov_q**-1 * cov_p
    trace = mp.fsum(ratio[i, i] for i in range(d))
    steps = [mp.mpf(i) / 2 for i in range(d)]
    log_gammas = mp.fsum(mp.loggamma(m / 2 - s) - mp.loggamma(n / 2 - s) for s in steps)
    digammas = mp.fsum(mp.digamma(n / 2 - s) for s in steps)
    return n / 2 * (trace - d) - m / 2 * mp.log(mp.det(ratio)) + log_gammas + (n - m) / 2 * digammas


def test_batched_wishart() -> None:
    """torch sums over the batch where it should sum over a diagonal: −0.239."""
    p = Wishart(torch.tensor([5.0, 5.0]), covariance_matrix=torch.eye(3))
    q = Wishart(torch.tensor([6.0, 6.0]), covariance_matrix=1.5 * torch.eye(3))
    expected = float(wishart_kl(5, mp.eye(3), 6, 1.5 * mp.eye(3)))
    assert expected == pytest.approx(1.382, abs=5e-4)
    torch.testing.assert_close(kullback.kl_divergence(p, q), torch.full((2,), expected))


def test_wishart_has_gradients_in_everything() -> None:
    df_p, df_q = (torch.tensor([x, 4.5], dtype=torch.float64) for x in (3.5, 6.0))
    factors = [random_factor(3, torch.float64) for _ in range(2)]
    inputs = [x.requires_grad_() for x in (df_p, factors[0], df_q, factors[1])]

    def make(df: Tensor, factor: Tensor) -> Wishart:
        return Wishart(df, scale_tril=factor.tril())

    def kl(*x: Tensor) -> Tensor:
        return kullback.kl_divergence(make(*x[:2]), make(*x[2:]))

    def renyi(*x: Tensor) -> Tensor:
        return kullback.renyi_divergence(make(*x[:2]), make(*x[2:]), alpha=0.75)

    def entropy(*x: Tensor) -> Tensor:
        return kullback.entropy(make(*x))

    assert torch.autograd.gradcheck(kl, inputs)
    assert torch.autograd.gradcheck(renyi, inputs)
    assert torch.autograd.gradcheck(entropy, inputs[:2])


@pytest.mark.parametrize("held", COVARIANCES)
def test_wisharts_nearly_equal_in_float32(held: str) -> None:
    factor, df = random_factor(3), torch.tensor(7.5)
    other, other_df = perturbed(factor, 1e-5), torch.tensor(7.5003)
    (of_p, cov_p), (of_q, cov_q) = (COVARIANCES[held](x) for x in (factor, other))
    expected = wishart_kl(float(df), cov_p, float(other_df), cov_q)
    assert 1e-10 < expected < 1e-7
    value = kullback.kl_divergence(Wishart(df, **of_p), Wishart(other_df, **of_q)).item()
    assert value == pytest.approx(float(expected), rel=PROMISED)


def test_wishart_broadcasts() -> None:
    p = Wishart(torch.tensor([[5.0], [6.0]]), covariance_matrix=torch.eye(2))
    q = Wishart(torch.tensor(4.0), covariance_matrix=torch.eye(2) * torch.ones(3, 1, 1))
    assert kullback.kl_divergence(p, q).shape == (2, 3)
    assert kullback.renyi_divergence(p, q, alpha=0.5).shape == (2, 3)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_lkj_integrates_what_torch_says_its_density_is(size: int) -> None:
    """KL from torch's own log_prob, whose rows are independent and depend on one number each."""
    eta, zeta = 1.25, 2.5
    p, q = (LKJCholesky(size, torch.tensor(x).double(), validate_args=False) for x in (eta, zeta))
    radius = torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1]
    identity = torch.eye(size, dtype=torch.float64)
    at_identity = [d.log_prob(identity) for d in (p, q)]
    value = at_identity[0] - at_identity[1]
    for row in range(1, size):
        matrices = identity.repeat(len(radius), 1, 1)
        matrices[:, row, 0], matrices[:, row, row] = radius, (1 - radius**2).sqrt()
        log_p, log_q = (
            d.log_prob(matrices) - at for d, at in zip((p, q), at_identity, strict=True)
        )
        weight = log_p.exp() * radius ** (row - 1)
        value = value + (weight * (log_p - log_q)).sum() / weight.sum()
    # The trapezoidal rule on (1 − r²)^(η − 1): the step to the power 5/4.
    assert kullback.kl_divergence(p, q).item() == pytest.approx(value.item(), rel=2e-4)


@pytest.mark.parametrize("eta", [0.1, 1.0, 1e3])
def test_lkjs_are_never_negative_near_equality(eta: float) -> None:
    step = torch.logspace(-7, -2, 50, dtype=torch.float64)
    p = LKJCholesky(5, torch.tensor(eta, dtype=torch.float64))
    q = LKJCholesky(5, eta * (1 + step))
    value = kullback.kl_divergence(p, q)
    assert (value > 0).all()
    # Quadratic in the step, to the step's own order.
    torch.testing.assert_close(value / value[25], (step / step[25]) ** 2, rtol=0.05, atol=0)


def test_lkj_renyi_is_infinite_where_the_mixture_is_improper() -> None:
    p, q = LKJCholesky(3, torch.tensor([1.0, 2.0])), LKJCholesky(3, torch.tensor(2.0))
    value = kullback.renyi_divergence(p, q, alpha=2.0)
    assert value[0] == math.inf
    assert value[1] == 0
