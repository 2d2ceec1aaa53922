"""Families on intervals: nearly equal parameters, edges of supports, and torch's mistakes."""

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
    Beta,
    Cauchy,
    ContinuousBernoulli,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Kumaraswamy,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    StudentT,
    Uniform,
    VonMises,
    Weibull,
    constraints,
)

import kullback
from kullback.distributions import Truncated
from kullback.errors import DtypeError, InputError, NoClosedForm, ShapeError
from kullback.numerics import beta_tails, gamma_tails

Exact = Callable[..., Any]


def kl_beta(a: Any, b: Any, c: Any, d: Any) -> Any:
    log_beta = mp.log(mp.beta(c, d) / mp.beta(a, b))
    total = (c - a + d - b) * mp.digamma(a + b)
    return log_beta + (a - c) * mp.digamma(a) + (b - d) * mp.digamma(b) + total


def kl_continuous_bernoulli(s: Any, t: Any) -> Any:
    log_normalizer = lambda x: mp.log(mp.expm1(x) / x) if x else mp.mpf(0)  # noqa: E731
    mean = 1 / (1 - mp.exp(-s)) - 1 / s if s else mp.mpf(1) / 2
    return log_normalizer(t) - log_normalizer(s) - mean * (t - s)


def kl_rates(a: Any, b: Any, c: Any, d: Any) -> Any:
    return d / b - mp.log(d / b) - 1


def kl_uniform(a: Any, b: Any, c: Any, d: Any) -> Any:
    return mp.log((d - c) / (b - a))


def beta_pair(draw: random.Random, step: float) -> tuple[list[float], list[float]]:
    p = [10 ** draw.uniform(-2, 4) for _ in range(2)]
    return p, [x * (1 + step * draw.uniform(-1, 1)) for x in p]


def logit_pair(draw: random.Random, step: float) -> tuple[list[float], list[float]]:
    logit = draw.uniform(-1, 1) * 10 ** draw.uniform(-2, 3)
    return [logit], [logit + step * draw.uniform(-1, 1) * max(1.0, abs(logit))]


def rate_pair(draw: random.Random, step: float) -> tuple[list[float], list[float]]:
    a, b = 10 ** draw.uniform(-1, 1), 10 ** draw.uniform(-2, 2)
    return [a, b], [a, b * (1 + step * draw.uniform(-1, 1))]


def interval_pair(draw: random.Random, step: float) -> tuple[list[float], list[float]]:
    low, width = draw.uniform(-1, 1), 10 ** draw.uniform(-1, 2)
    wider = [low - step * width * draw.random(), low + width * (1 + step * draw.random())]
    return [low, low + width], wider


def of_logits(logits: Tensor) -> ContinuousBernoulli:
    return ContinuousBernoulli(logits=logits)


FAMILIES = [
    (Beta, kl_beta, beta_pair),
    (of_logits, kl_continuous_bernoulli, logit_pair),
    (Kumaraswamy, kl_rates, rate_pair),
    (Uniform, kl_uniform, interval_pair),
]


@pytest.mark.parametrize(("make", "exact", "pair"), FAMILIES)
@pytest.mark.parametrize(
    ("dtype", "least", "tolerance"),
    # Steps of 1e-7 are lost in float32; of float64, nothing worse than the rounding of the
    # difference itself, 1e-16 of 1e-9.
    [(torch.float32, 1e-4, 1e-5), (torch.float64, 1e-9, 1e-6)],
)
def test_nearly_equal(
    make: Any, exact: Exact, pair: Any, dtype: torch.dtype, least: float, tolerance: float
) -> None:
    draw = random.Random(5)
    with mp.workdps(60):
        for _ in range(60):
            step = 10 ** draw.uniform(math.log10(least), -1)
            p, q = ([torch.tensor(x, dtype=dtype) for x in side] for side in pair(draw, step))
            value = kullback.kl_divergence(make(*p), make(*q)).item()
            truth = exact(*(mp.mpf(x.item()) for x in (*p, *q)))
            assert value >= 0
            assert value == pytest.approx(float(truth), rel=tolerance)
            assert kullback.kl_divergence(make(*p), make(*p)).item() == 0


