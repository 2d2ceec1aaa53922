"""Cubature in one to three dimensions: within its error of closed forms and of the line."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import pytest
import torch
import torch.distributions as td
from torch import Tensor
from torch.autograd import grad

from kullback.distributions.quadrature import space as cubature
from kullback.distributions.quadrature.line import integrate as on_the_line
from kullback.distributions.quadrature.space import integrate
from kullback.divergences import KL, TOTAL_VARIATION
from kullback.errors import InputError


def real(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def independent(base: td.Distribution) -> td.Independent:
    return td.Independent(base, 1)


def gaussian(mean: Any, covariance: Any) -> td.MultivariateNormal:
    return td.MultivariateNormal(real(mean), real(covariance))


def kl_of_gaussians(p: td.MultivariateNormal, q: td.MultivariateNormal) -> float:
    """½ [tr(S⁻¹ C) + dᵀ S⁻¹ d − k + log |S|/|C|], by mpmath."""
    c, s = (mp.matrix(x.covariance_matrix.tolist()) for x in (p, q))
    d = mp.matrix((p.loc - q.loc).tolist())
    inverse = s**-1
    trace = sum((inverse * c)[i, i] for i in range(c.rows))
    return float((trace + (d.T * inverse * d)[0] - c.rows + mp.log(mp.det(s) / mp.det(c))) / 2)


def kl_of_dirichlets(a: list[float], b: list[float]) -> float:
    log_normalizers = [
        mp.loggamma(mp.fsum(x)) - mp.fsum(mp.loggamma(mp.mpf(y)) for y in x) for x in (a, b)
    ]
    means = [mp.digamma(mp.mpf(x)) - mp.digamma(mp.fsum(a)) for x in a]
    step = mp.fsum((mp.mpf(x) - mp.mpf(y)) * m for x, y, m in zip(a, b, means, strict=True))
    return float(log_normalizers[0] - log_normalizers[1] + step)


ROUND = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
RIDGE = gaussian([3.0, 0.0], [[1.0, 0.99], [0.99, 1.0]])
POINT = gaussian([5.0, 5.0], [[1e-8, 0.0], [0.0, 1e-8]])


@pytest.mark.parametrize(("p", "q"), [(ROUND, RIDGE), (RIDGE, ROUND), (POINT, ROUND)])
def test_gaussians(p: Any, q: Any) -> None:
    found = integrate(p, q, KL)
    expected = kl_of_gaussians(p, q)
    assert abs(float(found.value) - expected) <= float(found.error)
    assert float(found.error) <= 1e-7 * expected
    assert bool(found.trusted)


@pytest.mark.parametrize(
    ("a", "b"), [([0.5, 2.0, 3.0], [1.0, 1.0, 1.5]), ([0.1, 0.1, 0.2], [0.3, 0.1, 2.0])]
)
def test_simplex_of_three(a: list[float], b: list[float]) -> None:
    found = integrate(td.Dirichlet(real(a)), td.Dirichlet(real(b)), KL)
    assert abs(float(found.value) - kl_of_dirichlets(a, b)) <= float(found.error) < 1e-8


def test_logistic_normal_to_dirichlet() -> None:
    """log q is linear in log x, whose means are integrals over the line and the plane of logits."""
    loc, scale, b = [0.0, 0.5], [1.0, 0.7], [0.5, 2.0, 3.0]
    found = integrate(td.LogisticNormal(real(loc), real(scale)), td.Dirichlet(real(b)), KL)
    # torch shifts the logits of the sticks by log 2 and log 1.
    means = [loc[0] - mp.log(2), mp.mpf(loc[1])]

    def mean_of(f: Any, i: int) -> Any:
        m, s = means[i], mp.mpf(scale[i])
        return mp.quad(lambda y: f(y) * mp.npdf(y, m, s), mp.linspace(m - 12 * s, m + 12 * s, 9))

    def softplus(y: Any) -> Any:
        return mp.log1p(mp.exp(y))

    share = [-mean_of(lambda y: softplus(-y), i) for i in (0, 1)]
    kept = [-mean_of(softplus, i) for i in (0, 1)]
    mean_logs = [share[0], kept[0] + share[1], kept[0] + kept[1]]
    entropy = mp.fsum(mp.log(2 * mp.pi * mp.e * mp.mpf(s) ** 2) / 2 for s in scale)
    volume = share[0] + kept[0] + (share[1] + kept[1] + kept[0])
    log_q = mp.loggamma(mp.fsum(b)) - mp.fsum(mp.loggamma(mp.mpf(x)) for x in b)
    log_q += mp.fsum((mp.mpf(x) - 1) * m for x, m in zip(b, mean_logs, strict=True))
    expected = -entropy - volume - log_q
    assert abs(float(found.value) - float(expected)) <= float(found.error) < 1e-8


def test_relaxed_categorical_is_normalized() -> None:
    p = td.RelaxedOneHotCategorical(real(0.7), probs=real([0.2, 0.3, 0.5]))
    found = integrate(p, td.Dirichlet(real([1.0, 1.0, 1.0])), KL)
    assert bool(found.trusted)
    assert float(found.error) < 1e-8


def student(df: list[float]) -> td.Independent:
    return independent(td.StudentT(real(df), real(0.0), real(1.0)))


def product(family: Any, *numbers: Any) -> td.Independent:
    return independent(family(*(real(x) for x in numbers)))


PRODUCTS = {
    "StudentT‖Laplace": (student([3.0, 5.0]), product(td.Laplace, [0.0, 1.0], [1.0, 1.0])),
    "Gamma‖LogNormal": (
        product(td.Gamma, [0.5, 2.0], [1.0, 1.0]),
        product(td.LogNormal, [0.0, 0.0], [1.0, 1.0]),
    ),
    "Beta‖Kumaraswamy": (
        product(td.Beta, [0.3, 2.0], [0.4, 3.0]),
        product(td.Kumaraswamy, [0.5, 2.0], [0.7, 3.0]),
    ),
    "Uniform‖Normal": (
        product(td.Uniform, [0.0, 0.0], [1.0, 2.0]),
        product(td.Normal, [0.0, 0.0], [1.0, 1.0]),
    ),
}


@pytest.mark.parametrize(("p", "q"), PRODUCTS.values(), ids=PRODUCTS.keys())
def test_boxes_agree_with_the_line(p: Any, q: Any) -> None:
    """Independent coordinates are summed; over boxes the same comes out."""
    summed = integrate(p, q, KL)
    line = on_the_line(p.base_dist, q.base_dist, KL)
    assert float(summed.value) == float(line.value.sum())
    boxes = cubature._over_boxes(p, q, KL, 1e-9)
    assert abs(float(boxes.value - summed.value)) <= float(boxes.error + summed.error)
    assert float(boxes.error) < 1e-6


def test_slow_tails_to_a_multivariate_normal() -> None:
    found = integrate(student([3.0, 5.0]), ROUND, KL)
    line = on_the_line(
        td.StudentT(real([3.0, 5.0]), real(0.0), real(1.0)), td.Normal(real(0.0), real(1.0)), KL
    )
    assert abs(float(found.value) - float(line.value.sum())) <= float(found.error) < 1e-7


@pytest.mark.parametrize("df", [1.0, 2.0])
def test_divergent_is_infinite(df: float) -> None:
    found = integrate(student([df, 5.0]), ROUND, KL)
    assert float(found.value) == math.inf
    assert not bool(found.finite)
    assert "does not fall off" in found.note


def mixture(means: Any, scales: list[float]) -> td.MixtureSameFamily:
    covariance = torch.stack([s * torch.eye(2, dtype=torch.float64) for s in scales])
    return td.MixtureSameFamily(
        td.Categorical(real([0.3, 0.7])), td.MultivariateNormal(real(means), covariance)
    )


def test_mixtures_of_gaussians() -> None:
    """Components far apart: KL is nearly that of the weights and of the pairs of components."""
    p = mixture([[0.0, 0.0], [60.0, 10.0]], [1.0, 0.1])
    q = mixture([[0.0, 1.0], [60.0, 10.0]], [1.0, 0.1])
    found = integrate(p, q, KL)
    # 0.3 · ½|Δ|²; what components have of each other is below e^−1800.
    assert abs(float(found.value) - 0.15) <= float(found.error) < 1e-7
    near = integrate(mixture([[0.0, 0.0], [4.0, 1.0]], [1.0, 0.1]), ROUND, KL)
    assert bool(near.trusted)
    assert float(near.error) < 1e-8


def test_mass_outside_of_the_other_support() -> None:
    def square(low: float, high: float) -> td.Independent:
        return product(td.Uniform, [low, low], [high, high])

    apart = integrate(square(0.0, 1.0), square(2.0, 3.0), TOTAL_VARIATION)
    assert float(apart.value) == pytest.approx(1.0, abs=1e-12)
    found = integrate(square(0.0, 1.0), square(0.5, 3.0), TOTAL_VARIATION)
    # One less the smaller density, 1/6.25, over the square that both share.
    assert abs(float(found.value) - (1 - 0.25 / 6.25)) <= float(found.error) < 1e-9
    assert float(integrate(square(0.0, 1.0), square(0.5, 3.0), KL).value) == math.inf


def test_gradients_and_batches() -> None:
    loc = real([[0.3, -0.2], [1.0, 0.0], [0.0, 2.0]]).requires_grad_()
    scale = real([1.0, 2.0]).requires_grad_()
    q = independent(td.Laplace(real([0.0, 0.0]), scale))
    found = integrate(td.MultivariateNormal(loc, torch.eye(2, dtype=torch.float64)), q, KL)
    line = on_the_line(td.Normal(loc, real(1.0)), q.base_dist, KL).value.sum(-1)
    assert found.value.shape == (3,)
    assert bool(((found.value - line).abs() <= found.error).all())
    weights = real([1.0, 2.0, 3.0])
    by_boxes = grad((weights * found.value).sum(), [loc, scale])
    by_line = grad((weights * line).sum(), [loc, scale])
    for ours, expected in zip(by_boxes, by_line, strict=True):
        # What the slope of a kink jumps by is not what boxes were halved for.
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)


def test_gradients_of_ends() -> None:
    low, high = real([0.0, 0.0]).requires_grad_(), real([1.0, 2.0]).requires_grad_()
    found = integrate(independent(td.Uniform(low, high)), ROUND, KL).value
    line = on_the_line(td.Uniform(low, high), td.Normal(real(0.0), real(1.0)), KL).value.sum()
    for ours, expected in zip(grad(found, [low, high]), grad(line, [low, high]), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_one_dimension_of_a_vector() -> None:
    p = td.MultivariateNormal(real([0.0]), real([[1.0]]))
    found = integrate(p, product(td.Laplace, [0.0], [1.0]), KL)
    line = on_the_line(td.Normal(real(0.0), real(1.0)), td.Laplace(real(0.0), real(1.0)), KL)
    assert abs(float(found.value - line.value)) <= float(found.error) < 1e-8


class Plain:
    """A Gaussian in two dimensions that is none of torch's."""

    batch_shape, event_shape = torch.Size(), torch.Size((2,))

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * (x * x).sum(-1) - math.log(2 * math.pi)


