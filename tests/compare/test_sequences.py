"""Confidence sequences: the boundary by quadrature, their ends by hand, and misses when watched."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kullback.compare.intervals import positive_interval, signed_interval
from kullback.compare.sequences import (
    FIRST_ANSWER,
    PLANNED_DOCUMENTS,
    _mixture_at_plan,
    _multiplier,
    sequence_interval,
)
from kullback.errors import InputError, NonFiniteError, ShapeError

stats = pytest.importorskip("scipy.stats")
integrate = pytest.importorskip("scipy.integrate")
special = pytest.importorskip("scipy.special")


def documents(number: int = 80, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(50, 400, size=number)
    return sizes * rng.lognormal(-3, 0.6, size=number), sizes


@pytest.mark.parametrize("alpha", [0.3, 0.05, 1e-3])
def test_rho_is_lamberts_and_makes_the_boundary_narrowest_at_the_plan(alpha: float) -> None:
    x = _mixture_at_plan(alpha)
    assert x == pytest.approx(-1 - special.lambertw(-(alpha**2) / math.e, -1).real, rel=1e-12)

    # With so many effective documents the Student form is the normal one.
    def at_100(planned: float) -> float:
        return _multiplier(100, 1e9, alpha, planned)

    assert at_100(100) <= min(at_100(99), at_100(101))
    # At the plan the boundary is √(1 + nρ²): x = log((1 + x)/α²) put into it.
    assert at_100(100) == pytest.approx(math.sqrt(1 + x), rel=1e-7)


@pytest.mark.parametrize("number", [10, 100, 1000])
def test_the_boundary_tends_to_theorem_2_2_as_printed(number: int) -> None:
    alpha = 0.05
    rho2 = _mixture_at_plan(alpha) / 100
    # Margin for the mean of unit variance, in standard errors: times √t.
    margin = math.sqrt(
        2
        * (number * rho2 + 1)
        / (number**2 * rho2)
        * math.log(math.sqrt(number * rho2 + 1) / alpha)
    )
    assert _multiplier(number, 1e9, alpha, 100) == pytest.approx(
        margin * math.sqrt(number), rel=1e-7
    )


@pytest.mark.parametrize("number", [12, 40, 150])
def test_at_the_boundary_the_mixture_of_noncentral_t_is_one_over_alpha(number: int) -> None:
    # Ville's inequality for the likelihood ratio of t, mixed over effects δ ~ N(0, ρ²).
    alpha, planned = 0.1, 50
    t = _multiplier(number, number, alpha, planned)
    rho = math.sqrt(_mixture_at_plan(alpha) / planned)

    def integrand(z: float) -> float:
        effect = stats.nct.pdf(t, number - 1, z * rho * math.sqrt(number))
        return effect * stats.norm.pdf(z)

    mixture = integrate.quad(integrand, -8, 8, limit=200, epsabs=0, epsrel=1e-8)[0]
    assert mixture / stats.t.pdf(t, number - 1) == pytest.approx(1 / alpha, rel=1e-5)


def test_mean_and_standard_error_are_the_jackknifes() -> None:
    sums, sizes = documents()
    estimate, plain = sequence_interval(sums, sizes), signed_interval(sums, sizes)
    assert estimate.value == pytest.approx(plain.value, rel=1e-14)
    assert estimate.stderr == pytest.approx(plain.stderr, rel=1e-12)
    assert estimate.evaluations == sizes.sum()
    assert "confidence sequence over documents" in estimate.method


def test_without_skewness_the_interval_is_symmetric_in_the_logarithm() -> None:
    sums = np.tile([0.9, 1.1], 30)
    estimate = sequence_interval(sums, np.ones(60))
    assert estimate.low * estimate.high == pytest.approx(estimate.value**2, rel=1e-12)
    reach = _multiplier(60, 60.0, 0.05, PLANNED_DOCUMENTS) * estimate.stderr / estimate.value
    assert math.log(estimate.high / estimate.value) == pytest.approx(reach, rel=1e-9)


def test_skewness_to_the_right_widens_upwards_only() -> None:
    # One value of 60 carries the skewness; mirrored at the mean it leaves the variance alone.
    sums = np.append(np.full(59, 1.0), 1.5)
    skewed, mirrored = (sequence_interval(s, np.ones(60)) for s in (sums, 2 * sums.mean() - sums))
    assert skewed.stderr == pytest.approx(mirrored.stderr)
    assert skewed.low == pytest.approx(mirrored.low, rel=1e-12)
    m = _multiplier(60, 60.0, 0.05, PLANNED_DOCUMENTS)
    # Delete-one moves are proportional to the deviations here, so this is their Σ³/(Σ²)^1.5.
    centred = sums - sums.mean()
    bend = 4 / 3 * (centred**3).sum() / (centred**2).sum() ** 1.5
    expected = sums.mean() + skewed.stderr * math.expm1(bend * m) / bend
    assert skewed.high == pytest.approx(expected, rel=1e-9)
    assert skewed.high > mirrored.high


def test_always_wider_than_the_interval_for_a_fixed_number() -> None:
    for number in (60, 100, 400, 3000):
        sums, sizes = documents(number)
        sequence, fixed = sequence_interval(sums, sizes), positive_interval(sums, sizes)
        assert sequence.low < fixed.low < fixed.high < sequence.high


def test_a_function_of_the_documents_and_not_of_their_order() -> None:
    sums, sizes = documents()
    order = np.random.default_rng(1).permutation(len(sums))
    mixed, straight = (
        sequence_interval(sums[order], sizes[order]),
        sequence_interval(sums, sizes),
    )
    # Only the rounding of sums of 80 terms may differ.
    for name in ("value", "low", "high", "stderr"):
        assert getattr(mixed, name) == pytest.approx(getattr(straight, name), rel=1e-12)


def test_documents_without_positions_count_for_nothing() -> None:
    sums, sizes = documents()
    padded = sequence_interval(np.append(sums, [0.0, 0.0]), np.append(sizes, [0, 0]))
    assert padded == sequence_interval(sums, sizes)


def test_units_only_scale() -> None:
    sums, sizes = documents()
    nats, bits = sequence_interval(sums, sizes), sequence_interval(sums / math.log(2), sizes)
    assert bits.low * math.log(2) == pytest.approx(nats.low)
    assert bits.high * math.log(2) == pytest.approx(nats.high)


def test_more_confidence_is_a_wider_interval() -> None:
    sums, sizes = documents()
    narrow, wide = (sequence_interval(sums, sizes, confidence=c) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.confidence == 0.99


def test_nothing_is_said_before_the_first_answer() -> None:
    few = int(FIRST_ANSWER) - 1
    early = sequence_interval(np.linspace(1, 2, few), np.ones(few))
    assert early.value == pytest.approx(1.5)
    assert math.isnan(early.low)
    assert math.isnan(early.high)
    assert not early.trusted
    assert "39 documents" in early.diagnosis
    assert not math.isnan(sequence_interval(np.linspace(1, 2, few + 1), np.ones(few + 1)).low)
    # One long document among many is not many.
    lopsided = sequence_interval(np.ones(500), np.append(np.ones(499), 10_000))
    assert math.isnan(lopsided.low)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_hardly_any_documents_are_no_interval_and_no_crash(number: int) -> None:
    estimate = sequence_interval(np.ones(number), np.ones(number))
    assert math.isnan(estimate.low)
    assert not estimate.trusted
    assert estimate.diagnosis


def test_a_plan_far_ahead_has_no_answer_yet() -> None:
    sums, sizes = documents(80)
    estimate = sequence_interval(sums, sizes, planned=1e6)
    assert math.isnan(estimate.low)
    assert "planned for 1e+06" in estimate.diagnosis


def test_no_spread_is_not_trusted() -> None:
    same = sequence_interval(np.zeros(100), np.full(100, 7))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.trusted
    assert "spread" in same.diagnosis


def test_a_mean_rounded_below_zero_keeps_its_order() -> None:
    sums = np.tile([-1e-6, 2e-7, -3e-7, 4e-7], 20)
    estimate = sequence_interval(sums, np.full(80, 10))
    assert estimate.low < estimate.value < 0 < estimate.high


def test_infinite_positions_make_the_mean_infinite_and_are_counted() -> None:
    sums, sizes = documents()
    estimate = sequence_interval(sums, sizes, infinite=3)
    assert (estimate.value, estimate.low, estimate.high) == (math.inf,) * 3
    assert f"3 of {sizes.sum():,} positions" in estimate.diagnosis


def test_what_cannot_be_is_refused() -> None:
    sums, sizes = documents()
    with pytest.raises(ShapeError, match=r"\(79,\) and \(80,\)"):
        sequence_interval(sums[1:], sizes)
    with pytest.raises(ShapeError, match=r"\(8, 10\)"):
        sequence_interval(sums.reshape(8, 10), sizes.reshape(8, 10))
    for value in (math.nan, math.inf):
        with pytest.raises(NonFiniteError, match=f"document 2 is {value}.*`infinite`"):
            sequence_interval(np.array([1.0, 2.0, value]), np.ones(3))
    for size in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="counted from 0"):
            sequence_interval(np.ones(2), np.array([1.0, size]))
    for planned in (0, -5, math.nan, math.inf):
        with pytest.raises(InputError, match="planned"):
            sequence_interval(sums, sizes, planned=planned)
    with pytest.raises(InputError, match="confidence"):
        sequence_interval(sums, sizes, confidence=95)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "confidence_sequences.py"
    spec = importlib.util.spec_from_file_location("confidence_sequences", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["like models", "long are worse"])
def test_the_simulated_truth_is_the_mean_of_many_documents(
    benchmark: ModuleType, name: str
) -> None:
    population = benchmark.POPULATIONS[name]
    sums, sizes = benchmark.simulate(population, 20_000, np.random.default_rng(5))
    plain = signed_interval(sums, sizes)
    assert abs(plain.value - population.mean) < 4 * plain.stderr


def test_watched_all_the_time_the_sequence_holds_and_the_fixed_interval_does_not(
    benchmark: ModuleType,
) -> None:
    result = benchmark.rates(benchmark.POPULATIONS["like models"], documents=150, runs=150, seed=7)
    # In 150 runs a share of 5 % has a standard error of 1.8 %; the fixed one's is near 20 %.
    assert result["sequence"] <= 0.05 + 1.8e-2
    assert result["fixed"] >= 0.12
    assert 1.5 < result["ratio"] < 2.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["like models", "wide", "heavy tail", "long are worse"])
def test_misses_in_2000_watched_runs(benchmark: ModuleType, name: str) -> None:
    result = benchmark.rates(benchmark.POPULATIONS[name], documents=400, runs=2000, seed=2026)
    assert result["sequence"] <= 0.05
    assert result["fixed"] >= 4 * max(result["sequence"], 0.05)