@pytest.mark.parametrize("alpha", [0.3, 2.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda step: Beta(torch.tensor(2.5) + step, torch.tensor(0.75) - step),
        lambda step: ContinuousBernoulli(logits=torch.tensor(1.5) + step),
        lambda step: Kumaraswamy(torch.tensor(1.5), torch.tensor(2.5) + step),
    ],
)
def test_renyi_nearly_equal(make: Callable[[Tensor], Distribution], alpha: float) -> None:
    """Near P, R_α is α·KL to second order; what is left of it is of third order."""
    p = make(torch.zeros((), dtype=torch.float64))
    for step in (1e-3, 1e-5, 1e-7):
        q = make(torch.tensor(step, dtype=torch.float64))
        ratio = kullback.renyi_divergence(p, q, alpha=alpha) / kullback.kl_divergence(p, q)
        assert ratio.item() == pytest.approx(alpha, rel=3 * step + 1e-7)
    assert kullback.renyi_divergence(p, p, alpha=alpha).item() == 0


def test_renyi_of_what_does_not_mix() -> None:
    """αx + (1 − α)y is no concentration when it is negative, and ∫ p^α q^(1−α) is infinite."""
    p, q = Beta(0.5, 1.0), Beta(torch.tensor([1.25, 1.75]), 1.0)
    values = kullback.renyi_divergence(p, q, alpha=1.5)
    assert values.isinf().tolist() == [False, True]


def test_continuous_bernoulli_against_uniform_is_finite() -> None:
    p, q = ContinuousBernoulli(torch.tensor(0.3)), Uniform(0.0, 1.0)
    logit = mp.log(mp.mpf(p.probs.item()) / (1 - mp.mpf(p.probs.item())))
    there = kl_continuous_bernoulli(logit, mp.mpf(0))
    back = kl_continuous_bernoulli(mp.mpf(0), logit)
    assert kullback.kl_divergence(p, q).item() == pytest.approx(float(there), rel=1e-6)
    assert kullback.kl_divergence(q, p).item() == pytest.approx(float(back), rel=1e-6)
    assert 0.02 < float(there) < 0.04
    assert kullback.kl_divergence(p, Uniform(0.0, 0.5)).item() == math.inf


def test_continuous_bernoulli_with_large_logits() -> None:
    p, q = (ContinuousBernoulli(logits=torch.tensor(x)) for x in (-500.0, 20.0))
    truth = kl_continuous_bernoulli(mp.mpf(-500), mp.mpf(20))
    assert kullback.kl_divergence(p, q).item() == pytest.approx(float(truth), rel=1e-6)
    assert truth > 0
    for logit in (0.0, 1e-20, 1e4, -1e30):
        x = torch.tensor(logit, requires_grad=True)
        value = kullback.kl_divergence(ContinuousBernoulli(logits=x), p)
        assert value.isfinite()
        assert torch.autograd.grad(value, x)[0].isfinite()


def test_continuous_bernoulli_reads_what_it_was_given() -> None:
    """torch derives logits from probs by a clamp at the precision of the dtype."""
    p = ContinuousBernoulli(probs=torch.tensor(1e-6, dtype=torch.float64))
    q = ContinuousBernoulli(logits=torch.tensor(-1e-6).double())
    truth = kl_continuous_bernoulli(mp.log(mp.mpf(1e-6)) - mp.log1p(-mp.mpf(1e-6)), q.logits.item())
    assert kullback.kl_divergence(p, q).item() == pytest.approx(float(truth), rel=1e-12)
    far = ContinuousBernoulli(logits=torch.tensor(200.0))
    assert kullback.entropy(far).item() == pytest.approx(1 - math.log(200), rel=1e-6)


