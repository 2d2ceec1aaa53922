"""The energy distance: sums against loops over all pairs, intervals against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.samples.draws import draws_of
from kullback.samples.energy import energy_distance


def over_pairs(x: np.ndarray, y: np.ndarray) -> float:
    n, m = len(x), len(y)
    across = np.mean([np.linalg.norm(a - b) for a in x for b in y])
    within_x = sum(np.linalg.norm(a - b) for a in x for b in x) / n / (n - 1)
    within_y = sum(np.linalg.norm(a - b) for a in y for b in y) / m / (m - 1)
    return float(2 * across - within_x - within_y)


def mean_distance(gap: float, scale: float) -> float:
    """E|Z| for Z of N(gap, scale²)."""
    z = gap / scale
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return scale * (2 * density + z * math.erf(z / math.sqrt(2)))


@pytest.mark.parametrize("columns", [1, 3])
def test_sums_over_all_pairs(columns: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, columns)).round(1), rng.normal(size=(21, columns)).round(1)
    found = energy_distance(draws_of(x, y))
    # A thousand distances of order 1.
    assert found.value == pytest.approx(over_pairs(x, y), abs=1e-13)


def test_far_from_zero_no_digits_are_lost() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 100, 50), rng.integers(0, 120, 60)
    near, far = energy_distance(draws_of(x, y)), energy_distance(draws_of(x + 2**40, y + 2**40))
    assert far.value == pytest.approx(near.value, rel=1e-12)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.1, 1.0), (0.5, 1.0), (0.0, 1.5)])
def test_intervals_cover(shift: float, scale: float) -> None:
    rng = np.random.default_rng(2)
    both = mean_distance(shift, math.sqrt(1 + scale**2))
    truth = 2 * both - (1 + scale) * mean_distance(0, math.sqrt(2))
    misses = 0
    for _ in range(200):
        x, y = rng.normal(size=300), rng.normal(shift, scale, size=200)
        found = energy_distance(draws_of(x, y))
        misses += not found.low <= truth <= found.high
    assert misses <= 19  # more has a probability below 1 in 200 at 95 %


def test_labels_and_numbers_together() -> None:
    x = [[0.0, "a"], [1.0, "b"]] * 6
    y = [[0.0, "a"], [1.0, "a"]] * 6
    a = np.array([[0, 0], [1, math.sqrt(0.5)]] * 6)
    b = np.array([[0, 0], [1, 0]] * 6)
    points = [np.column_stack([s, np.where(s[:, 1] > 0, 0, math.sqrt(0.5))]) for s in (a, b)]
    assert energy_distance(draws_of(x, y)).value == pytest.approx(over_pairs(*points), abs=1e-14)


def test_tails_that_make_it_infinite_are_told() -> None:
    """Of cubes of Cauchy draws at two scales F − G falls as t^(−1/3): no integral of its square."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_cauchy((2, 1000, 1)) ** 3
    found = energy_distance(draws_of(x, 50 * y))
    assert not found.trusted
    assert "tail" in found.diagnosis
    assert found.high == math.inf
    assert 0 < found.low <= found.value
    plane = energy_distance(draws_of(np.hstack([x, x]), 50 * np.hstack([y, y])))
    assert not plane.trusted
    assert plane.low == 0


def test_tails_that_do_no_harm_are_not() -> None:
    """Of Cauchy draws a distance apart, a distance has no mean and 2∫(F − G)² is finite."""
    rng = np.random.default_rng(5)
    t = np.linspace(-1e4, 1e4, 2_000_001)
    gap = (np.arctan(t) - np.arctan(t - 3)) / math.pi
    truth = 2 * float(np.trapezoid(gap**2, t))  # the tails hold 1e-12 of it
    misses = 0
    for _ in range(100):
        x, y = rng.standard_cauchy(300), rng.standard_cauchy(300) + 3
        found = energy_distance(draws_of(x, y))
        misses += found.trusted and not found.low <= truth <= found.high
    assert misses <= 11


def test_near_zero_it_says_so() -> None:
    rng = np.random.default_rng(4)
    same = energy_distance(draws_of(*rng.normal(size=(2, 300))))
    assert same.trusted
    assert same.low < 0 < same.high
    assert "not excluded" in same.diagnosis
