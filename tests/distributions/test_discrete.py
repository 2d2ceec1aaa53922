"""Distributions over integers and categories: edges, near equality, and where torch is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Distribution,
    Geometric,
    Multinomial,
    NegativeBinomial,
    OneHotCategorical,
    Poisson,
    constraints,
)

import kullback
import oracle
from kullback.distributions.answers import kl_in_full
from kullback.distributions.closed_forms.finite import aligned_log_probs
from kullback.distributions.integers import integers_of, trial_probs
from kullback.errors import NoClosedForm
from kullback.numerics import log_binomial, log_negative_binomial, log_poisson

kl = kullback.kl_divergence
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def f32(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)


def f64(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


class Zeta(Distribution):
    """k^−s/ζ(s) on 1, 2, …: a class that says no more than its support and log_prob."""

    arg_constraints = {}  # noqa: RUF012
    support = constraints._IntegerGreaterThan(1)

    def __init__(self, s: Tensor) -> None:
        self.s = s
        self.log_zeta = f64(math.log(mp.zeta(float(s))))
        super().__init__(s.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return -self.s * value.log() - self.log_zeta


class Die(Distribution):
    """Known by its enumeration only: 1 … 6, all as likely."""

    arg_constraints = {}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self) -> None:
        super().__init__(validate_args=False)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return torch.arange(1.0, 7.0)

    def log_prob(self, value: Tensor) -> Tensor:
        assert bool(((value >= 1) & (value <= 6)).all())
        return torch.full_like(value, -math.log(6))


class TestWhereTorchIsWrong:
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_bernoulli_with_large_logits(self, dtype: torch.dtype) -> None:
        logits = torch.tensor(17.0, dtype=dtype, requires_grad=True)
        value = kl(Bernoulli(logits=torch.tensor(0.0, dtype=dtype)), Bernoulli(logits=logits))
        expected = oracle.kl([0.5, 0.5], oracle.softmax([0, 17]))
        assert value.item() == pytest.approx(float(expected), rel=1e-6)
        (slope,) = torch.autograd.grad(value, logits)
        # σ(17) − ½, in the dtype of the logits.
        assert slope.item() == pytest.approx(0.5, abs=1e-3)

    @pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 105.0), (torch.float16, 18.0)])
    def test_categorical_with_a_large_gap(self, dtype: torch.dtype, gap: float) -> None:
        p = Categorical(logits=torch.zeros(2, dtype=dtype))
        logits = torch.tensor([0.0, gap], dtype=dtype, requires_grad=True)
        value = kl(p, Categorical(logits=logits))
        assert value.item() == pytest.approx(gap / 2 - math.log(2), rel=1e-3)
        (slope,) = torch.autograd.grad(value, logits)
        torch.testing.assert_close(slope, torch.tensor([-0.5, 0.5], dtype=dtype), rtol=0, atol=1e-3)

    def test_categorical_with_a_small_probability(self) -> None:
        value = kl(Categorical(f32([0.5, 0.5])), Categorical(f32([1.0, 1e-9])))
        assert value.item() == pytest.approx(9.66849, rel=1e-5)

    @pytest.mark.parametrize("make", [Categorical, OneHotCategorical])
    def test_gradient_with_an_impossible_category_on_both_sides(self, make: Any) -> None:
        a = torch.tensor([0.0, -math.inf, 1.0], requires_grad=True)
        b = torch.tensor([0.5, -math.inf, 0.0], requires_grad=True)
        value = kl(make(logits=a, validate_args=False), make(logits=b, validate_args=False))
        expected = oracle.kl(oracle.softmax([0, 1]), oracle.softmax([0.5, 0]))
        assert value.item() == pytest.approx(float(expected), rel=1e-6)
        for slope in torch.autograd.grad(value, [a, b]):
            assert bool(slope.isfinite().all())
            assert slope[1] == 0
            assert slope[0] != 0

    def test_binomial_at_its_edges(self) -> None:
        half, never = Binomial(5, f32(0.5)), Binomial(5, f32(0.0))
        assert kl(Binomial(5, f32(1.0)), half).item() == pytest.approx(5 * math.log(2))
        certain = Binomial(5, logits=f32(20.0))
        expected = 5 * float(oracle.kl(oracle.softmax([0, 20]), [0.5, 0.5]))
        assert kl(certain, half).item() == pytest.approx(expected, rel=1e-6)
        assert kl(half, never).item() == math.inf
        assert kl(never, never).item() == 0

    def test_poisson_at_rate_zero(self) -> None:
        none, one = Poisson(f32(0.0)), Poisson(f32(1.0))
        assert kl(none, one).item() == 1
        assert kl(one, none).item() == math.inf
        assert kl(none, none).item() == 0
        assert kl(Bernoulli(f32(0.0)), none).item() == 0
        assert kl(Bernoulli(f32(0.5)), none).item() == math.inf

    def test_rare_geometric(self) -> None:
        value = kl(Geometric(f32(1e-8)), Geometric(f32(2e-8)))
        assert value.item() == pytest.approx(1 - math.log(2), rel=1e-6)

    def test_batches_broadcast(self) -> None:
        p, q = f32([0.5]), f32([0.25, 0.5, 0.75])
        value = kl(Bernoulli(p), Bernoulli(q))
        assert value.shape == (3,)
        assert value.tolist() == pytest.approx([0.143841, 0, 0.143841], rel=1e-5)

    @pytest.mark.parametrize("make", [Bernoulli, Categorical, OneHotCategorical])
    def test_vmap(self, make: Any) -> None:
        p, q = torch.softmax(torch.randn(2, 4, 3, dtype=torch.float64), -1)

        def divergence(p: Tensor, q: Tensor) -> Tensor:
            return kl(make(p, validate_args=False), make(q, validate_args=False)).sum()

        mapped = torch.vmap(divergence)(p, q)
        slopes = torch.vmap(torch.func.grad(divergence))(p, q)
        for row in range(4):
            torch.testing.assert_close(mapped[row], divergence(p[row], q[row]))
        assert bool(slopes.isfinite().all())


Pairing = Callable[[Any, Any], tuple[Distribution, Distribution, Any]]


def two_bernoullis(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    rows = [[1 - mp.mpf(float(v)), mp.mpf(float(v))] for v in (x, y)]
    return Bernoulli(x), Bernoulli(y), oracle.kl(*rows)


def two_binomials(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    *_, truth = two_bernoullis(x, y)
    return Binomial(20, x), Binomial(20, y), 20 * truth


def two_geometrics(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    *_, truth = two_bernoullis(x, y)
    return Geometric(x), Geometric(y), truth / mp.mpf(float(x))


def two_negative_binomials(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    *_, truth = two_bernoullis(x, y)
    count = torch.full_like(x, 2.5)
    return (
        NegativeBinomial(count, x),
        NegativeBinomial(count, y),
        truth * mp.mpf(2.5) / (1 - mp.mpf(float(x))),
    )


def two_poissons(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    rate, other = mp.mpf(float(x)), mp.mpf(float(y))
    return Poisson(x), Poisson(y), rate * mp.log(rate / other) - rate + other


def two_logits(x: Any, y: Any) -> tuple[Distribution, Distribution, Any]:
    rows = [oracle.softmax([0, float(v)]) for v in (x, y)]
    return Bernoulli(logits=x), Bernoulli(logits=y), oracle.kl(*rows)


PAIRS = [
    two_bernoullis,
    two_binomials,
    two_geometrics,
    two_negative_binomials,
    two_poissons,
    two_logits,
]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("at", [0.3, 0.875, 0.011])
@pytest.mark.parametrize(
    ("dtype", "steps"), [(torch.float32, (1e-3, 1e-4, 3e-5)), (torch.float64, (1e-4, 1e-7, 1e-10))]
)
def test_nearly_equal_sides(
    pair: Pairing, at: float, dtype: torch.dtype, steps: tuple[float, ...]
) -> None:
    """Relative error: six digits of the result in float32, in float64 what the rounding of
    1 − x leaves where x − y is 1e-10 of x."""
    for step in steps:
        x, y = torch.tensor(at, dtype=dtype), torch.tensor(at * (1 + step), dtype=dtype)
        p, q, truth = pair(x, y)
        value = kl(p, q)
        assert value.item() >= 0
        assert value.item() == pytest.approx(float(truth), rel=1e-5, abs=0)
        assert kl(p, p).item() == 0


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_renyi_of_nearly_equal_sides(pair: Pairing, alpha: float) -> None:
    """R_α is α KL to leading order; the next term is a relative 1e-6 here."""
    x = f64(0.3)
    p, q, truth = pair(x, x * (1 + 1e-7))
    value = kullback.renyi_divergence(p, q, alpha=alpha)
    assert value.item() == pytest.approx(alpha * float(truth), rel=1e-5, abs=0)
    assert kullback.renyi_divergence(p, p, alpha=alpha).item() == 0


@pytest.mark.parametrize("space", ["probs", "logits"])
def test_nearly_equal_categoricals_are_never_negative(space: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 50, generator=generator)
    moved = logits + 1e-4 * torch.randn(200, 50, generator=generator)
    if space == "probs":
        p, q = Categorical(torch.softmax(logits, -1)), Categorical(torch.softmax(moved, -1))
    else:
        p, q = Categorical(logits=logits), Categorical(logits=moved)
    value = kl(p, q)
    assert bool((value > 0).all())
    for row in range(5):
        if space == "probs":
            rows = [[mp.mpf(x) for x in side.probs[row].tolist()] for side in (p, q)]
            rows = [[x / mp.fsum(row) for x in row] for row in rows]
        else:
            rows = [oracle.softmax(side.logits[row].tolist()) for side in (p, q)]
        # float32 rows of 50: each term is right to a few roundings of its log-ratio.
        assert value[row].item() == pytest.approx(float(oracle.kl(*rows)), rel=1e-3, abs=0)


def test_nearly_equal_poissons_are_never_negative() -> None:
    rate = torch.logspace(-3, 6, 1000)
    value = kl(Poisson(rate), Poisson(rate * (1 + 1e-3 * torch.rand(1000))))
    assert bool((value >= 0).all())


@pytest.mark.parametrize("make", [Bernoulli, Poisson, Geometric])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adjacent_numbers(make: Any, dtype: torch.dtype) -> None:
    """The smallest differences there are: positive, and never less than 0."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(4000, generator=generator, dtype=dtype)
    # Below 1e-30 the square of a relative 1e-7 leaves the normal numbers of float32.
    p = torch.cat([spread, 10 ** (-20 * spread), 1 - 10 ** (-6 * spread)]).clamp_min(1e-20)
    p = p[(p > 0) & (p < 1)]
    for limit in (0.0, 1.0):
        q = torch.nextafter(p, p.new_tensor(limit))
        inside = q < 1
        value = kl_in_full(make(p[inside]), make(q[inside]))
        assert bool((value >= 0).all())
        if dtype == torch.float32:
            assert bool((value > 0).all())