def test_steep_continuous_bernoulli_is_nearly_exponential() -> None:
    logit = torch.tensor(-30.0, dtype=torch.float64)
    value = kullback.kl_divergence(ContinuousBernoulli(logits=logit), Exponential(-logit))
    assert value.item() == pytest.approx(-math.log1p(-math.exp(-30)), rel=1e-12)


@pytest.mark.parametrize(("kind", "mean_log"), [(Beta, -1.0)])
def test_uniform_against_beta_gradient(kind: type[Beta], mean_log: float) -> None:
    """At the ends of the unit interval log x is infinite and its weight 0."""
    low, high = (torch.tensor(x, requires_grad=True) for x in (0.0, 1.0))
    a, b = (torch.tensor(x, requires_grad=True) for x in (2.5, 1.5))
    value = kullback.kl_divergence(Uniform(low, high), kind(a, b))
    slopes = torch.autograd.grad(value, [low, high, a, b])
    assert all(slope.isfinite() for slope in slopes)
    expected = float(mp.digamma(2.5) - mp.digamma(4)) - mean_log
    assert slopes[2].item() == pytest.approx(expected, rel=1e-6)


def test_uniform_batches_broadcast_and_mask() -> None:
    """Elements beyond Q's support are +inf, and the others keep value and gradient."""
    high = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    a = torch.tensor([[0.75], [2.0]], requires_grad=True)
    value = kullback.kl_divergence(Uniform(0.25, high), Beta(a, 2.0))
    assert value.shape == (2, 3)
    assert value.isinf().tolist() == [[False, False, True]] * 2
    slopes = torch.autograd.grad(value[:, :2].sum(), [high, a])
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize(
    "q",
    [
        Exponential(2.0),
        Gamma(2.5, 1.0),
        Gamma(0.5, 1.0),
        Pareto(0.5, 2.0),
        Uniform(0.0, 1.5),
        Kumaraswamy(2.0, 1.0),
    ],
)
def test_uniform_beyond_the_support(q: Distribution) -> None:
    low = torch.tensor([-0.5, 0.5], requires_grad=True)
    value = kullback.kl_divergence(Uniform(low, 0.75), q)
    assert value.isinf().tolist() == [True, False]
    assert torch.autograd.grad(value[1], low)[0].isfinite().all()


def test_uniform_from_zero() -> None:
    """E log x is finite from 0 on, and E 1/x is not."""
    p = Uniform(0.0, 2.0)
    rate = torch.tensor(1.5, requires_grad=True)
    value = kullback.kl_divergence(p, Gamma(2.5, rate))
    log_q = lambda x: mp.mpf(5) / 2 * mp.log(1.5) + 1.5 * mp.log(x) - 1.5 * x - mp.loggamma(2.5)  # noqa: E731
    truth = mp.quad(lambda x: (mp.log(0.5) - log_q(x)) / 2, [0, 2])
    assert value.item() == pytest.approx(float(truth), rel=1e-6)
    assert torch.autograd.grad(value, rate)[0].isfinite()
    assert kullback.kl_divergence(p, InverseGamma(2.5, 1.5)).item() == math.inf


def test_short_intervals_far_out() -> None:
    """A thousandth long and a million out: antiderivatives agree there in all but one digit."""
    low = torch.tensor(1e6, dtype=torch.float64)
    p = Uniform(low, low + 1e-3)
    length = (p.high - p.low).item()
    for q in (Gamma(2.5, 1e-6), Pareto(1.0, 0.5), Laplace(0.0, 1.0), Normal(1e6, 2.0)):
        middle = torch.tensor(1e6 + 5e-4, dtype=torch.float64)
        expected = -math.log(length) - q.log_prob(middle).item()
        assert kullback.kl_divergence(p, q).item() == pytest.approx(expected, rel=1e-6)


