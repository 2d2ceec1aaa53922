"""Families on the line and the circle: nearly equal parameters, extremes, and torch's mistakes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Cauchy,
    Distribution,
    Gamma,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    StudentT,
    Uniform,
    VonMises,
)

import kullback
from kullback.errors import NoClosedForm

Exact = Callable[..., Any]


def kl_laplace(m: Any, b: Any, n: Any, c: Any) -> Any:
    d = abs(m - n)
    return d / c + b / c * mp.exp(-d / b) - mp.log(b / c) - 1


def kl_gumbel(m: Any, b: Any, n: Any, c: Any) -> Any:
    growth = mp.exp((n - m) / c) * mp.gamma(1 + b / c)
    return mp.log(c / b) + (m - n) / c + mp.euler * (b / c - 1) + growth - 1


def kl_cauchy(m: Any, b: Any, n: Any, c: Any) -> Any:
    return mp.log(((b + c) ** 2 + (m - n) ** 2) / (4 * b * c))


def kl_normal(m: Any, b: Any, n: Any, c: Any) -> Any:
    return mp.log(c / b) + (b**2 + (m - n) ** 2) / (2 * c**2) - mp.mpf(1) / 2


def kl_von_mises(m: Any, b: Any, n: Any, c: Any) -> Any:
    ratio = mp.besseli(1, b) / mp.besseli(0, b)
    return mp.log(mp.besseli(0, c) / mp.besseli(0, b)) + ratio * (b - c * mp.cos(m - n))


FAMILIES: list[tuple[type[Distribution], Exact]] = [
    (Laplace, kl_laplace),
    (Gumbel, kl_gumbel),
    (Cauchy, kl_cauchy),
    (Normal, kl_normal),
    (VonMises, kl_von_mises),
]


def neighbours(count: int, least: float) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Locations and scales, and others that are 10⁻¹ to `least` away from them."""
    draw = random.Random(20)
    pairs = []
    for _ in range(count):
        loc, scale = draw.uniform(-3, 3), 10 ** draw.uniform(-2, 2)
        step = 10 ** draw.uniform(math.log10(least), -1)
        moved = loc + step * scale * draw.uniform(-1, 1), scale * (1 + step * draw.uniform(-1, 1))
        pairs.append(((loc, scale), moved))
    return pairs


def numbers(distribution: Any) -> list[Any]:
    """What it holds, rounding included."""
    scale = getattr(distribution, "scale", None)
    scale = distribution.concentration if scale is None else scale
    return [mp.mpf(distribution.loc.item()), mp.mpf(scale.item())]


def make(kind: Any, parameters: tuple[float, ...], dtype: torch.dtype) -> Any:
    return kind(*(torch.tensor(x, dtype=dtype) for x in parameters))


@pytest.mark.parametrize(("kind", "exact"), FAMILIES)
@pytest.mark.parametrize(
    ("dtype", "least", "tolerance"),
    # Steps of 1e-7 are lost in float32; of float64, nothing worse than the rounding of the
    # difference itself, 1e-16 of 1e-9.
    [(torch.float32, 1e-4, 1e-5), (torch.float64, 1e-9, 1e-6)],
)
def test_nearly_equal(
    kind: type[Distribution], exact: Exact, dtype: torch.dtype, least: float, tolerance: float
) -> None:
    with mp.workdps(50):
        for p, q in neighbours(60, least):
            one, other = make(kind, p, dtype), make(kind, q, dtype)
            value = kullback.kl_divergence(one, other).item()
            truth = exact(*numbers(one), *numbers(other))
            assert value >= 0
            assert value == pytest.approx(float(truth), rel=tolerance)