class Sampled(Plain):
    def sample(self, shape: torch.Size) -> Tensor:
        return torch.randn(*shape, 2, dtype=torch.float64)


def test_any_object_with_log_prob_and_sample() -> None:
    q = gaussian([1.0, 0.0], [[2.0, 0.0], [0.0, 2.0]])
    found = integrate(Sampled(), q, KL)
    assert abs(float(found.value) - kl_of_gaussians(ROUND, q)) <= float(found.error) < 1e-8
    with pytest.raises(InputError, match="neither side can be sampled"):
        integrate(Plain(), Plain(), KL)


def test_refusals() -> None:
    wide = td.MultivariateNormal(torch.zeros(4), torch.eye(4))
    with pytest.raises(InputError, match="up to three numbers"):
        integrate(wide, wide, KL)
    with pytest.raises(InputError, match="same kind of set"):
        integrate(td.Dirichlet(real([1.0, 1.0, 1.0])), student([3.0, 4.0, 5.0]), KL)


@pytest.mark.slow
def test_three_dimensions() -> None:
    identity = torch.eye(3, dtype=torch.float64)
    root = real([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.3, 0.2, 0.7]])
    p = td.MultivariateNormal(real([0.0, 0.0, 0.0]), identity)
    q = td.MultivariateNormal(real([1.0, 0.0, -1.0]), scale_tril=root)
    found = integrate(p, q, KL, rtol=1e-6)
    # The error is far from tight here: products of rules see each dimension's gap.
    assert abs(float(found.value) - kl_of_gaussians(p, q)) <= float(found.error) < 1e-2
    a, b = [0.5, 2.0, 3.0, 1.0], [1.0, 1.0, 1.5, 2.0]
    dirichlet = integrate(td.Dirichlet(real(a)), td.Dirichlet(real(b)), KL, rtol=1e-6)
    difference = abs(float(dirichlet.value) - kl_of_dirichlets(a, b))
    assert difference <= float(dirichlet.error) < 1e-4