def test_total_variation_of_uniforms() -> None:
    p = Uniform(0.0, 1.0)
    for low, high, expected in (
        (0.0, 1.0, 0.0),
        (0.5, 1.5, 0.5),
        (2.0, 3.0, 1.0),
        (-1.0, 3.0, 0.75),
    ):
        q = Uniform(low, high)
        assert kullback.total_variation(p, q).item() == expected
        assert kullback.total_variation(q, p).item() == expected
    close = Uniform(torch.tensor(0.0, dtype=torch.float64), 1.0 + 1e-12)
    assert kullback.total_variation(p, close).item() == pytest.approx(
        (close.high.item() - 1) / close.high.item(), rel=1e-12
    )


def test_beta_without_entropy_to_lose() -> None:
    """Beta(1, 1) is the uniform distribution, which every form knows exactly."""
    level, whole = Beta(1.0, 1.0), Uniform(0.0, 1.0)
    assert kullback.kl_divergence(level, whole).item() == 0
    assert kullback.kl_divergence(whole, level).item() == 0
    assert kullback.entropy(level).item() == 0
    near = Beta(torch.tensor(1.0 + 2**-12), torch.tensor(1.0))
    truth = kl_beta(1 + mp.mpf(2) ** -12, mp.mpf(1), mp.mpf(1), mp.mpf(1))
    assert kullback.kl_divergence(near, whole).item() == pytest.approx(float(truth), rel=1e-6)


@pytest.mark.parametrize("concentration", [10.0, 1e4, 1e8])
def test_beta_becomes_normal(concentration: float) -> None:
    """Its entropy's parts are of the order of the concentration, and cancel."""
    a = torch.tensor(concentration, dtype=torch.float64)
    p = Beta(a, 2 * a)
    value = kullback.kl_divergence(p, Normal(p.mean, p.variance.sqrt()))
    with mp.workdps(40):
        x, y = mp.mpf(concentration), 2 * mp.mpf(concentration)
        entropy = mp.log(mp.gamma(x) * mp.gamma(y) / mp.gamma(x + y)) if x < 1e5 else None
        if entropy is None:
            entropy = mp.loggamma(x) + mp.loggamma(y) - mp.loggamma(x + y)
        entropy -= (x - 1) * mp.digamma(x) + (y - 1) * mp.digamma(y)
        entropy += (x + y - 2) * mp.digamma(x + y)
        variance = x * y / ((x + y) ** 2 * (x + y + 1))
        truth = mp.log(2 * mp.pi * mp.e * variance) / 2 - entropy
    # 1e-15 is what rounding leaves of terms of order 1.
    assert value.item() == pytest.approx(float(truth), rel=1e-9, abs=1e-15)


def test_kumaraswamy_declines() -> None:
    with pytest.raises(NoClosedForm, match="equal concentration1"):
        kullback.kl_divergence(Kumaraswamy(2.0, 3.0), Kumaraswamy(3.0, 2.0))
    with pytest.raises(NoClosedForm, match=r"Uniform\(0, 1\)"):
        kullback.kl_divergence(Uniform(0.25, 0.5), Kumaraswamy(2.0, 3.0))


@pytest.mark.parametrize(
    ("one", "zero", "x"),
    [(2.5, 1.5, 0.25), (1e-3, 0.5, 0.75), (30.0, 0.01, 0.96875), (200.0, 500.0, 0.28125)],
)
def test_beta_tails_and_their_derivatives(one: float, zero: float, x: float) -> None:
    """To full absolute precision, the derivatives relative to what moves them."""
    arguments = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (one, zero, x)]
    below, above = beta_tails(*arguments, 1 - arguments[2])
    slopes = torch.autograd.grad(below, arguments)
    with mp.workdps(40):
        cdf = lambda a, b, t: mp.betainc(a, b, 0, t, regularized=True)  # noqa: E731
        numbers = [mp.mpf(v) for v in (one, zero, x)]
        assert below.item() == pytest.approx(float(cdf(*numbers)), abs=1e-14)
        assert (below + above).item() == pytest.approx(1.0, abs=1e-15)
        for place, slope in enumerate(slopes):
            order = tuple(int(i == place) for i in range(3))
            truth = mp.diff(cdf, numbers, order)
            assert slope.item() == pytest.approx(float(truth), rel=1e-9)


