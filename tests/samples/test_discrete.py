"""Divergences from counts: against enumeration, against moments in closed form, by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import exp1

from kullback.distributions.targets import target_of
from kullback.divergences import GAN, Functional, skew
from kullback.errors import InputError
from kullback.samples.discrete import plug_in
from kullback.samples.discrete.corrections import CORRECTIONS, best_guess
from kullback.samples.discrete.counts import Counts
from kullback.samples.discrete.frequencies import jackknife, plain
from kullback.samples.discrete.logarithms import series
from kullback.samples.discrete.lumped import lumped_lower_bound
from kullback.samples.discrete.powers import order_of, power
from kullback.samples.discrete.unseen import shortfall
from kullback.samples.draws import DrawsPair, draws_of

NAMES: list[str | Functional] = ["kl", "reverse_kl", "jeffreys", "js", "total_variation"]
NAMES += ["squared_hellinger", "hellinger"]
NAMES += ["chi_squared", "cross_entropy", "bhattacharyya", GAN, skew(0.1)]


def truth(
    name: str | Functional, p: np.ndarray, q: np.ndarray, alpha: float | None = None
) -> float:
    target = target_of(name, alpha)
    return float(target.link(torch.tensor(plain(target.record, Counts(p, q)))))


def drawn(p: np.ndarray, q: np.ndarray, n: int, m: int, seed: int) -> DrawsPair:
    rng = np.random.default_rng(seed)
    return draws_of(rng.choice(len(p), n, p=p), rng.choice(len(q), m, p=q))


def zipf(k: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(k)
    p, q = 1 / (index + 5.0), np.exp(np.sin(7 * index)) / (index + 5.0)
    return p / p.sum(), q / q.sum()


def test_the_series_is_unbiased_up_to_its_tail_by_enumeration():
    # Two events: all counts enumerated, and Σ_{v ≤ m} (1 − q)ᵛ/v in closed form.
    n, m, p, q = 6, 7, 0.3, 0.4
    mean = 0.0
    for a in range(n + 1):
        for b in range(m + 1):
            chance = stats.binom.pmf(a, n, p) * stats.binom.pmf(b, m, q)
            counts = Counts(np.array([a, n - a], float), np.array([b, m - b], float))
            mean += chance * series("kl", counts, tail=False).total

    def first(x: float, terms: int) -> float:
        return sum((1 - x) ** v / v for v in range(1, terms + 1))

    expected = p * (first(q, m) - first(p, n - 1))
    expected += (1 - p) * (first(1 - q, m) - first(1 - p, n - 1))
    assert mean == pytest.approx(expected, rel=1e-12)  # sums of some fifty terms in float64


@pytest.mark.parametrize(("shape", "rate"), [(1.0, 1.0), (2.0, 0.5), (1.5, 0.1)])
def test_the_tail_of_a_crowd_is_what_is_missing(shape: float, rate: float):
    rng = np.random.default_rng(3)
    k = 200_000
    expected_counts = rng.gamma(shape, 1 / rate, k)
    found = shortfall(np.full(k, 1 / k), rng.poisson(expected_counts).astype(float))
    # The grid over shapes is spaced by 27 %: with so many events it is all that is left.
    assert found.size == pytest.approx(exp1(expected_counts).mean(), rel=0.1)


def test_two_unseen_events_are_no_crowd():
    found = shortfall(np.array([0.01, 0.01, 0.98]), np.array([0.0, 0.0, 500.0]))
    assert found.size == 0
    assert found.deviation > 0.01


@pytest.mark.parametrize("order", [2.0, 3.0, -1.0])
def test_falling_factorials_are_unbiased_by_enumeration(order: float):
    n, m, p, q = 9, 8, 0.35, 0.6
    mean = 0.0
    for a in range(n + 1):
        for b in range(m + 1):
            chance = stats.binom.pmf(a, n, p) * stats.binom.pmf(b, m, q)
            counts = Counts(np.array([a, n - a], float), np.array([b, m - b], float))
            mean += chance * power(order, 1.0, counts).total

    def moment(x: float, draws: int, s: float) -> float:
        if s > 0:
            return x**s
        ways = [stats.binom.pmf(c, draws, x) for c in range(draws + 1)]
        gammas = [math.gamma(c + 1) / math.gamma(c + 1 - s) for c in range(draws + 1)]
        return math.gamma(draws + 1 - s) / math.gamma(draws + 1) * float(np.dot(ways, gammas))

    both = sum(moment(x, n, order) * moment(y, m, 1 - order) for x, y in ((p, q), (1 - p, 1 - q)))
    assert mean == pytest.approx((both - 1) / (order * (order - 1)), rel=1e-10)


def test_the_order_is_read_off_the_record():
    assert order_of(target_of("chi_squared").record) == (2.0, 2.0)
    assert order_of(target_of("renyi", 2.5).record) == pytest.approx((2.5, 1.0))
    assert order_of(target_of("alpha", -0.5).record) == pytest.approx((-0.5, 1.0))
    assert order_of(target_of("alpha", 0.5).record) is None
    assert order_of(target_of("js").record) is None


def test_the_jackknife_is_that_of_leaving_out_each_draw():
    record = target_of("js").record
    a, b = np.array([3.0, 5.0, 0.0, 1.0]), np.array([2.0, 0.0, 4.0, 6.0])
    total = plain(record, Counts(a, b))
    sums = []
    for side, draws in ((0, a), (1, b)):
        without = 0.0
        for i in np.flatnonzero(draws):
            less = [a.copy(), b.copy()]
            less[side][i] -= 1
            without += draws[i] / draws.sum() * plain(record, Counts(*less))
        sums.append((draws.sum() - 1) * (total - without))
    # Each multiplies rounding by the number of draws.
    assert jackknife(record, Counts(a, b)) == pytest.approx(total + sum(sums), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_is_near_the_truth_and_exchanges_with_its_sides(name: str | Functional):
    p, q = zipf(30)
    found = plug_in(drawn(p, q, 20_000, 30_000, 1), target_of(name))
    assert found.trusted, found.diagnosis
    assert found.low < found.value < found.high
    # Five standard errors: one run in a million is farther off.
    assert abs(found.value - truth(name, p, q)) < 5 * found.stderr
    assert found.evaluations == 50_000


def test_reverse_is_forward_with_the_sides_exchanged():
    p, q = zipf(40)
    pair = drawn(p, q, 1000, 2000, 4)
    swapped = DrawsPair(pair.q, pair.p, pair.levels, pair.categorical)
    one, other = plug_in(pair, target_of("reverse_kl")), plug_in(swapped, target_of("kl"))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@pytest.mark.parametrize("alpha", [0.5, 1.5, 2.0])
def test_renyi_goes_through_its_link(alpha: float):
    p, q = zipf(20)
    found = plug_in(drawn(p, q, 20_000, 20_000, 2), target_of("renyi", alpha))
    assert abs(found.value - truth("renyi", p, q, alpha)) < 5 * found.stderr


@pytest.mark.parametrize("correction", [None, *CORRECTIONS])
def test_every_correction_agrees_where_counts_are_large(correction: str | None):
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    found = plug_in(drawn(p, q, 50_000, 50_000, 5), target_of("kl"), correction=correction)
    assert found.low <= found.value <= found.high
    assert abs(found.value - truth("kl", p, q)) < 5 * found.stderr


def test_what_a_correction_cannot_do_is_refused():
    pair = drawn(*zipf(5), 100, 100, 0)
    with pytest.raises(InputError, match="chao_shen"):
        plug_in(pair, target_of("js"), correction="chao_shen")
    with pytest.raises(InputError, match="'james'"):
        plug_in(pair, target_of("kl"), correction="james")
    with pytest.raises(InputError, match="confidence=1"):
        plug_in(pair, target_of("kl"), confidence=1.0)
    with pytest.raises(InputError, match="concentration=-1"):
        plug_in(pair, target_of("kl"), correction="dirichlet", concentration=-1.0)


def test_an_event_that_q_lacks_leaves_a_certified_bound():
    pair = drawn(np.array([0.6, 0.4]), np.array([1.0, 0.0]), 1000, 1000, 0)
    found = plug_in(pair, target_of("kl"))
    assert not found.trusted
    assert "may be infinite" in found.diagnosis
    assert found.high == math.inf
    # Q's share of the event is below 1.3 % by 500 draws: KL is above 0.36 log(0.36/0.013) + ….
    assert 0.7 < found.low < math.inf
    assert plug_in(pair, target_of("kl"), correction=None).value == math.inf
    assert plug_in(pair, target_of("js")).trusted


def test_too_many_events_for_the_draws_are_said():
    p = np.full(3000, 1 / 3000)
    found = plug_in(drawn(p, p, 1000, 1000, 0), target_of("js"))
    assert not found.trusted
    assert "Good–Turing" in found.diagnosis
    assert found.low == 0


def test_one_event_alone_has_no_divergence():
    pair = draws_of(["a"] * 50, ["a"] * 60)
    for name in NAMES:
        if name != "cross_entropy":
            # Rounding of the digamma function and of sums of n + m equal terms.
            assert plug_in(pair, target_of(name)).value == pytest.approx(0, abs=1e-10)


def test_the_lower_bound_holds_and_is_of_use():
    p, q = zipf(100)
    target = target_of("kl")
    bounds = [lumped_lower_bound(drawn(p, q, 5000, 5000, s), target, 0.95, s) for s in range(20)]
    # At 95 % none of 20 is expected to fail by much; Bonferroni leaves far less than one.
    assert max(bounds) < truth("kl", p, q)
    assert np.mean(bounds) > 0.33 * truth("kl", p, q)
    same = [lumped_lower_bound(drawn(p, p, 500, 500, s), target, 0.95, s) for s in range(20)]
    assert sum(bound > 0 for bound in same) <= 1


def covered(name: str, p: np.ndarray, q: np.ndarray, n: int, m: int, seeds: int) -> float:
    hits = []
    for seed in range(seeds):
        found = plug_in(drawn(p, q, n, m, seed), target_of(name))
        assert found.trusted, found.diagnosis
        hits.append(found.low <= truth(name, p, q) <= found.high)
    return float(np.mean(hits))


@pytest.mark.parametrize("name", ["kl", "js"])
def test_the_interval_covers_in_a_small_simulation(name: str):
    p, q = np.array([0.3, 0.3, 0.4]), np.array([0.32, 0.32, 0.36])
    # 60 seeds: 86 % is three standard deviations below 95 %.
    assert covered(name, p, q, 500, 800, 60) >= 0.86
    assert covered(name, p, p, 500, 800, 60) >= 0.86


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "js", "total_variation"])
@pytest.mark.parametrize(("n", "m"), [(10_000, 10_000), (10_000, 4000)])
def test_the_interval_covers(name: str, n: int, m: int):
    p, q = zipf(100)
    # 200 seeds at 95 %: 90.5 % is three standard deviations below.
    assert covered(name, p, q, n, m, 200) >= 0.905
    assert covered(name, p, p, n, m, 200) >= 0.905


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "js", "squared_hellinger", "total_variation"])
def test_the_correction_is_worth_it(name: str):
    p, q = zipf(1000)
    record, errors = target_of(name).record, []
    for seed in range(20):
        pair = drawn(p, q, 10_000, 10_000, seed)
        counts = Counts(pair.atoms.of_p.astype(float), pair.atoms.of_q.astype(float))
        goal = truth(name, p, q)
        errors.append([best_guess(record, counts).total - goal, plain(record, counts, 0.5) - goal])
    ours, smoothed = np.sqrt(np.mean(np.square(errors), axis=0))
    assert ours < smoothed
