"""Permutation tests: statistics against plain sums, levels and power by simulation."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from kullback.errors import InputError, ShapeError
from kullback.samples.draws import draws_of
from kullback.samples.energy import energy_distance
from kullback.samples.same_distribution import SameDistribution, same_distribution
from kullback.samples.same_distribution.permuted import (
    dealt,
    energy_on_line,
    largest,
    mean_ranks,
    p_value,
    quadratic,
)

METHODS = ("energy", "mmd", "classifier", "auto")
Draw = Callable[[np.random.Generator, int], object]


def test_statistics_are_plain_sums() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=19).round(1)
    sides = dealt(8, 11, 30, rng)
    assert sides.shape == (19, 31)
    assert (sides.sum(0) == 8).all()
    assert sides[:, 0].tolist() == [1] * 8 + [0] * 11
    distances = np.abs(np.subtract.outer(values, values))
    on_line, by_matrix = energy_on_line(values, sides), quadratic(-distances, sides)
    # Sums of 361 distances of order 1.
    np.testing.assert_allclose(on_line, by_matrix, atol=1e-14)
    for column, found in zip(sides.T, on_line, strict=True):
        x, y = values[column == 1], values[column == 0]
        means = [np.abs(np.subtract.outer(a, b)).mean() for a, b in ((x, y), (x, x), (y, y))]
        assert found == pytest.approx(2 * means[0] - means[1] - means[2], abs=1e-14)
        above = np.subtract.outer(x, y)
        area = ((above > 0) + 0.5 * (above == 0)).mean()
        assert mean_ranks(values, column[:, None])[0] == pytest.approx(area, abs=1e-14)


def test_p_values_count_ties_against_rejection() -> None:
    assert p_value(np.array([2.0, 1.0, 2.0, 3.0])) == 0.75
    assert p_value(np.array([4.0, 1.0, 2.0, 3.0])) == 0.25
    assert p_value(np.array([1.0, 1.0 + 1e-15, 1.0 - 1e-15, 0.0])) == 0.75


def test_the_level_is_exact_over_all_dealings() -> None:
    """Every dealing of 3 and 4 in turn is what was seen: no more than α·35 have p ≤ α."""
    values = np.array([0.3, 0.3, 1.1, 2.0, 2.0, 2.7, 5.0])
    sides = np.zeros((7, 35))
    for column, chosen in enumerate(itertools.combinations(range(7), 3)):
        sides[list(chosen), column] = 1
    statistics = largest(
        [
            energy_on_line(values, sides),
            quadratic(np.exp(-(np.subtract.outer(values, values) ** 2)), sides),
        ]
    )
    values_of_p = []
    for first in range(35):
        others = np.delete(statistics, first)
        values_of_p.append(p_value(np.concatenate([statistics[[first]], others])))
    for level in np.arange(1, 36) / 35:
        assert (np.array(values_of_p) <= level + 1e-12).mean() <= level + 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_what_is_the_same_everywhere_is_never_told_apart(method: str) -> None:
    found = same_distribution(np.ones(20), np.ones(30), method=method, permutations=39)
    assert found.p_value == 1


def rejections(method: str, draw: Draw, other: Draw, repeats: int, n: int, m: int) -> int:
    """How often p ≤ 0.05, with 39 permutations."""
    count = 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        x, y = draw(rng, n), other(rng, m)
        count += same_distribution(x, y, method=method, permutations=39, seed=seed).p_value <= 0.05
    return count


def mixed(share: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> list:
        labels = np.where(rng.random(n) < share, "yes", "no")
        return [
            [number, str(label)] for number, label in zip(rng.normal(size=n), labels, strict=True)
        ]

    return draw


def normal(shift: float = 0.0, scale: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(shift, scale, size=(n, 2))


def two_humps(rng: np.random.Generator, n: int) -> np.ndarray:
    signs = rng.choice([-1.0, 1.0], size=(n, 2))
    return 0.9 * signs + np.sqrt(1 - 0.9**2) * rng.normal(size=(n, 2))


@pytest.mark.parametrize("method", METHODS)
def test_the_level_holds(method: str) -> None:
    draw = lambda rng, n: rng.standard_cauchy((n, 2)).round(1)  # noqa: E731
    # 5 % of 100; 12 or more has a probability of 1 in 230.
    assert rejections(method, draw, draw, 100, 15, 25) < 12


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("draw", [normal(), mixed(0.3)], ids=["numbers", "mixed"])
def test_the_level_holds_over_a_thousand(method: str, draw: Draw) -> None:
    # 50 expected; its standard error is 6.9.
    assert rejections(method, draw, draw, 1000, 20, 33) <= 50 + 3 * 7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("draw", "other"),
    [
        pytest.param(normal(), normal(0.7), id="shift"),
        pytest.param(normal(), normal(0, 2.0), id="scale"),
        pytest.param(normal(), two_humps, id="mixture"),
        pytest.param(
            lambda rng, n: rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
            lambda rng, n: rng.choice(["a", "b", "c"], n, p=[0.2, 0.3, 0.5]),
            id="labels",
        ),
        pytest.param(mixed(0.25), mixed(0.75), id="mixed"),
    ],
)
def test_differences_are_found(method: str, draw: Draw, other: Draw) -> None:
    if method == "energy" and other is two_humps:
        pytest.skip("equal means and variances are hard to see in distances")
    # The classifier is tested on half of the draws.
    assert rejections(method, draw, other, 8, 150, 220) >= (5 if method == "classifier" else 7)


def test_too_many_draws_for_a_matrix() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 2)), rng.normal(0.3, size=(4000, 2))
    found = same_distribution(x, y, method="energy", permutations=99)
    assert found.p_value == 0.01
    assert "400 and 2,600 of the draws" in found.diagnosis
    assert (found.n, found.m) == (400, 4000)
    line = same_distribution(x[:, 0], y[:, 0], method="energy", permutations=99)
    assert line.diagnosis == ""
    # With every draw, and the diagonal counted: smaller by the mean distances over n and m.
    spread = np.concatenate([x[:, 0], y[:, 0]]).std()
    assert line.statistic == pytest.approx(
        energy_distance(draws_of(x[:, 0], y[:, 0])).value / spread, abs=2 / 400 * 1.2
    )


def test_the_seed_decides() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 60))
    first, again = (same_distribution(x, y, seed=5) for _ in range(2))
    assert first == again


def test_in_words() -> None:
    text = str(SameDistribution(0.001, 0.9, "energy distance", 999, 1200, 80, "of 80 draws"))
    assert text == (
        "1,200 draws of P and 80 of Q do not look as if they came from one distribution: "
        "p = 0.001 (energy distance; of 80 draws)"
    )


def test_bad_options_are_refused() -> None:
    x = np.arange(12.0)
    with pytest.raises(InputError, match="'ks'"):
        same_distribution(x, x, method="ks")
    with pytest.raises(InputError, match="permutations=5"):
        same_distribution(x, x, permutations=5)
    with pytest.raises(ShapeError, match="columns"):
        same_distribution(x, np.ones((12, 2)))