class TestSupports:
    def test_infinite_only_where_q_lacks_a_category(self) -> None:
        p, q = f64([0.5, 0.5, 0.0]), f64([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.25, 0.25, 0.5]])
        value = kl(Categorical(p), Categorical(q))
        assert value.tolist() == pytest.approx([0, math.inf, math.log(2)])

    def test_a_probability_that_underflows_is_not_zero(self) -> None:
        low = Categorical(logits=f64([0.0, -2000.0]))
        none = Categorical(logits=f64([0.0, -math.inf]), validate_args=False)
        assert kl(low, none).item() == math.inf
        assert kl(none, low).item() == 0
        tiny, never = Bernoulli(logits=f64(-2000.0)), Bernoulli(probs=f64(0.0))
        assert kl(tiny, never).item() == math.inf
        assert kl(never, tiny).item() == 0
        assert kl(Binomial(3, logits=f64(-2000.0)), Binomial(5, f64(0.0))).item() == math.inf

    def test_opposite_logits_that_overflow_the_exponential(self) -> None:
        value = kl(Bernoulli(logits=f64(-800.0)), Bernoulli(logits=f64(800.0)))
        assert value.item() == 800
        slow, fast = Geometric(logits=f64(-800.0)), Geometric(logits=f64(-801.0))
        assert kl(slow, fast).item() == pytest.approx(math.exp(-1), rel=1e-12)

    def test_more_categories_on_one_side(self) -> None:
        few, many = Categorical(f64([0.25, 0.75])), Categorical(f64([0.25, 0.25, 0.5]))
        assert kl(few, many).item() == pytest.approx(0.75 * math.log(3), rel=1e-14)
        assert kl(many, few).item() == math.inf

    def test_total_counts_that_differ_within_a_batch(self) -> None:
        value = kl(
            Binomial(f64([3.0, 3.0, 5.0]), f64(0.5)), Binomial(f64([3.0, 4.0, 3.0]), f64(0.5))
        )
        assert value[0] == 0
        # Σ_k 2⁻³ C(3, k) log(2 C(3, k)/C(4, k))
        expected = mp.fsum(
            mp.binomial(3, k) / 8 * mp.log(2 * mp.binomial(3, k) / mp.binomial(4, k))
            for k in range(4)
        )
        assert value[1].item() == pytest.approx(float(expected), rel=1e-13)
        assert value[2] == math.inf

    def test_countable_against_finite(self) -> None:
        assert kl(Poisson(f64(1e-200)), Bernoulli(f64(0.5))).item() == math.inf
        assert kl(Geometric(f64(0.5)), Binomial(10, f64(0.5))).item() == math.inf

    def test_draws_of_different_number_share_no_event(self) -> None:
        two, three = Multinomial(2, f64([0.5, 0.5])), Multinomial(3, f64([0.5, 0.5]))
        assert kl(two, three).item() == math.inf
        assert kullback.renyi_divergence(two, three, alpha=0.5).item() == math.inf

    def test_geometric_against_another_number_of_failures(self) -> None:
        p, q = Geometric(f64(0.3)), NegativeBinomial(f64(2.0), f64(0.7))
        with pytest.raises(NoClosedForm, match="total_count 1"):
            kl(p, q)

    def test_renyi_of_geometrics_diverges_where_the_ratio_grows(self) -> None:
        """0.9²/0.6 > 1: the sum of p²/q has no end."""
        p, q = Geometric(f64(0.1)), Geometric(f64(0.4))
        assert kullback.renyi_divergence(p, q, alpha=2.0).item() == math.inf
        assert math.isfinite(kullback.renyi_divergence(q, p, alpha=2.0).item())


