"""Rényi and Wasserstein distances of the half-line: near equality, at extremes, where infinite."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import (
    Distribution,
    Exponential,
    Gamma,
    HalfNormal,
    InverseGamma,
    LogNormal,
    Pareto,
    Weibull,
)

import kullback
from half_line_truth import Numbers, make, relative_error, true_renyi_of_gammas

INF = math.inf


@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.999, 1.001, 1.5, 4.0])
@pytest.mark.parametrize("distance", [1e-2, 3e-5, 1e-9])
@pytest.mark.parametrize("p", [(0.4, 2.0), (3.0, 0.7), (1e5, 20.0)])
def test_renyi_near_equality(p: Numbers, distance: float, alpha: float) -> None:
    """3e-5 makes divergences of about 1e-9; the parts differ by a factor of alpha at most."""
    for signs in itertools.product((-0.7, 0.3, 1.0), repeat=2):
        q = tuple(x * (1 + sign * distance) for x, sign in zip(p, signs, strict=True))
        for kind in (Gamma, InverseGamma):
            value = kullback.renyi_divergence(make(kind, p), make(kind, q), alpha=alpha).item()
            assert relative_error(value, true_renyi_of_gammas(p, q, alpha)) < 1e-11


@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.999, 1.001, 1.5, 4.0])
@pytest.mark.parametrize("distance", [0.1, 3e-5, 1e-9])
def test_renyi_of_scales_near_equality(distance: float, alpha: float) -> None:
    """Each of these is the divergence of two rates, up to a factor."""
    rates = (1.7, 1.7 * (1 + distance))
    a, b = (torch.tensor(rate, dtype=torch.float64) for rate in rates)
    truth = true_renyi_of_gammas((1.0, rates[0]), (1.0, rates[1]), alpha)
    one = torch.ones_like(a)
    of_exponentials = kullback.renyi_divergence(Exponential(a), Exponential(b), alpha=alpha)
    of_paretos = kullback.renyi_divergence(Pareto(one, a), Pareto(one, b), alpha=alpha)
    assert relative_error(of_exponentials.item(), truth) < 1e-12
    assert relative_error(of_paretos.item(), truth) < 1e-12
    # Rounding the roots moves the rates by 1e-16, out of the distance between them.
    roots = a.rsqrt(), b.rsqrt()
    of_weibulls = kullback.renyi_divergence(
        Weibull(roots[0], 2 * one), Weibull(roots[1], 2 * one), alpha=alpha
    )
    of_normals = kullback.renyi_divergence(HalfNormal(roots[0]), HalfNormal(roots[1]), alpha=alpha)
    of_logs = kullback.renyi_divergence(
        LogNormal(0 * a, roots[0]), LogNormal(0 * a, roots[1]), alpha=alpha
    )
    for value in (of_weibulls, 2 * of_normals, 2 * of_logs):
        assert relative_error(value.item(), truth) < 2e-15 / distance


def test_renyi_beyond_the_family_is_infinite() -> None:
    """αβ + (1 − α)γ ≤ 0 for α = 3, β = 1, γ = 2; the other way round it is finite."""
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    pairs = [
        (Exponential(one), Exponential(two)),
        (Gamma(one, one), Gamma(one, two)),
        (Gamma(one, one), Gamma(two, one)),
        (HalfNormal(two), HalfNormal(one)),
        (LogNormal(one, two), LogNormal(one, one)),
        (Weibull(two, one), Weibull(one, one)),
        (Pareto(one, one), Pareto(one, two)),
    ]
    for p, q in pairs:
        assert kullback.renyi_divergence(p, q, alpha=3.0).item() == INF
        assert 0 < kullback.renyi_divergence(q, p, alpha=3.0).item() < INF
    assert kullback.renyi_divergence(Pareto(one, two), Pareto(two, two), alpha=3.0).item() == INF


@pytest.mark.parametrize("kind", [Gamma, InverseGamma, LogNormal, Pareto])
def test_renyi_skew_symmetry(kind: type[Distribution]) -> None:
    """(1 − α) R_α(P‖Q) = α R_(1−α)(Q‖P), from the definition."""
    p, q = make(kind, (0.7, 1.9)), make(kind, (1.3, 0.8))
    forward = 0.7 * kullback.renyi_divergence(p, q, alpha=0.3)
    backward = 0.3 * kullback.renyi_divergence(q, p, alpha=0.7)
    torch.testing.assert_close(forward, backward, rtol=1e-13, atol=0)


def test_renyi_of_rates_far_apart() -> None:
    """Rates e¹²⁰⁰ apart, of which floats know the logarithm only: R_½ = ρ − 2 log 2, ρ = 600."""
    p, q = make(Weibull, (1.0, 400.0)), make(Weibull, (20.0, 400.0))
    ratio = 400 * math.log(20)
    expected = ratio - 2 * math.log(2)
    assert kullback.renyi_divergence(p, q, alpha=0.5).item() == pytest.approx(expected, rel=1e-13)
    assert kullback.renyi_divergence(q, p, alpha=0.5).item() == pytest.approx(expected, rel=1e-13)


SCALED: list[tuple[type[Distribution], Numbers, Numbers]] = [
    (Exponential, (1.5,), (1.5 * (1 + 1e-8),)),
    (Gamma, (2.5, 1.5), (2.5, 1.5 * (1 + 1e-8))),
    (InverseGamma, (2.5, 1.5), (2.5, 1.5 * (1 + 1e-8))),
    (HalfNormal, (1.5,), (1.5 * (1 + 1e-8),)),
    (LogNormal, (0.3, 1.5), (0.3, 1.5 * (1 + 1e-8))),
    (Weibull, (1.5, 0.7), (1.5, 0.7 * (1 + 1e-8))),
    (Pareto, (1.5, 3.7), (1.5, 3.7 * (1 + 1e-8))),
]


@pytest.mark.parametrize(("kind", "p", "q"), SCALED)
def test_wasserstein_near_equality(kind: type[Distribution], p: Numbers, q: Numbers) -> None:
    """Of first order in the distance: ten times it is ten times as far, to first order."""
    far = tuple(a + 10 * (b - a) for a, b in zip(p, q, strict=True))
    of_p, of_q, of_far = make(kind, p), make(kind, q), make(kind, far)
    near = kullback.wasserstein_distance(of_p, of_q, order=2.0).item()
    assert near > 0
    ten_times = kullback.wasserstein_distance(of_p, of_far, order=2.0).item()
    assert ten_times == pytest.approx(10 * near, rel=1e-5)
    back = kullback.wasserstein_distance(of_q, of_p, order=2.0).item()
    assert back == pytest.approx(near, rel=1e-7)


@pytest.mark.parametrize(("kind", "p"), [(kind, p) for kind, p, _ in SCALED])
def test_wasserstein_is_zero_with_a_gradient_at_equality(
    kind: type[Distribution], p: Numbers
) -> None:
    parameters = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in p]
    value = kullback.wasserstein_distance(kind(*parameters), make(kind, p), order=2.0)
    assert value.item() == 0
    assert all(x.isfinite() for x in torch.autograd.grad(value, parameters))


def test_wasserstein_without_second_moments() -> None:
    for p, q in [
        (InverseGamma(2.0, 1.0), InverseGamma(2.0, 1.5)),
        (Pareto(1.0, 2.0), Pareto(1.5, 2.0)),
        (Pareto(1.0, 2.0), Pareto(1.0, 3.0)),
    ]:
        assert kullback.wasserstein_distance(p, q, order=2.0).item() == INF
        assert kullback.wasserstein_distance(p, p, order=2.0).item() == 0


def test_declined_for_other_shapes() -> None:
    p, q = Weibull(1.0, 2.0), Weibull(1.0, 3.0)
    with pytest.raises(kullback.errors.NoClosedForm, match="known for equal concentrations"):
        kullback.renyi_divergence(p, q, alpha=0.5)
    for kind in (Gamma, InverseGamma):
        with pytest.raises(kullback.errors.NoClosedForm, match=r"wasserstein of \(\w*Gamma"):
            kullback.wasserstein_distance(make(kind, (1.0, 2.0)), make(kind, (2.0, 2.0)))
