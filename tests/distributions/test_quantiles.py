"""Quantiles of densities, and Wasserstein distances on the line, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import pytest
import torch
import torch.distributions as td
from torch import Tensor
from torch.autograd import grad, gradcheck

from kullback.distributions.quadrature.quantiles import quantile, wasserstein
from kullback.errors import InputError


def real(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


LEVELS = [1e-50, 1e-9, 0.01, 0.3, 0.5, 0.75, 0.999, 1 - 2.0**-40]


def of_normal(u: Any) -> Any:
    with mp.workdps(80):
        return mp.sqrt(2) * mp.erfinv(2 * mp.mpf(u) - 1)


def of_cauchy(u: Any) -> Any:
    with mp.workdps(80):
        return mp.tan(mp.pi * (mp.mpf(u) - mp.mpf(1) / 2))


def of_pareto(u: Any) -> Any:
    with mp.workdps(80):
        return 2 * (1 - mp.mpf(u)) ** (-1 / mp.mpf(1.5))


def of_kumaraswamy(u: Any) -> Any:
    with mp.workdps(80):
        return (1 - (1 - mp.mpf(u)) ** (1 / mp.mpf(0.25))) ** (1 / mp.mpf(0.5))


@pytest.mark.parametrize(
    ("p", "truth"),
    [
        (td.Normal(real(0.0), real(1.0)), of_normal),
        (td.Cauchy(real(0.0), real(1.0)), of_cauchy),
        (td.Pareto(real(2.0), real(1.5)), of_pareto),
        (td.Kumaraswamy(real(0.5), real(0.25)), of_kumaraswamy),
    ],
)
def test_quantiles(p: Any, truth: Any) -> None:
    found = quantile(p, real(LEVELS))
    for level, x in zip(LEVELS, found.tolist(), strict=True):
        # Panels hold the mass beyond each level to 1e-10 of it, and mostly to the last bits.
        assert x == pytest.approx(float(truth(level)), rel=1e-11, abs=1e-13)


def test_ends_and_shapes() -> None:
    p = td.Uniform(real([0.0, 1.0]), real([2.0, 5.0]))
    found = quantile(p, real([[0.0, 0.5, 1.0]]))
    assert found.shape == (1, 3, 2)
    expected = real([[[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_gradients_of_quantiles() -> None:
    loc, scale = real(0.3).requires_grad_(), real(1.7).requires_grad_()
    x = quantile(td.Normal(loc, scale), real([0.05, 0.9]))
    slopes = [grad(x[i], [loc, scale], retain_graph=True) for i in (0, 1)]
    for slope, level in zip(slopes, (0.05, 0.9), strict=True):
        assert float(slope[0]) == pytest.approx(1.0, rel=1e-9)
        assert float(slope[1]) == pytest.approx(float(of_normal(level)), rel=1e-9)


NORMAL = td.Normal(real(0.0), real(1.0))


@pytest.mark.parametrize(
    ("p", "q", "order", "expected"),
    [
        (NORMAL, td.Normal(real(1.0), real(2.0)), 2.0, math.sqrt(2)),
        (NORMAL, td.Normal(real(1.0), real(1.0)), 3.0, 1.0),
        (NORMAL, td.Normal(real(0.0), real(1.0 + 1e-6)), 2.0, 1e-6),
        (NORMAL, td.Normal(real(3.0), real(1e-6)), 2.0, math.sqrt(9 + (1 - 1e-6) ** 2)),
        (td.Exponential(real(1.0)), td.Exponential(real(2.0)), 1.0, 0.5),
        (td.Exponential(real(1.0)), td.Exponential(real(2.0)), 2.0, math.sqrt(0.5)),
        (td.Uniform(real(0.0), real(1.0)), td.Uniform(real(2.0), real(4.0)), 1.0, 2.5),
        # Both have no mean, and yet they are a finite distance apart.
        (td.Cauchy(real(0.0), real(1.0)), td.Cauchy(real(1.0), real(1.0)), 1.0, 1.0),
        (td.Pareto(real(1.0), real(1.5)), td.Pareto(real(2.0), real(1.5)), 1.0, 3.0),
    ],
)
def test_wasserstein(p: Any, q: Any, order: float, expected: float) -> None:
    found = wasserstein(p, q, order)
    assert abs(float(found.value) - expected) <= float(found.error) + 2e-15 * expected
    # Near equality the distance keeps the absolute rounding of the quantiles.
    assert float(found.error) <= 1e-9 * max(expected, 1e-3)
    assert bool(found.trusted)


def test_quantile_functions_that_cross() -> None:
    """W₁ of Normals is the mean of |δ + γ z|, a folded Normal: a kink where quantiles cross."""
    draws = torch.randn(8, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for m, n, log_s, log_t in draws.tolist():
        s, t = math.exp(log_s), math.exp(log_t)
        found = wasserstein(td.Normal(real(m), real(s)), td.Normal(real(n), real(t)), 1.0)
        step, spread = m - n, abs(s - t)
        expected = spread * math.sqrt(2 / math.pi) * math.exp(-(step**2) / (2 * spread**2))
        expected += step * math.erf(step / spread / math.sqrt(2))
        assert abs(float(found.value) - expected) <= float(found.error) < 1e-8


def test_wasserstein_by_distribution_functions() -> None:
    """W₁ = ∫ |F − G| dx, by mpmath; twice the half-line by symmetry."""
    found = wasserstein(NORMAL, td.Laplace(real(0.0), real(1.0)), 1.0)

    def gap(x: Any) -> Any:
        return abs(mp.erfc(x / mp.sqrt(2)) / 2 - mp.exp(-x) / 2)

    crossing = mp.findroot(
        lambda x: mp.erfc(x / mp.sqrt(2)) - mp.exp(-x), (0.1, 1), solver="anderson"
    )
    expected = 2 * mp.quad(gap, [0, crossing, 3, 8, 40])
    assert abs(float(found.value) - float(expected)) <= float(found.error) < 1e-9


@pytest.mark.parametrize(
    ("p", "q", "order"),
    [
        (NORMAL, td.Cauchy(real(0.0), real(1.0)), 1.0),
        (td.Cauchy(real(0.0), real(2.0)), td.Cauchy(real(0.0), real(1.0)), 1.0),
        (NORMAL, td.StudentT(real(2.0), real(0.0), real(1.0)), 2.0),
        (td.Pareto(real(1.0), real(1.0)), td.Exponential(real(1.0)), 1.0),
    ],
)
def test_infinite_distances(p: Any, q: Any, order: float) -> None:
    found = wasserstein(p, q, order)
    assert float(found.value) == math.inf
    assert not bool(found.finite)
    assert found.note.startswith("+inf")


def test_a_tail_that_nearly_diverges() -> None:
    """W₂² = 1 + ν/(ν − 2) − 2 E[x Φ⁻¹(F(x))] over x of a StudentT, by mpmath."""
    found = wasserstein(NORMAL, td.StudentT(real(2.1), real(0.0), real(1.0)), 2.0)
    v = mp.mpf(2.1)
    height = 1 / (mp.sqrt(v) * mp.beta(v / 2, mp.mpf(1) / 2))

    def product(s: Any) -> Any:
        x = mp.exp(s)
        tail = mp.betainc(v / 2, mp.mpf(1) / 2, 0, v / (v + x * x), regularized=True) / 2
        z = mp.sqrt(2) * mp.erfinv(1 - 2 * tail)
        return x * x * z * height * (1 + x * x / v) ** (-(v + 1) / 2)

    # x is the exponential of s; at s = 15 a tail of 1e-7 of the whole is left.
    mixed = 2 * mp.quad(product, [-12, -4, -1, 0, 1, 3, 6, 10, 15], maxdegree=4)
    expected = mp.sqrt(1 + v / (v - 2) - 2 * mixed)
    assert float(found.value) == pytest.approx(float(expected), abs=1e-6)
    assert float(found.error) < 1e-7


def test_distance_of_a_distribution_to_itself() -> None:
    found = wasserstein(NORMAL, td.Normal(real(0.0), real(1.0)), 2.0)
    assert float(found.value) == 0.0
    assert float(found.error) < 1e-11


def test_gradients_of_distances() -> None:
    inputs = [real(x).requires_grad_() for x in (0.3, 1.2, -0.4, 0.7)]

    def between(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return wasserstein(td.Normal(a, b), td.Normal(c, d), 2.0).value

    assert gradcheck(between, inputs, atol=1e-6)
    slopes = [float(x) for x in grad(between(*inputs), inputs)]
    value = math.hypot(0.7, 0.5)
    expected = [0.7 / value, 0.5 / value, -0.7 / value, -0.5 / value]
    assert slopes == pytest.approx(expected, rel=1e-8)


def test_batches() -> None:
    loc = real([0.0, 1.0, 4.0])
    found = wasserstein(td.Normal(loc, real(1.0)), td.Normal(real([[0.0], [1.0]]), real(1.0)), 1.0)
    torch.testing.assert_close(
        found.value, (loc - real([[0.0], [1.0]])).abs(), rtol=1e-10, atol=1e-11
    )


def test_refusals() -> None:
    with pytest.raises(InputError, match="order"):
        wasserstein(NORMAL, NORMAL, 0.5)
    with pytest.raises(InputError, match="densities over scalars"):
        quantile(td.Poisson(real(2.0)), real([0.5]))