@pytest.mark.parametrize(("shape", "x"), [(2.5, 1.5), (1e-3, 0.25), (1e-3, 5.0), (1e5, 99800.0)])
def test_gamma_tails_and_their_derivatives(shape: float, x: float) -> None:
    arguments = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (shape, x)]
    below, above = gamma_tails(*arguments)
    slopes = torch.autograd.grad(below, arguments)
    with mp.workdps(40):
        cdf = lambda a, t: mp.gammainc(a, 0, t, regularized=True)  # noqa: E731
        numbers = [mp.mpf(v) for v in (shape, x)]
        assert below.item() == pytest.approx(float(cdf(*numbers)), abs=1e-14)
        assert (below + above).item() == pytest.approx(1.0, abs=1e-15)
        for place, slope in enumerate(slopes):
            truth = mp.diff(cdf, numbers, tuple(int(i == place) for i in range(2)))
            assert slope.item() == pytest.approx(float(truth), rel=1e-9)


def make_normal(loc: float, scale: float) -> Normal:
    return Normal(*(torch.tensor(x, dtype=torch.float64) for x in (loc, scale)))


def kl_of_truncated_normals(p: Normal, q: Normal, low: Any, high: Any) -> Any:
    """By the masses and the first two moments of P, in as many digits as it takes."""
    (m, s), (n, t) = ([mp.mpf(x.item()) for x in (d.loc, d.scale)] for d in (p, q))
    a, b = (low - m) / s, (high - m) / s
    density = lambda z: mp.mpf(0) if mp.isinf(z) else mp.npdf(z)  # noqa: E731
    weighted = lambda z: mp.mpf(0) if mp.isinf(z) else z * mp.npdf(z)  # noqa: E731
    mass = mp.ncdf(b) - mp.ncdf(a)
    first = (density(a) - density(b)) / mass
    second = 1 + (weighted(a) - weighted(b)) / mass
    of_q = mp.log(mp.ncdf((high - n) / t) - mp.ncdf((low - n) / t))
    r, shift = s / t, (m - n) / t
    squares = (shift**2 + 2 * shift * r * first + (r**2 - 1) * second) / 2
    return of_q - mp.log(mass) - mp.log(r) + squares