class TestFiniteSums:
    def test_the_rest_of_a_countable_side(self) -> None:
        """Bernoulli(ε)‖Poisson(ε) is ε²/2: the rest of the Poisson alone is as large."""
        e = mp.mpf(float(f64(1e-7)))
        truth = (1 - e) * (mp.log(1 - e) + e) + e * e
        value = kl(Bernoulli(f64(1e-7)), Poisson(f64(1e-7)))
        # 1 − 1e-7 is rounded to 1e-16, which is 1e-9 of its logarithm.
        assert value.item() == pytest.approx(float(truth), rel=1e-6)

    def test_bounded_divergences(self) -> None:
        """Ten coins against their limit, by the oracle over 80 counts."""
        p, q = Binomial(10, f64(0.25)), Poisson(f64(2.5))
        row_p = [
            mp.binomial(10, k) * mp.mpf(0.25) ** k * mp.mpf(0.75) ** (10 - k) for k in range(80)
        ]
        row_q = [mp.exp(-mp.mpf(2.5)) * mp.mpf(2.5) ** k / mp.factorial(k) for k in range(80)]
        answers = {
            oracle.js: kullback.js_divergence(p, q),
            oracle.total_variation: kullback.total_variation(p, q),
            oracle.chi_squared: kullback.chi_squared(p, q),
            oracle.squared_hellinger: kullback.hellinger_distance(p, q) ** 2,
        }
        for truth, value in answers.items():
            assert value.item() == pytest.approx(float(truth(row_p, row_q)), rel=1e-12)
        assert kullback.chi_squared(q, p).item() == math.inf
        assert kullback.jeffreys_divergence(p, q).item() == math.inf

    def test_classes_that_say_only_what_they_must(self) -> None:
        six = Categorical(torch.tensor([0.0] + [1 / 6] * 6, dtype=torch.float64))
        assert kl(Die(), six).item() == pytest.approx(0, abs=1e-15)
        assert kl(six, Die()).item() == pytest.approx(0, abs=1e-15)
        assert kl(Bernoulli(f64(0.5)), Die()).item() == math.inf
        value = kl(Die(), Zeta(f64(2.0)))
        expected = mp.fsum(mp.log(mp.zeta(2) * k**2 / 6) for k in range(1, 7)) / 6
        # The class's own normaliser is a float64.
        assert value.item() == pytest.approx(float(expected), rel=1e-12)

    def test_too_many_points_are_not_summed(self) -> None:
        assert aligned_log_probs(Binomial(10**6, f64(0.5)), Poisson(f64(1.0))) is None
        few = kl(Binomial(5, f64(0.5)), Binomial(10**6, f64(2.5e-6)))
        limit = kl(Binomial(5, f64(0.5)), Poisson(f64(2.5)))
        assert few.item() == pytest.approx(limit.item(), rel=1e-4)

    def test_gradients_reach_both_sides(self) -> None:
        def divergence(p: Tensor, q: Tensor) -> Tensor:
            return kl(Binomial(4, p), Poisson(q))

        sides = f64([0.2, 0.6]).requires_grad_(), f64(1.5).requires_grad_()
        assert torch.autograd.gradcheck(divergence, sides)

    def test_only_integers(self) -> None:
        assert integers_of(torch.distributions.Normal(0.0, 1.0)) is None
        assert integers_of(OneHotCategorical(f64([0.5, 0.5]))) is None