@pytest.mark.parametrize(("kind", "exact"), FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_for_equals(kind: type[Distribution], exact: Exact, dtype: torch.dtype) -> None:
    for p, _ in neighbours(20, 0.1):
        sides = [[torch.tensor(x, dtype=dtype, requires_grad=True) for x in p] for _ in range(2)]
        value = kullback.kl_divergence(kind(*sides[0]), kind(*sides[1]))
        assert value.item() == 0
        # A zero that is a minimum: the slopes of both sides vanish, but for a last bit.
        for slope in torch.autograd.grad(value, [*sides[0], *sides[1]]):
            torch.testing.assert_close(slope.item(), 0.0, rtol=0, atol=1e-5 / p[1])


@pytest.mark.parametrize("kind", [Laplace, Gumbel, Normal, VonMises])
@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_renyi_nearly_equal(kind: Any, alpha: float) -> None:
    """Near P, R_α is α·KL to second order; 1e-3 away it is third order that is left of it."""
    scale = torch.tensor(1.5, dtype=torch.float64)
    loc = torch.tensor(0.25, dtype=torch.float64)
    p = kind(loc, scale)
    for step in (1e-3, 1e-5, 1e-7):
        q = kind(loc + step, scale if kind is Gumbel else scale * (1 - step))
        ratio = kullback.renyi_divergence(p, q, alpha=alpha) / kullback.kl_divergence(p, q)
        assert ratio.item() == pytest.approx(alpha, rel=3 * step + 1e-7)
    assert kullback.renyi_divergence(p, p, alpha=alpha).item() == 0


def test_second_derivatives_at_equality() -> None:
    """The curvature of KL at P = Q is Fisher's information: 1/b² for the location of Laplace."""
    loc = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.float64)
    for kind, information in ((Laplace, 0.25), (Cauchy, 0.125), (Normal, 0.25), (Gumbel, 0.25)):
        value = kullback.kl_divergence(kind(loc.detach(), scale), kind(loc, scale))
        (slope,) = torch.autograd.grad(value, loc, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, loc)
        assert curvature.item() == pytest.approx(information, rel=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 1e-30, 0.5, 49.999, 50.001, 1e6, 1e12])
def test_von_mises_at_any_concentration(kappa: float) -> None:
    loc = torch.tensor(0.5, dtype=torch.float64)
    concentration = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
    p = VonMises(loc, concentration, validate_args=False)
    q = VonMises(loc, concentration.detach() * 1.0625, validate_args=False)
    value = kullback.kl_divergence(p, q)
    (slope,) = torch.autograd.grad(value, p.concentration)
    with mp.workdps(60):
        k = mp.mpf(kappa)
        log_i0 = lambda x: mp.log(mp.besseli(0, x)) if x < 1e4 else asymptotic_log_i0(x)  # noqa: E731
        mean = mp.diff(log_i0, k) if k else mp.mpf(0)
        curvature = mp.diff(log_i0, k, 2) if k > 1e-10 else mp.mpf("0.5")
        step = mp.mpf(q.concentration.item()) - k
        truth = log_i0(k + step) - log_i0(k) - mean * step
        if k < 1e-10:
            truth = step**2 / 4
    assert value.item() == pytest.approx(float(truth), rel=2e-11)
    assert slope.item() == pytest.approx(float(-curvature * step), rel=2e-11)


def asymptotic_log_i0(x: Any) -> Any:
    """Abramowitz & Stegun (1964), eq. 9.7.1, to ten terms: 1e-50 at 1e6."""
    term, total = mp.mpf(1), mp.mpf(1)
    for k in range(1, 10):
        term *= (2 * k - 1) ** 2 / (8 * k * x)
        total += term
    return x - mp.log(2 * mp.pi * x) / 2 + mp.log(total)


def test_von_mises_and_the_whole_turn() -> None:
    """π itself is rounded in float32, which makes the interval neither too long nor too short."""
    for dtype in (torch.float32, torch.float64):
        pi = torch.tensor(math.pi, dtype=dtype)
        turn, zero = Uniform(-pi, pi), torch.zeros((), dtype=dtype)
        level = VonMises(zero, zero, validate_args=False)
        assert kullback.kl_divergence(turn, level).item() == 0
        assert kullback.kl_divergence(level, turn).item() == 0
        peaked = VonMises(zero, zero + 2)
        assert kullback.kl_divergence(peaked, turn).item() == pytest.approx(
            float(2 * mp.besseli(1, 2) / mp.besseli(0, 2) - mp.log(mp.besseli(0, 2))), rel=1e-6
        )
    assert kullback.kl_divergence(peaked, Uniform(0.0, 1.0)).item() == math.inf