class TestTruncated:
    """The distribution itself, and its divergences at the edges."""

    def test_density_and_distribution_function(self) -> None:
        p = Truncated(Normal(torch.tensor(0.5, dtype=torch.float64), 1.5), -1.0, 2.0)
        x = torch.linspace(-1.0, 2.0, 7, dtype=torch.float64)
        with mp.workdps(30):
            mass = mp.ncdf(1) - mp.ncdf(-1)
            log_prob = [mp.log(mp.npdf(v, 0.5, 1.5) / mass) for v in x.tolist()]
            cdf = [(mp.ncdf((v - 0.5) / 1.5) - mp.ncdf(-1)) / mass for v in x.tolist()]
        torch.testing.assert_close(p.log_prob(x), x.new_tensor([float(v) for v in log_prob]))
        torch.testing.assert_close(p.cdf(x), x.new_tensor([float(v) for v in cdf]))
        torch.testing.assert_close(p.icdf(p.cdf(x)), x, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("base", [Normal(0.0, 1.0), Exponential(2.0), Laplace(0.0, 1.0)])
    def test_draws_follow_the_distribution_function(self, base: Distribution) -> None:
        torch.manual_seed(0)
        p = Truncated(base, 0.5, 2.0)
        draws = p.sample(torch.Size([4000]))
        assert draws.min() >= 0.5
        assert draws.max() <= 2.0
        levels = p.cdf(draws).sort().values
        distance = (levels - torch.linspace(0, 1, 4000)).abs().max()
        # Kolmogorov's distance exceeds 1.95/√n once in a thousand.
        assert distance.item() < 1.95 / math.sqrt(4000)

    def test_draws_are_differentiable(self) -> None:
        loc, high = (torch.tensor(x, requires_grad=True) for x in (0.25, 2.0))
        p = Truncated(Normal(loc, 1.0), 0.5, high)
        slopes = torch.autograd.grad(p.icdf(torch.tensor(0.5)), [loc, high])
        assert all(slope.item() > 0 for slope in slopes)

    def test_shapes(self) -> None:
        p = Truncated(Normal(torch.zeros(3, 1), 1.0), torch.tensor([-1.0, 0.0]), math.inf)
        assert p.batch_shape == (3, 2)
        assert p.sample(torch.Size([5])).shape == (5, 3, 2)
        assert p.expand((4, 3, 2)).log_prob(torch.tensor(0.5)).shape == (4, 3, 2)
        assert isinstance(p.support, constraints.interval)

    def test_far_out_in_a_tail(self) -> None:
        """Thirty standard deviations out there is a density, and a divergence."""
        p = Truncated(Normal(0.0, 1.0), 30.0, math.inf)
        q = Truncated(Normal(0.0, 1.0), 29.0, math.inf)
        with mp.workdps(40):
            masses = [mp.log(mp.erfc(x / mp.sqrt(2)) / 2) for x in (30, 29)]
        assert p.log_mass.item() == pytest.approx(float(masses[0]), rel=1e-12)
        value = kullback.kl_divergence(p, q).item()
        assert value == pytest.approx(float(masses[1] - masses[0]), rel=1e-6)
        assert p.log_prob(torch.tensor(30.0)).item() == pytest.approx(
            float(-450 - mp.log(2 * mp.pi) / 2 - masses[0]), rel=1e-4
        )

    @pytest.mark.parametrize(
        ("base", "low", "survival"),
        [
            (Laplace(0.5, 2.0), 60.0, lambda x: mp.exp(-(x - 0.5) / 2) / 2),
            (Cauchy(0.5, 2.0), 1e9, lambda x: mp.atan(2 / (x - 0.5)) / mp.pi),
            (Cauchy(0.5, 2.0), -1e9, lambda x: 1 + mp.atan(2 / (x - 0.5)) / mp.pi),
            (HalfCauchy(2.0), 1e9, lambda x: 2 * mp.atan(2 / x) / mp.pi),
            (HalfNormal(2.0), 40.0, lambda x: mp.erfc(x / mp.sqrt(8))),
            (Gumbel(0.5, 2.0), 90.0, lambda x: -mp.expm1(-mp.exp(-(x - 0.5) / 2))),
            (Pareto(2.0, 3.0), 1e9, lambda x: (2 / x) ** 3),
            (Weibull(2.0, 0.5), 900.0, lambda x: mp.exp(-mp.sqrt(x / 2))),
            (Gamma(2.5, 0.5), 90.0, lambda x: mp.gammainc(2.5, x / 2, regularized=True)),
            (LogNormal(0.5, 2.0), 1e9, lambda x: mp.erfc((mp.log(x) - 0.5) / mp.sqrt(8)) / 2),
            (Exponential(2.0), 60.0, lambda x: mp.exp(-2 * x)),
            (
                StudentT(3.0, 0.5, 2.0),
                1e6,
                lambda x: mp.betainc(1.5, 0.5, 0, 3 / (3 + ((x - 0.5) / 2) ** 2), True) / 2,
            ),
        ],
    )
    def test_upper_tails(self, base: Distribution, low: float, survival: Exact) -> None:
        """Float32 parameters, and masses far below the last bit of 1."""
        with mp.workdps(40):
            truth = mp.log(survival(mp.mpf(torch.tensor(low).item())))
        value = Truncated(base, low, math.inf).log_mass.item()
        assert value == pytest.approx(float(truth), rel=1e-13, abs=1e-13)

    def test_nested_or_not(self) -> None:
        base = Exponential(torch.tensor(0.5, dtype=torch.float64))
        low = torch.tensor([0.5, 1.0, 1.0 - 1e-12, 1.5], dtype=torch.float64, requires_grad=True)
        p = Truncated(base, torch.ones((), dtype=torch.float64), 3.0)
        value = kullback.kl_divergence(p, Truncated(base, low, 3.0))
        assert value.isinf().tolist() == [False, False, False, True]
        assert value[1].item() == 0
        # 1e-12 of the base's density at 1, over the mass: the step itself has four digits.
        density = 0.5 * math.exp(-0.5) / (math.exp(-0.5) - math.exp(-1.5))
        assert value[2].item() == pytest.approx((1 - low[2].item()) * density, rel=1e-6)
        assert torch.autograd.grad(value[0], low)[0].isfinite().all()

    @pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (4.0, math.inf), (-math.inf, -3.0)])
    def test_nearly_equal_normals(self, low: float, high: float) -> None:
        """Cut to the same interval, and moved and widened by less and less."""
        p = make_normal(0.25, 1.5)
        for step in (0.5, 1e-2, 1e-4, 1e-7):
            q = make_normal(0.25 + step, 1.5 * (1 - step / 3))
            value = kullback.kl_divergence(Truncated(p, low, high), Truncated(q, low, high)).item()
            with mp.workdps(60):
                truth = kl_of_truncated_normals(p, q, mp.mpf(low), mp.mpf(high))
            # At 1e-7, KL is 1e-15, and the step itself has nine digits.
            assert value == pytest.approx(float(truth), rel=1e-8)

    def test_ends_beyond_the_support_cut_nothing(self) -> None:
        p = Truncated(Exponential(2.0), -5.0, math.inf)
        assert p.low.item() == 0
        assert kullback.kl_divergence(p, Exponential(2.0)).item() == 0

    def test_other_bases_decline(self) -> None:
        p = Truncated(Exponential(2.0), 0.5, 1.0)
        with pytest.raises(NoClosedForm, match="both cut one base"):
            kullback.kl_divergence(p, Truncated(Exponential(1.0), 0.5, 1.0))
        with pytest.raises(NoClosedForm, match="before it was truncated"):
            kullback.kl_divergence(p, Exponential(1.0))

    def test_errors_say_what_is_wrong(self) -> None:
        with pytest.raises(InputError, match=r"low=2 is not below high=1"):
            Truncated(Normal(0.0, 1.0), 2.0, 1.0)
        with pytest.raises(InputError, match="has no mass between 1000 and inf"):
            Truncated(Laplace(0.0, 1.0), 1000.0, math.inf)
        with pytest.raises(InputError, match="has no cdf"):
            Truncated(VonMises(0.0, 1.0), 0.0, 0.5)
        with pytest.raises(InputError, match="is discrete"):
            Truncated(torch.distributions.Poisson(2.0), 0.0, 5.0)
        with pytest.raises(ShapeError, match=r"event shape \(\)"):
            Truncated(torch.distributions.Dirichlet(torch.ones(3)), 0.0, 0.5)
        with pytest.raises(ShapeError, match="do not broadcast"):
            Truncated(Normal(torch.zeros(3), 1.0), torch.zeros(2), 1.0)
        with pytest.raises(DtypeError, match="base is a float"):
            Truncated(2.0, 0.0, 1.0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="within the support"):
            Truncated(Normal(0.0, 1.0), 0.0, 1.0).log_prob(torch.tensor(2.0))
