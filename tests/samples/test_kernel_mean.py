"""The maximum mean discrepancy: sums against loops over all pairs, intervals against Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.errors import InputError
from kullback.samples.draws import draws_of
from kullback.samples.kernel_mean import mmd


def truth(shift: float, scale: float, width: float) -> float:
    """MMD² of N(0, 1) and N(shift, scale²): means of the kernel over normal differences."""

    def mean(gap: float, variance: float) -> float:
        total = width**2 + variance
        return width / math.sqrt(total) * math.exp(-(gap**2) / (2 * total))

    return mean(0, 2) + mean(0, 2 * scale**2) - 2 * mean(shift, 1 + scale**2)


def test_sums_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=(15, 2))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * 0.7**2))

    within_x = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    within_y = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    across = [kernel(a, b) for a in x for b in y]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * np.mean(across)
    # Means of about a hundred terms of order 1.
    assert mmd(draws_of(x, y), bandwidth=0.7).value == pytest.approx(expected, abs=1e-14)


def test_blocks_leave_nothing_out() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=1100), rng.normal(size=700) + 0.2
    k = [np.exp(-(np.subtract.outer(a, b) ** 2) / 2) for a, b in ((x, x), (y, y), (x, y))]
    n, m = len(x), len(y)
    expected = (k[0].sum() - n) / n / (n - 1) + (k[1].sum() - m) / m / (m - 1) - 2 * k[2].mean()
    found = mmd(draws_of(x, y), bandwidth=1)
    assert found.value == pytest.approx(expected, abs=1e-13)
    assert found.evaluations == n + m


def test_labels_are_a_distance_of_one_apart() -> None:
    x, y = ["a"] * 6 + ["b"] * 6, ["a"] * 9 + ["c"] * 3
    other = math.exp(-0.5)

    def within(counts: list[int]) -> float:
        equal = sum(c * (c - 1) for c in counts) / (12 * 11)
        return equal + (1 - equal) * other

    equal = 6 * 9 / 144
    expected = within([6, 6]) + within([9, 3]) - 2 * (equal + (1 - equal) * other)
    assert mmd(draws_of(x, y), bandwidth=1).value == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.1, 1.0), (0.5, 1.0), (0.0, 1.5)])
def test_intervals_cover(shift: float, scale: float) -> None:
    rng = np.random.default_rng(2)
    misses = below = 0
    for _ in range(100):
        x, y = rng.normal(size=150), rng.normal(shift, scale, size=200)
        found = mmd(draws_of(x, y), bandwidth=1.0)
        misses += not found.low <= truth(shift, scale, 1.0) <= found.high
        below += found.value < truth(shift, scale, 1.0)
    assert misses <= 11  # more than 5 % of 100 by 2.8 standard errors
    assert below >= 30  # a skewed estimate without bias lies below more often, not less


def test_near_zero_it_says_so() -> None:
    rng = np.random.default_rng(3)
    same = mmd(draws_of(*rng.normal(size=(2, 300))))
    assert same.low < 0 < same.high
    assert "not excluded" in same.diagnosis
    apart = mmd(draws_of(rng.normal(size=300), rng.normal(2, size=300)))
    assert apart.low > 0
    assert apart.diagnosis == ""


def test_the_median_is_that_of_both_sides() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=100), rng.normal(3, size=100)
    both = np.concatenate([x, y])
    median = np.median(np.abs(np.subtract.outer(both, both))[np.triu_indices(200, 1)])
    # Draws are taken in another order for the median, whose square is rooted.
    expected = mmd(draws_of(x, y), bandwidth=float(median)).value
    assert mmd(draws_of(x, y)).value == pytest.approx(expected, rel=1e-9)


def test_widths_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="bandwidth=0"):
        mmd(draws_of(np.arange(10), np.arange(10)), bandwidth=0)
    with pytest.raises(InputError, match="half of the draws"):
        mmd(draws_of(np.zeros(10), np.zeros(10)))
