"""Sums over countable supports: the error covers the truth, and what has no sum gets none."""

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
    Bernoulli,
    Categorical,
    Distribution,
    Geometric,
    MixtureSameFamily,
    NegativeBinomial,
    Normal,
    Poisson,
    constraints,
)

import oracle
from kullback.distributions.series.sums import SeriesSum, sum_over_support
from kullback.divergences import (
    CHI_SQUARED,
    CROSS_ENTROPY,
    KL,
    REVERSE_KL,
    TOTAL_VARIATION,
    Functional,
    alpha,
    jensen_shannon,
)
from kullback.errors import InputError
from kullback.numerics import generalized_kl
from kullback.numerics.gram import NODES, block_rules

Row = list[Any]
Family = tuple[Distribution, Callable[[int], Row]]


def f64(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


class Known(Distribution):
    """A class that has only a support and a log_prob, and moments if they are given."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self,
        log_prob: Callable[[Tensor], Tensor],
        low: float = 0,
        moments: tuple[float, float] | None = None,
    ) -> None:
        self._log_prob, self._moments = log_prob, moments
        self._support = constraints._IntegerGreaterThan(low)
        super().__init__(validate_args=False)

    @property
    def support(self) -> Any:
        return self._support

    @property
    def mean(self) -> Tensor:
        if self._moments is None:
            raise NotImplementedError
        return f64(self._moments[0])

    @property
    def variance(self) -> Tensor:
        assert self._moments is not None
        return f64(self._moments[1])

    def log_prob(self, value: Tensor) -> Tensor:
        assert bool((value == value.floor()).all()), "asked between the integers"
        return self._log_prob(value)


def zeta(s: float) -> Known:
    """k^−s/ζ(s) on 1, 2, …."""
    normalizer = float(mp.log(mp.zeta(s)))
    return Known(lambda k: -s * k.log() - normalizer, low=1)


def kl_of_zetas(s: float, t: float) -> Any:
    """(t − s) E log k + log(ζ(t)/ζ(s)), E log k = −ζ′(s)/ζ(s)."""
    expected = -mp.zeta(s, 1, 1) / mp.zeta(s)
    return (mp.mpf(t) - mp.mpf(s)) * expected + mp.log(mp.zeta(t) / mp.zeta(s))


def poisson_row(rate: Any) -> Callable[[int], Row]:
    def row(count: int) -> Row:
        weight, weights = mp.exp(-mp.mpf(rate)), []
        for k in range(count):
            weights.append(weight)
            weight *= mp.mpf(rate) / (k + 1)
        return weights

    return row


def negative_binomial_row(r: Any, z: Any) -> Callable[[int], Row]:
    def row(count: int) -> Row:
        weight, weights = (1 - mp.mpf(z)) ** mp.mpf(r), []
        for k in range(count):
            weights.append(weight)
            weight *= mp.mpf(z) * (k + mp.mpf(r)) / (k + 1)
        return weights

    return row


def random_family(rng: random.Random) -> Family:
    """One of four families, with parameters from near-degenerate to wide."""
    kind = rng.choice(["poisson", "geometric", "negative binomial", "mixture"])
    if kind == "poisson":
        rate = 10 ** rng.uniform(-3, 2)
        return Poisson(f64(rate)), poisson_row(rate)
    if kind == "geometric":
        p = 10 ** rng.uniform(-1.3, -0.01)
        return Geometric(f64(p)), negative_binomial_row(1, 1 - mp.mpf(p))
    if kind == "negative binomial":
        r, z = 10 ** rng.uniform(-1.5, 1.5), 0.9 * rng.random()
        return NegativeBinomial(f64(r), f64(z)), negative_binomial_row(r, z)
    weights, rates = f64([0.25, 0.75]), [10 ** rng.uniform(-2, 2) for _ in range(2)]
    rows = [poisson_row(rate) for rate in rates]
    mixture = MixtureSameFamily(Categorical(weights), Poisson(f64(rates)))
    return mixture, lambda n: [(a + 3 * b) / 4 for a, b in zip(rows[0](n), rows[1](n), strict=True)]


MEASURES: list[tuple[Functional, Callable[..., Any]]] = [
    (KL, oracle.kl),
    (REVERSE_KL, lambda p, q: oracle.kl(q, p)),
    (jensen_shannon(), oracle.js),
    (TOTAL_VARIATION, oracle.total_variation),
    (alpha(0.5), oracle.alpha),
    (CROSS_ENTROPY, lambda p, q: -mp.fsum(a * mp.log(b) for a, b in zip(p, q, strict=True))),
]


def check_random_pairs(seed: int, count: int) -> None:
    """Within the error always; and the error is small enough to be of use."""
    rng = random.Random(seed)
    for _ in range(count):
        (p, row_p), (q, row_q) = random_family(rng), random_family(rng)
        record, measure = rng.choice(MEASURES)
        found = sum_over_support(p, q, record)
        extra = [0.5] if record.name == "alpha" else []
        # At 1,500 the widest of these has 1e-33 left.
        truth = measure(row_p(1500), row_q(1500), *extra)
        missed = abs(mp.mpf(found.value.item()) - truth)
        assert bool(found.finite), found.note
        assert missed <= found.error.item(), (record.name, p, q)
        assert found.error.item() <= 1e-9 * float(truth) + 1e-13


def test_the_error_covers_the_truth() -> None:
    check_random_pairs(seed=0, count=40)


@pytest.mark.slow
def test_the_error_covers_the_truth_of_many() -> None:
    check_random_pairs(seed=1, count=400)


def test_large_counts_are_not_summed_one_by_one() -> None:
    """A batch over twelve decades of rates, against the closed form."""
    rate = torch.logspace(-3, 9, 25, dtype=torch.float64)
    found = sum_over_support(Poisson(rate), Poisson(1.01 * rate), KL)
    truth = generalized_kl(rate, 1.01 * rate)
    assert bool(found.finite.all())
    assert bool(((found.value - truth).abs() <= found.error).all())
    torch.testing.assert_close(found.value, truth, rtol=1e-11, atol=0)
    assert found.evaluations < 15_000


def test_far_apart() -> None:
    """Bulks at 10 and 10⁹: JS is log 2, TV 1, and the KL that of the closed form."""
    p, q = Poisson(f64(10.0)), Poisson(f64(1e9))
    assert sum_over_support(p, q, jensen_shannon()).value.item() == pytest.approx(math.log(2))
    assert sum_over_support(p, q, TOTAL_VARIATION).value.item() == pytest.approx(1)
    value = sum_over_support(p, q, KL).value
    assert value.item() == pytest.approx(generalized_kl(f64(10.0), f64(1e9)).item(), rel=1e-12)


class TestHeavyTails:
    @pytest.mark.parametrize(("s", "t"), [(3.0, 2.0), (2.0, 3.0), (1.5, 2.0), (1.2, 2.0)])
    def test_a_power_that_has_a_sum(self, s: float, t: float) -> None:
        found = sum_over_support(zeta(s), zeta(t), KL)
        missed = abs(mp.mpf(found.value.item()) - kl_of_zetas(s, t))
        assert bool(found.finite)
        assert missed <= found.error.item()
        # What is beyond 2⁵³ is guessed, and so is in the error whole.
        assert found.error.item() <= (1e-13 if s >= 2 else 0.02)

    @pytest.mark.parametrize(
        ("p", "q", "record"),
        [
            (zeta(1.05), zeta(2.0), KL),  # a sum, but 2⁵³ is not far enough to see it
            (zeta(2.0), Geometric(f64(0.5)), KL),  # Σ 1/k
            (zeta(2.0), Poisson(f64(3.0)), KL),  # Σ log(k)/k
            (zeta(2.0), zeta(3.0), CHI_SQUARED),  # Σ 1/k
        ],
    )
    def test_what_is_not_shown_to_have_one(
        self, p: Distribution, q: Distribution, record: Functional
    ) -> None:
        found = sum_over_support(p, q, record)
        assert not bool(found.finite)
        assert math.isnan(found.value.item())
        assert found.error.item() == math.inf
        assert "too slowly" in found.note

    def test_a_power_that_has_none(self) -> None:
        """Σ k^(−1.5 + 1)."""
        found = sum_over_support(zeta(1.5), Geometric(f64(0.5)), KL)
        assert found.value.item() == math.inf
        assert not bool(found.finite)
        assert "grow" in found.note

    def test_a_term_that_is_infinite(self) -> None:
        found = sum_over_support(Geometric(f64(0.5)), zeta(2.0), KL)
        assert (found.value.item(), found.error.item()) == (math.inf, 0)
        assert "has none" in found.note
        back = sum_over_support(zeta(4.0), Geometric(f64(0.5)), TOTAL_VARIATION)
        assert bool(back.finite)


class TestOtherClasses:
    def test_a_peak_that_is_not_told_of_is_missed_and_noticed(self) -> None:
        def log_prob(k: Tensor) -> Tensor:
            sides = [Poisson(f64(rate)).log_prob(k) for rate in (3.0, 1e9)]
            return torch.logaddexp(*sides) - math.log(2)

        found = sum_over_support(Known(log_prob), Geometric(f64(1e-9)), KL)
        assert not bool(found.finite)
        assert found.error.item() == math.inf
        assert "sum to 1" in found.note

    def test_a_peak_that_is_told_of(self) -> None:
        poisson, geometric = Poisson(f64(1e6)), Geometric(f64(1e-6))
        told = Known(poisson.log_prob, moments=(1e6, 1e6))
        found, truth = (sum_over_support(p, geometric, KL) for p in (told, poisson))
        assert bool(found.finite)
        # The class itself cancels factorials of 10⁶, and loses eight digits.
        assert found.error.item() < 1e-7
        assert abs(found.value - truth.value) <= found.error + truth.error
        assert truth.error.item() < 1e-12

    def test_rough_terms(self) -> None:
        """Mass on even numbers only: summed one by one where there are few, else said."""

        def doubled(q: Distribution) -> Known:
            return Known(lambda k: torch.where(k % 2 == 0, q.log_prob((k / 2).floor()), -math.inf))

        few = sum_over_support(doubled(Poisson(f64(10.0))), Geometric(f64(0.05)), KL)
        rows = [poisson_row(10)(200), negative_binomial_row(1, mp.mpf(1) - mp.mpf(0.05))(400)]
        truth = mp.fsum(p * mp.log(p / rows[1][2 * k]) for k, p in enumerate(rows[0]))
        assert abs(mp.mpf(few.value.item()) - truth) <= few.error.item() <= 1e-12
        many = sum_over_support(doubled(Geometric(f64(1e-6))), Geometric(f64(1e-6)), KL)
        assert not bool(many.finite)
        assert "rough" in many.note

    def test_both_directions(self) -> None:
        """Discrete Laplace: (1 − a)/(1 + a)·a^|k|."""

        def laplace(a: float) -> Known:
            scale = math.log((1 - a) / (1 + a))
            return Known(lambda k: scale + k.abs() * math.log(a), low=-math.inf)

        found = sum_over_support(laplace(0.5), laplace(0.75), KL)
        # E|k| = 2a/(1 − a²)
        truth = mp.log(mp.mpf(7) / 3) + mp.mpf(4) / 3 * mp.log(mp.mpf(2) / 3)
        assert bool(found.finite)
        assert abs(mp.mpf(found.value.item()) - truth) <= found.error.item() <= 1e-13

    def test_single_precision_has_a_larger_error(self) -> None:
        normalizer = math.log(mp.zeta(3))
        narrow = Known(lambda k: -3 * k.float().log() - normalizer, low=1)
        found = sum_over_support(narrow, zeta(2.0), KL)
        missed = abs(mp.mpf(found.value.item()) - kl_of_zetas(3, 2))
        assert bool(found.finite)
        assert 1e-9 < missed <= found.error.item() < 1e-5

    def test_only_integers(self) -> None:
        with pytest.raises(InputError, match="Normal"):
            sum_over_support(Normal(0.0, 1.0), Poisson(1.0), KL)


def test_batches_broadcast_and_keep_to_themselves() -> None:
    p = Poisson(f64([[0.5], [2000.0], [3.0]]))
    q = NegativeBinomial(f64([2.0, 5.0]), f64([0.5, 0.9]))
    found = sum_over_support(p, q, KL)
    assert found.value.shape == found.error.shape == found.finite.shape == (3, 2)
    alone = sum_over_support(Poisson(f64(2000.0)), NegativeBinomial(f64(5.0), f64(0.9)), KL)
    assert abs(found.value[1, 1] - alone.value) <= alone.error
    mixed = sum_over_support(Poisson(f64(2.0)), Bernoulli(f64([0.5, 0.25])), KL)
    assert mixed.note.endswith("(2 of 2)")


@pytest.mark.parametrize("record", [KL, alpha(0.5), CROSS_ENTROPY])
def test_gradients(record: Functional) -> None:
    def total(rate: Tensor, probs: Tensor) -> Tensor:
        return sum_over_support(Poisson(rate), NegativeBinomial(2.5, probs), record).value

    inputs = f64([2.0, 300.0]).requires_grad_(), f64(0.6).requires_grad_()
    assert torch.autograd.gradcheck(total, inputs)


def test_gradient_where_the_supports_differ() -> None:
    """1, 2, … in 0, 1, …: the derivative of ½ E(√p − √q)² has a term of its own at 0."""

    def total(probs: Tensor) -> Tensor:
        return sum_over_support(zeta(3.0), Geometric(probs), alpha(0.5)).value

    assert torch.autograd.gradcheck(total, f64(0.6).requires_grad_())


def test_two_finite_supports() -> None:
    found = sum_over_support(Bernoulli(f64(0.5)), Bernoulli(f64(0.25)), KL)
    assert found.value.item() == pytest.approx(float(oracle.kl([0.5, 0.5], [0.75, 0.25])))
    assert bool(found.finite)


def test_result_is_a_record() -> None:
    found = sum_over_support(Poisson(1.0), Geometric(0.5), KL)
    assert isinstance(found, SeriesSum)
    assert found.value.shape == ()
    assert found.note == ""


class TestBlockRules:
    def test_integers_in_order_with_positive_weights(self) -> None:
        offsets, weights = block_rules(48)
        assert bool((offsets == offsets.round()).all())
        assert bool((offsets.diff() > 0).all())
        assert bool((weights > 0).all())
        assert bool((offsets[:, 0] >= 0).all())
        lengths = NODES * 2.0 ** torch.arange(48, dtype=torch.float64)
        assert bool((offsets[:, -1] < lengths).all())
        torch.testing.assert_close(weights.sum(-1), lengths, rtol=1e-14, atol=0)

    @pytest.mark.parametrize("level", [1, 2, 5, 20, 47])
    def test_inverse_squares_over_an_octave(self, level: int) -> None:
        offsets, weights = block_rules(48)
        length = NODES << level
        truth = mp.zeta(2, length) - mp.zeta(2, 2 * length)
        found = (weights[level] / (offsets[level] + length) ** 2).sum()
        assert found.item() == pytest.approx(float(truth), rel=1e-14)