def test_normal_far_smaller() -> None:
    value = kullback.kl_divergence(Normal(0.0, 1e-25), Normal(0.0, 1.0))
    assert value.item() == pytest.approx(-math.log(1e-25) - 0.5, rel=1e-6)


def test_normal_against_uniform_has_the_broadcast_shape() -> None:
    value = kullback.kl_divergence(Normal(0.0, 1.0), Uniform(torch.zeros(3), torch.ones(3)))
    assert value.tolist() == [math.inf] * 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normal_in_half_precision(dtype: torch.dtype) -> None:
    """The difference of the locations is not rounded to half precision, nor its square."""
    one, other = torch.tensor(1.0009765625), torch.tensor(-2049.0)
    p = Normal(one.to(dtype), torch.tensor(0.5, dtype=dtype))
    q = Normal(other.to(dtype), torch.tensor(0.125, dtype=dtype))
    value = kullback.kl_divergence(p, q)
    exact = kullback.kl_divergence(
        Normal(p.loc.double(), p.scale.double()), Normal(q.loc.double(), q.scale.double())
    )
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)


def test_distances_have_finite_gradients_at_equality() -> None:
    """Their derivative does not exist there; it is stated as 0, and not NaN."""
    for kind in (Normal, Laplace, Gumbel):
        parameters = [torch.tensor(x, requires_grad=True) for x in (0.5, 1.5)]
        p = kind(*parameters)
        value = kullback.wasserstein_distance(p, kind(0.5, 1.5))
        assert value.item() == 0
        assert all(x.item() == 0 for x in torch.autograd.grad(value, parameters))
    parameters = [torch.tensor(x, requires_grad=True) for x in (0.5, 1.5)]
    value = kullback.total_variation(Normal(*parameters), Normal(0.5, 1.5))
    assert value.item() == 0
    assert all(x.item() == 0 for x in torch.autograd.grad(value, parameters))


def test_total_variation_of_normals() -> None:
    """Against the crossings and the distribution function in 50 digits."""
    draw = random.Random(3)
    for _ in range(100):
        m, s, step = draw.uniform(-2, 2), 10 ** draw.uniform(-2, 2), 10 ** draw.uniform(-9, 0.5)
        n, t = m + s * step * draw.uniform(-1, 1), s * (1 + step * draw.uniform(-0.3, 1))
        p, q = (make(Normal, x, torch.float64) for x in ((m, s), (n, t)))
        with mp.workdps(50):
            truth = total_variation_of_normals(*(mp.mpf(x) for x in (m, s, n, t)))
        assert kullback.total_variation(p, q).item() == pytest.approx(float(truth), rel=1e-14)


def total_variation_of_normals(m: Any, s: Any, n: Any, t: Any) -> Any:
    a = 1 / t**2 - 1 / s**2
    b = 2 * (m / s**2 - n / t**2)
    c = n**2 / t**2 - m**2 / s**2 + 2 * mp.log(t / s)
    root = mp.sqrt(b * b - 4 * a * c)
    inside = [
        mp.ncdf(((-b + root) / (2 * a) - mean) / scale)
        - mp.ncdf(((-b - root) / (2 * a) - mean) / scale)
        for mean, scale in ((m, s), (n, t))
    ]
    return abs(inside[0] - inside[1])


@pytest.mark.parametrize("concentration", [1e2, 1e6, 1e10])
def test_gamma_becomes_normal(concentration: float) -> None:
    """KL(Gamma‖Normal with its mean and variance) → 1/(3a), however large its entropy's parts."""
    a = torch.tensor(concentration, dtype=torch.float64)
    value = kullback.kl_divergence(Gamma(a, 1.0), Normal(a, a.sqrt()))
    # The next term is of order 1/a², and what rounding leaves is a few times 1e-16.
    assert value.item() == pytest.approx(1 / (3 * concentration), rel=1 / concentration, abs=1e-15)


