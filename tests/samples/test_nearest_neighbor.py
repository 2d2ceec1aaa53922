"""Nearest neighbours against distances by brute force and known divergences, and their promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma

from kullback.distributions.targets import target_of
from kullback.errors import InputError
from kullback.samples.draws import draws_of
from kullback.samples.nearest_neighbor import nearest_neighbors
from kullback.samples.nearest_neighbor.bias import heading_of
from kullback.samples.nearest_neighbor.distances import to_neighbors, within_matched
from kullback.samples.nearest_neighbor.sums import question_of
from kullback.samples.scaling import scaled

KL = target_of("kl")


def _sides(n: int, d: int, seed: int = 0, shift: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), shift + 1.2 * rng.standard_normal((n + 7, d))


def _brute(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own = np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.fill_diagonal(own, np.inf)
    return np.sort(own, 1), np.sort(np.linalg.norm(x[:, None] - y[None], axis=-1), 1)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_distances_are_those_of_brute_force(d: int, k: int) -> None:
    x, y = _sides(60, d)
    found, (own, other) = to_neighbors(x, y, k), _brute(x, y)
    # The same subtractions and one root: rounding only. On the line rows come back sorted.
    np.testing.assert_allclose(np.sort(found.own), np.sort(own[:, k - 1]), rtol=1e-12)
    np.testing.assert_allclose(np.sort(found.other), np.sort(other[:, k - 1]), rtol=1e-12)


@pytest.mark.parametrize("d", [1, 3])
def test_kl_is_the_formula_of_wang_kulkarni_and_verdu(d: int) -> None:
    x, y = _sides(80, d)
    own, other = _brute(x, y)
    n, m = len(x), len(y)
    expected = d * np.mean(np.log(other[:, 2] / own[:, 2])) + math.log(m / (n - 1))
    assert question_of(KL, matched=False).ask(x, y, 3).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_matched_radii_count_what_lies_within(d: int) -> None:
    x, y = _sides(80, d)
    own, other = _brute(x, y)
    radius = np.maximum(own[:, 1], other[:, 1])
    found = within_matched(x, y, 2, 70)
    # A distance equal to the radius is within: it is one of the two that make it.
    close = 1 + 1e-12
    inside_own, inside_other = (
        np.minimum((s <= radius[:, None] * close).sum(1), 70) for s in (own, other)
    )
    np.testing.assert_array_equal(found.count_own, inside_own)
    np.testing.assert_array_equal(found.count_other, inside_other)
    rows = np.arange(len(x))
    ratio = np.log(other[rows, inside_other - 1] / own[rows, inside_own - 1])
    expected = np.mean(d * ratio + digamma(inside_own) - digamma(inside_other))
    expected += math.log(len(y) / (len(x) - 1))
    # SciPy's query keeps the 64 nearest where we kept 70: none of 80 has so many within.
    assert inside_own.max() < 64
    assert inside_other.max() < 64
    assert question_of(KL, matched=True).ask(x, y, 2).value == pytest.approx(expected, rel=1e-10)


def test_a_shared_affine_map_changes_nothing_but_rounding() -> None:
    x, y = _sides(400, 3)
    mix = np.array([[3.0, 0.1, 0.0], [0.0, 1e-3, 0.2], [5.0, 0.0, 40.0]])
    plain = nearest_neighbors(draws_of(x, y), KL)
    mapped = nearest_neighbors(draws_of(x @ mix + 7.0, y @ mix + 7.0), KL)
    # Whitening takes the map off up to a rotation; the covariance's condition is below 1e10.
    assert mapped.value == pytest.approx(plain.value, rel=1e-5)


def test_whitening_makes_the_mean_covariance_the_identity() -> None:
    x, y = _sides(300, 4)
    x[:, 1] += 3 * x[:, 0]
    found = scaled(x, y, "whiten")
    mean = 0.5 * (np.cov(found.x.T) + np.cov(found.y.T))
    np.testing.assert_allclose(mean, np.eye(4), atol=1e-10)  # condition of about 1e3
    before, after = (np.linalg.slogdet(np.cov(side.T))[1] for side in (x, found.x))
    assert before - after == pytest.approx(2 * found.log_unit, rel=1e-9)


GAUSSIAN = {  # N(0, I) against N(1, I) in the plane, by their closed forms
    "kl": 1.0,
    "reverse_kl": 1.0,
    "jeffreys": 2.0,
    "squared_hellinger": -math.expm1(-0.25),
    "hellinger": math.sqrt(-math.expm1(-0.25)),
    "bhattacharyya": 0.25,
    "renyi": 0.5,
    "cross_entropy": math.log(2 * math.pi) + 2.0,
}


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussians_in_the_plane(name: str) -> None:
    rng = np.random.default_rng(3)
    pair = draws_of(rng.standard_normal((3000, 2)), 1 + rng.standard_normal((3000, 2)))
    found = nearest_neighbors(pair, target_of(name, alpha_order=0.5 if name == "renyi" else None))
    # Four standard errors: one of eight such seeds in 2,000 misses.
    assert abs(found.value - GAUSSIAN[name]) < 4 * found.stderr
    assert found.stderr < 0.1 * max(1.0, GAUSSIAN[name])


def test_js_by_the_mixture_lies_in_its_range_and_near_the_truth() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 6000), rng.normal(2, 1, 6000)
    found = nearest_neighbors(draws_of(x, y), target_of("js"))
    t = np.linspace(-9, 11, 20001)
    p, q = (np.exp(-0.5 * (t - m) ** 2) / math.sqrt(2 * math.pi) for m in (0, 2))
    truth = np.trapezoid(0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))), t)
    assert found.low < truth < found.high < math.log(2)
    assert abs(found.value - truth) < 4 * found.stderr


def test_the_order_of_the_rows_tells_nothing() -> None:
    rng = np.random.default_rng(1)
    x, y = np.sort(rng.normal(0, 1, 2000)), np.sort(rng.normal(0.5, 1, 2000))
    found = nearest_neighbors(draws_of(x, y), target_of("js"))
    assert abs(found.value - 0.0302) < 4 * found.stderr  # by quadrature


def test_the_step_is_from_the_parts_to_the_whole() -> None:
    x, y = _sides(1000, 2)
    question = question_of(KL, matched=False)
    found = heading_of(question, x, y, 4)
    parts = [question.ask(x[i::10], y[i::10], 4).value for i in range(10)]
    assert found.value - found.step == pytest.approx(np.mean(parts))
    assert found.error >= np.std(parts, ddof=1) / math.sqrt(10) * (1 - 1e-12)


def test_a_far_pair_is_flagged_and_bounded_from_below() -> None:
    rng = np.random.default_rng(0)
    found = nearest_neighbors(draws_of(rng.normal(0, 1, 1000), rng.normal(4, 1, 1000)), KL)
    assert not found.trusted
    assert "too large for 1000 draws" in found.diagnosis
    assert 0 < found.low < 8
    assert found.high == math.inf


def test_many_columns_are_flagged() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3000, 12)), 0.5 * rng.standard_normal((3000, 12))
    found = nearest_neighbors(draws_of(x, y), KL)
    truth = 12 * (0.5 * (4 - 1) - math.log(2))
    assert not found.trusted
    assert found.low < truth


def test_a_heavier_tail_of_p_is_flagged() -> None:
    rng = np.random.default_rng(0)
    found = nearest_neighbors(draws_of(rng.standard_t(3, 10_000), rng.normal(0, 2, 10_000)), KL)
    assert not found.trusted
    assert "farther out than all" in found.diagnosis


def test_counts_are_refused_with_the_methods_that_take_them() -> None:
    rng = np.random.default_rng(0)
    pair = draws_of(rng.poisson(4.0, 500), rng.poisson(5.0, 500))
    with pytest.raises(InputError, match=r"lying on them exactly.*plug-in"):
        nearest_neighbors(pair, KL)


def test_rounded_values_are_flagged() -> None:
    rng = np.random.default_rng(0)
    pair = draws_of(*(rng.normal(0, 1, 1000).round(3) for _ in range(2)))
    found = nearest_neighbors(pair, KL)
    assert not found.trusted
    assert "lie on others exactly" in found.diagnosis


def test_a_few_ties_are_no_reason_for_doubt() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (2, 20_000)).astype(np.float32)
    assert nearest_neighbors(draws_of(x, y + np.float32(0.3)), KL).trusted


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (lambda x: np.c_[x, np.ones(len(x))], "constant"),
        (lambda x: np.c_[x, 2 * x], "depend on each other linearly"),
    ],
)
def test_a_side_without_a_density_is_refused(columns, match: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (2, 500))
    with pytest.raises(InputError, match=match):
        nearest_neighbors(draws_of(columns(x), columns(y)), KL)


def test_what_neighbours_cannot_answer_names_who_can() -> None:
    x, y = _sides(300, 2)
    for name in ("total_variation", "chi_squared"):
        with pytest.raises(InputError, match="classifier"):
            nearest_neighbors(draws_of(x, y), target_of(name))
    with pytest.raises(InputError, match="too few"):
        nearest_neighbors(draws_of(x[:30], y[:30]), KL)
    with pytest.raises(InputError, match="k=0"):
        nearest_neighbors(draws_of(x, y), KL, k=0)
    with pytest.raises(InputError, match="labels"):
        nearest_neighbors(draws_of([["a", 1.0]] * 20, [["b", 2.0]] * 20), KL)


def _coverage(n: int, d: int, seeds: int) -> tuple[float, float]:
    """The share of unflagged intervals that hold KL(N(0, I)‖N(½, 1.2 I)), and of flagged ones."""
    truth = 0.5 * d * (math.log(1.2) + 1.25 / 1.2 - 1)
    held, flagged = [], 0
    for seed in range(seeds):
        rng = np.random.default_rng([seed, n, d])
        x = rng.standard_normal((n, d))
        y = 0.5 + math.sqrt(1.2) * rng.standard_normal((n, d))
        found = nearest_neighbors(draws_of(x, y), KL, seed=seed)
        held += [found.low <= truth <= found.high] if found.trusted else []
        flagged += not found.trusted
    return float(np.mean(held)), flagged / seeds


def test_intervals_cover() -> None:
    covered, flagged = _coverage(500, 1, 60)
    # Of 60 at 95 %, 52 or fewer has a probability of 1 %.
    assert covered > 52 / 60
    assert flagged < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 5])
def test_intervals_cover_over_two_hundred_seeds(d: int) -> None:
    covered, flagged = _coverage(1000, d, 200)
    # 93 % less two standard errors of the simulation.
    assert covered > 0.93 - 2 * math.sqrt(0.95 * 0.05 / 200)
    assert flagged < 0.2
