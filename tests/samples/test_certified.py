"""The certified bound: exact limits, the coins' closed forms, and coverage whatever P and Q are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from kullback.distributions.targets import target_of
from kullback.samples.certified import limits, lower_bound, of_coins
from kullback.samples.draws import draws_of

KL = target_of("kl")


@pytest.mark.parametrize("level", [0.025, 0.005, 0.2])
@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (1, 7), (7, 7), (30, 1000), (999, 1000)])
def test_limits_are_the_exact_ones_of_scipy(successes: int, trials: int, level: float) -> None:
    low, high = limits(successes, trials, level)
    for end, alternative in ((low, "greater"), (high, "less")):
        interval = binomtest(successes, trials, alternative=alternative).proportion_ci(1 - level)
        expected = interval.low if alternative == "greater" else interval.high
        assert end == pytest.approx(expected, rel=1e-7, abs=1e-12)  # its root finder's


@pytest.mark.parametrize("chance", [0.003, 0.1, 0.5, 0.93])
def test_limits_cover_for_every_n(chance: float) -> None:
    """By summing the binomial law: no simulation, no slack."""
    for trials in (5, 40, 333):
        counts = np.arange(trials + 1)
        mass = binom.pmf(counts, trials, chance)
        ends = np.array([limits(k, trials, 0.05) for k in range(trials + 1)])
        assert mass @ (ends[:, 0] <= chance) >= 0.95 - 1e-12
        assert mass @ (ends[:, 1] >= chance) >= 0.95 - 1e-12


CLOSED = {
    "kl": lambda a, b: a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b)),
    "reverse_kl": lambda a, b: b * math.log(b / a) + (1 - b) * math.log((1 - b) / (1 - a)),
    "total_variation": lambda a, b: abs(a - b),
    "squared_hellinger": lambda a, b: 1 - math.sqrt(a * b) - math.sqrt((1 - a) * (1 - b)),
    "chi_squared": lambda a, b: (a - b) ** 2 / (b * (1 - b)),
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("a", "b"), [(0.9, 0.2), (0.01, 0.6), (0.5, 0.5)])
def test_the_divergence_of_two_coins(name: str, a: float, b: float) -> None:
    found = of_coins(target_of(name).record, a, b)
    assert found == pytest.approx(CLOSED[name](a, b), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", ["kl", "js", "hellinger", "renyi"])
def test_what_is_clearly_apart_has_a_bound_between_zero_and_the_truth(name: str) -> None:
    rng = np.random.default_rng(0)
    pair = draws_of(rng.normal(0, 1, 1500), rng.normal(2, 1, 1500))
    target = target_of(name, alpha_order=0.5 if name == "renyi" else None)
    truth = {"kl": 2.0, "js": 0.3366, "hellinger": 0.6273, "renyi": 1.0}[name]
    found = lower_bound(pair, target, 0.95, 0)
    # An event keeps much of it: the half line keeps 0.96 nats of KL's two.
    assert 0.3 * truth < found < truth


def test_a_higher_confidence_has_a_lower_bound() -> None:
    rng = np.random.default_rng(1)
    pair = draws_of(rng.normal(0, 1, 600), rng.normal(1, 1, 600))
    bounds = [lower_bound(pair, KL, confidence, 0) for confidence in (0.5, 0.95, 0.9999)]
    assert bounds[0] > bounds[1] > bounds[2] > 0


def test_labels_and_columns_alike() -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.choice(["a", "b", "c"], 900, p=p) for p in ([0.7, 0.2, 0.1], [0.1, 0.2, 0.7]))
    found = lower_bound(draws_of(x, y), KL, 0.95, 0)
    assert 0.3 < found < 0.6 * math.log(7)  # the truth is 0.6·log 7


@pytest.mark.parametrize("n", [10, 13, 40])
def test_few_draws_do_not_break_it(n: int) -> None:
    rng = np.random.default_rng(n)
    pair = draws_of(rng.normal(0, 1, n), rng.normal(9, 1, 3 * n))
    assert 0 <= lower_bound(pair, KL, 0.95, 0) < 40.5


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_coverage(shift: float) -> None:
    """Of 40 samples at 80 %: more than 16 misses have a chance of 0.1 % at a miss rate of ⅕."""
    _covers(shift, runs=40, n=150, confidence=0.8, allowed=16)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_coverage_at_95_percent(shift: float) -> None:
    """Of 200 samples: more than 20 misses have a chance of 0.1 % at a miss rate of 1/20."""
    _covers(shift, runs=200, n=300, confidence=0.95, allowed=20)


def _covers(shift: float, runs: int, n: int, confidence: float, allowed: int) -> None:
    misses = 0
    for run in range(runs):
        rng = np.random.default_rng(1000 + run)
        pair = draws_of(rng.normal(0, 1, n), rng.normal(shift, 1, n))
        misses += lower_bound(pair, KL, confidence, run) > shift**2 / 2
    assert misses <= allowed