@pytest.mark.parametrize("df", [5.0, 1e3, 1e6])
def test_student_becomes_normal(df: float) -> None:
    n = torch.tensor(df, dtype=torch.float64)
    value = kullback.kl_divergence(StudentT(n), Normal(n.new_tensor(0.0), (n / (n - 2)).sqrt()))
    with mp.workdps(40):
        x = mp.mpf(df)
        half = mp.mpf(1) / 2
        entropy = (x + 1) / 2 * (mp.digamma((x + 1) / 2) - mp.digamma(x / 2))
        entropy += mp.log(mp.sqrt(x) * mp.beta(x / 2, half))
        truth = mp.log(2 * mp.pi * mp.e * x / (x - 2)) / 2 - entropy
    # Of numbers of order 1/df it is the difference, of order 1/df².
    assert value.item() == pytest.approx(float(truth), rel=1e-12 + 1e-15 * df)


def test_tails_that_are_too_heavy() -> None:
    """+inf by the tails, element by element, with finite gradients where the value is finite."""
    scale = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    value = kullback.kl_divergence(Laplace(0.0, scale), Gumbel(0.0, 1.0))
    assert value.isinf().tolist() == [False, True, True]
    (slope,) = torch.autograd.grad(value[0], scale)
    assert slope.isfinite().all()
    alpha = torch.tensor([1.5, 2.5], requires_grad=True)
    value = kullback.kl_divergence(Pareto(1.0, alpha), Normal(0.0, 1.0))
    assert value.isinf().tolist() == [True, False]
    (slope,) = torch.autograd.grad(value[1], alpha)
    assert slope.isfinite().all()
    assert kullback.kl_divergence(Cauchy(0.0, 1.0), Normal(0.0, 1.0)).item() == math.inf
    df = torch.tensor([1.0, 2.0, 3.0])
    assert kullback.kl_divergence(StudentT(df), Normal(0.0, 1.0)).isinf().tolist() == [
        True,
        True,
        False,
    ]


def test_declines_what_has_no_closed_form() -> None:
    with pytest.raises(NoClosedForm, match="both df are 1"):
        kullback.kl_divergence(StudentT(2.0), StudentT(3.0))
    with pytest.raises(NoClosedForm, match="one scale"):
        kullback.renyi_divergence(Gumbel(0.0, 1.0), Gumbel(0.0, 2.0), alpha=0.5)
    with pytest.raises(NoClosedForm, match="one location or at one scale"):
        kullback.total_variation(Laplace(0.0, 1.0), Laplace(1.0, 2.0))


def test_kinks_outside_of_the_support() -> None:
    """A kink to the left of all of P leaves the mean, one far to the right its reflection."""
    for p in (HalfNormal(1.5), LogNormal(0.25, 0.5), Uniform(0.5, 2.0), Gumbel(0.5, 0.125)):
        mean = p.mean.double()
        for centre in (-40.0, 400.0):
            value = kullback.kl_divergence(p, Laplace(centre, 2.0))
            truth = math.log(4.0) + (mean - centre).abs() / 2 - kullback.entropy(p)
            torch.testing.assert_close(value.double(), truth, rtol=1e-6, atol=0)


def test_student_entropy_of_many_degrees() -> None:
    """It tends to that of the normal distribution, from above and by 1/df."""
    for df in (1e3, 1e8):
        n = torch.tensor(df, dtype=torch.float64)
        more = kullback.entropy(StudentT(n)) - kullback.entropy(Normal(n * 0, n / n))
        # 2e-16 is what rounding leaves of the difference of two entropies near 1.4.
        assert more.item() == pytest.approx(1 / df, rel=2 / df, abs=4e-16)


def test_cauchy_against_students() -> None:
    """At one degree Student's t is a Cauchy distribution, in every combination."""
    parameters = (0.5, 1.5), (-1.0, 0.75)
    sides: list[list[Tensor]] = [[torch.tensor(x) for x in side] for side in parameters]
    expected = kullback.kl_divergence(Cauchy(*sides[0]), Cauchy(*sides[1]))
    for p in (Cauchy(*sides[0]), StudentT(1.0, *sides[0])):
        for q in (Cauchy(*sides[1]), StudentT(1.0, *sides[1])):
            torch.testing.assert_close(kullback.kl_divergence(p, q), expected)