def edge_pairs() -> list[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    return [
        ("Bernoulli", lambda x, y: kl(Bernoulli(x), Bernoulli(y))),
        ("Binomial", lambda x, y: kl(Binomial(3, x), Binomial(3, y))),
        ("Binomial 3, 4", lambda x, y: kl(Binomial(3, x), Binomial(4, y))),
        ("Poisson", lambda x, y: kl(Poisson(x), Poisson(y))),
        ("Bernoulli, Poisson", lambda x, y: kl(Bernoulli(x), Poisson(y))),
        ("NegativeBinomial", lambda x, y: kl(NegativeBinomial(3, x), NegativeBinomial(3, y))),
        ("renyi", lambda x, y: kullback.renyi_divergence(Bernoulli(x), Bernoulli(y), alpha=0.5)),
        ("renyi ½", lambda x, y: kullback.renyi_divergence(Poisson(x), Poisson(y), alpha=0.5)),
        ("renyi 2", lambda x, y: kullback.renyi_divergence(Poisson(x), Poisson(y), alpha=2.0)),
        ("js", lambda x, y: kullback.js_divergence(Bernoulli(x), Bernoulli(y))),
    ]


@pytest.mark.parametrize(("name", "divergence"), edge_pairs())
def test_gradients_at_the_edge_are_finite_where_the_value_is(
    name: str, divergence: Callable[[Tensor, Tensor], Tensor]
) -> None:
    x = torch.tensor([0.0, 0.0, 0.5, 0.5], requires_grad=True)
    y = torch.tensor([0.0, 0.5, 0.0, 0.5], requires_grad=True)
    value = divergence(x, y)
    finite = value.isfinite()
    assert bool(finite[[0, 1, 3]].all())
    # One infinite element must not spoil its neighbours either.
    for slope in torch.autograd.grad(value.sum(), [x, y]):
        assert bool(slope[finite].isfinite().all())


class TestLogProbabilitiesOfCounts:
    """Against factorials in 40 digits: 14 digits relative to the size of the logarithm."""

    def check(self, found: Tensor, truth: Any) -> None:
        assert abs(found.item() - truth) <= 2e-14 * (1 + abs(truth))

    @pytest.mark.parametrize("rate", [1e-8, 0.3, 17.5, 1e4, 3e9])
    def test_poisson(self, rate: float) -> None:
        for k in (0, 1, 15, 16, int(rate), int(1.001 * rate) + 1):
            truth = k * mp.log(mp.mpf(rate)) - mp.mpf(rate) - mp.loggamma(k + 1)
            self.check(log_poisson(f64(float(k)), f64(rate)), truth)

    @pytest.mark.parametrize("p", [1e-12, 0.25, 0.999, 1 - 2**-40])
    @pytest.mark.parametrize("n", [1, 40, 10**7])
    def test_binomial(self, p: float, n: int) -> None:
        success, failure = trial_probs(Bernoulli(f64(p)))
        for k in {0, n, n // 3, int(n * p)}:
            exact = mp.mpf(p)
            truth = mp.log(mp.binomial(n, k)) + k * mp.log(exact) + (n - k) * mp.log(1 - exact)
            self.check(log_binomial(f64(float(k)), f64(float(n)), success, failure), truth)

    @pytest.mark.parametrize("p", [1e-12, 0.25, 0.999, 1 - 2**-40])
    @pytest.mark.parametrize("r", [1e-3, 1.0, 2.5, 1e6])
    def test_negative_binomial(self, p: float, r: float) -> None:
        success, failure = trial_probs(Bernoulli(f64(p)))
        for k in (0, 1, 20, int(r * p / (1 - p))):
            exact, count = mp.mpf(p), mp.mpf(r)
            ways = mp.loggamma(k + count) - mp.loggamma(k + 1) - mp.loggamma(count)
            truth = ways + count * mp.log(1 - exact) + k * mp.log(exact)
            self.check(log_negative_binomial(f64(float(k)), f64(r), success, failure), truth)

    def test_edges(self) -> None:
        counts = f64([-1.0, 0.0, 1.0])
        assert log_poisson(counts, f64(0.0)).tolist() == [-math.inf, 0, -math.inf]
        never, always = trial_probs(Bernoulli(f64(0.0)))
        none = log_binomial(counts, f64(2.0), never, always)
        assert none.tolist() == [-math.inf, 0, -math.inf]
        degenerate = log_negative_binomial(counts, f64(0.0), *trial_probs(Bernoulli(f64(0.5))))
        assert degenerate.tolist() == [-math.inf, 0, -math.inf]
        tiny = trial_probs(Bernoulli(logits=f64(-800.0)))
        expected = math.log(3) - 800
        assert log_binomial(f64(1.0), f64(3.0), *tiny).item() == pytest.approx(expected)
