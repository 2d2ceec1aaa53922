"""Learnt log ratios against true ones, the calibration of their sum, and what is read off it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from kullback.distributions.targets import target_of
from kullback.samples.draws import draws_of
from kullback.samples.log_ratio.features import quadratic_design, standardized
from kullback.samples.log_ratio.fitting import log_loss, logistic, worse
from kullback.samples.log_ratio.functional import Mixture
from kullback.samples.log_ratio.models import MODELS, model_of
from kullback.samples.log_ratio.out_of_fold import Predicted, out_of_fold
from kullback.samples.log_ratio.stacking import stacked
from kullback.samples.table import table_of

Ratio = Callable[[np.ndarray], np.ndarray]


def _gaussian_ratio(x: np.ndarray) -> np.ndarray:
    """log N(x; 0, 1) − log N(x; ½, 1.2²)."""
    return np.asarray(norm.logpdf(x) - norm.logpdf(x, 0.5, 1.2))


def _mixture_ratio(x: np.ndarray) -> np.ndarray:
    """Two bumps at ±2 against one wide bump."""
    two = np.logaddexp(norm.logpdf(x, -2, 1), norm.logpdf(x, 2, 1)) - math.log(2)
    return np.asarray(two - norm.logpdf(x, 0, 2))


def _mixture_draws(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(2.0 * rng.choice([-1, 1], n), 1), rng.normal(0, 2, n)


@pytest.mark.parametrize("m", [4000, 1000])
def test_the_quadratic_model_recovers_the_ratio_of_gaussians(m: int) -> None:
    """Of which the coefficients are known, within the errors of maximum likelihood."""
    rng = np.random.default_rng(1)
    pair = draws_of(rng.normal(0, 1, 4000), rng.normal(0.5, 1.2, m))
    table = table_of(pair, seed=0)
    p, q = table.p.sum(1), table.q.sum(1)
    x = table.rows.numbers[:, 0]
    ratio = logistic(quadratic_design(table.rows, p + q), p, q, 1e-3)
    found = np.polyfit(x, ratio, 2)
    precision, mean = 1 / 1.2**2, 0.5
    expected = np.array([(precision - 1) / 2, -precision * mean, 0.0])
    expected[2] = precision * mean**2 / 2 + math.log(1.2)
    np.testing.assert_allclose(np.polyval(expected, x), _gaussian_ratio(x), atol=1e-12)
    # The weights of the two sides come in only through the intercept, which is put back.
    design = np.stack([x**2, x, np.ones_like(x)], 1)
    share = expit(np.polyval(expected, x) + math.log(len(pair.p) / m))
    information = (design * ((p + q) * share * (1 - share))[:, None]).T @ design
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert (np.abs(found - expected) < 4 * errors).all()


@pytest.mark.parametrize("name", ["splines", "kernel", "trees"])
def test_flexible_models_come_near_the_ratio_of_a_mixture(name: str) -> None:
    """Where the draws are: in root mean square, against a spread of the true ratio of 0.6."""
    rng = np.random.default_rng(0)
    pair = draws_of(*_mixture_draws(rng, 4000))
    table = table_of(pair, seed=0)
    ratio = model_of(name, table, 0)(table.p.sum(1), table.q.sum(1))
    truth = _mixture_ratio(table.rows.numbers[:, 0])
    inside = np.abs(table.rows.numbers[:, 0]) < 5
    error = math.sqrt(np.mean((ratio - truth)[inside] ** 2))
    # Some ten free coefficients from 8,000 draws cost √(4·10/8000) = 0.07; steps cost more.
    assert error < (0.25 if name == "trees" else 0.14)
    assert np.std(truth[inside]) > 0.5


def test_models_that_do_worse_are_left_out() -> None:
    """The ratio of the mixture has no linear or quadratic trend in common with its bumps."""
    rng = np.random.default_rng(0)
    pair = draws_of(*_mixture_draws(rng, 2500))
    found = out_of_fold(table_of(pair, 0), ("quadratic", "splines"), 0)
    assert found.names == ("splines",)


def test_log_ratios_are_of_draws_that_were_not_learnt_from() -> None:
    """Noise in twenty columns: learnt by heart it looks like a divergence, held out like none."""
    rng = np.random.default_rng(2)
    pair = draws_of(rng.normal(size=(150, 20)), rng.normal(size=(150, 20)))
    table = table_of(pair, 0)
    found = out_of_fold(table, ("quadratic",), 0)
    weights = found.weight_p, found.weight_q
    held_out = stacked(found.full, *weights)
    by_heart = model_of("quadratic", table, 0)(table.p.sum(1), table.q.sum(1))
    record = target_of("kl").record
    # At chance to within 1/n; 230 coefficients from 300 draws separate them all but perfectly.
    assert Mixture.of(held_out, weights).value(record) < 3 / 150
    naive = Mixture.of((by_heart[:150], by_heart[150:]), weights)
    assert naive.value(record) > 1


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_stacking_undoes_what_is_exaggerated_shrunk_or_shifted(factor: float, shift: float) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, 3000), rng.normal(0.5, 1.2, 2000)
    weights = np.ones(3000), np.ones(2000)
    models = [np.stack([factor * _gaussian_ratio(s) + shift], 1) for s in (x, y)]
    plain = [np.stack([_gaussian_ratio(s)], 1) for s in (x, y)]
    found = stacked(Predicted(*models), *weights)
    # One and the same family a·g + b: its maximum does not depend on how it is written.
    for ours, theirs in zip(found, stacked(Predicted(*plain), *weights), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    slope = np.polyfit(_gaussian_ratio(x), found[0], 1)[0]
    # The slope's error is about 1/√(n·var g·¼) with var g = 0.23 and n = 2500.
    assert abs(slope - 1) < 4 / math.sqrt(2500 * 0.23 / 4)


def test_stacking_solves_its_score_equations() -> None:
    """Σ over P of (1 − D)·φ = Σ over Q of D·φ, each side weighing 1, for φ = 1 and each model."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 1, 900), rng.normal(0.5, 1.2, 500)
    weight_p, weight_q = rng.integers(1, 5, 900) / 1, rng.integers(1, 5, 500) / 1
    p, q = (np.stack([_gaussian_ratio(s) + 0.3 * np.sin(s), -s], 1) for s in (x, y))
    of_p, of_q = stacked(Predicted(p, q), weight_p, weight_q)
    share_p, share_q = weight_p / weight_p.sum(), weight_q / weight_q.sum()
    for column_p, column_q in [(np.ones(900), np.ones(500)), *zip(p.T, q.T, strict=True)]:
        left = (share_p * expit(-of_p)) @ column_p
        right = (share_q * expit(of_q)) @ column_q
        # Where the optimiser stops, the loss's slope is about the root of its rounding error.
        assert left == pytest.approx(right, abs=1e-5)


def test_a_model_that_points_the_wrong_way_gets_no_weight() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1, 500), rng.normal(1, 1, 500)
    found = stacked(Predicted(x[:, None], y[:, None]), np.ones(500), np.ones(500))
    np.testing.assert_allclose(np.concatenate(found), 0.0, atol=1e-5)


NAMES = ("kl", "reverse_kl", "js", "squared_hellinger", "total_variation")


def _truth(name: str) -> float:
    def term(x: float) -> float:
        p, q = norm.pdf(x), norm.pdf(x, 0.5, 1.2)
        m = (p + q) / 2
        terms = {
            "kl": p * math.log(p / q),
            "reverse_kl": q * math.log(q / p),
            "js": (p * math.log(p / m) + q * math.log(q / m)) / 2,
            "squared_hellinger": (math.sqrt(p) - math.sqrt(q)) ** 2 / 2,
            "total_variation": abs(p - q) / 2,
        }
        return float(terms[name])

    return quad(term, -12, 12, limit=200)[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_value_at_the_true_ratio_is_the_divergence(name: str) -> None:
    """Within four standard errors of the mean of 200 samples, n ≠ m."""
    rng = np.random.default_rng(6)
    record, truth = target_of(name).record, _truth(name)
    n, m, values = 400, 800, []
    for _ in range(200):
        x, y = rng.normal(0, 1, n), rng.normal(0.5, 1.2, m)
        sides = _gaussian_ratio(x), _gaussian_ratio(y)
        values.append(Mixture.of(sides, (np.ones(n), np.ones(m))).value(record))
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / math.sqrt(200)


@pytest.mark.parametrize("name", NAMES)
def test_variances_are_those_of_the_influence(name: str) -> None:
    """f′(u) under P and f(u) − u·f′(u) under Q with u = p/q, written out by hand."""
    influences: dict[str, tuple[Ratio, Ratio]] = {
        "kl": (lambda g: g, lambda g: -np.exp(g)),
        "reverse_kl": (lambda g: -np.exp(-g), lambda g: -g),
        "js": (lambda g: 0.5 * np.log(expit(g)), lambda g: 0.5 * np.log(expit(-g))),
        "squared_hellinger": (lambda g: -0.5 * np.exp(-g / 2), lambda g: -0.5 * np.exp(g / 2)),
        "total_variation": (lambda g: 0.5 * np.sign(g), lambda g: -0.5 * np.sign(g)),
    }
    rng = np.random.default_rng(7)
    x, y = rng.normal(0, 1, 100_000), rng.normal(0.5, 1.2, 100_000)
    ones = np.ones(100_000)
    mixture = Mixture.of((_gaussian_ratio(x), _gaussian_ratio(y)), (ones, ones))
    found = mixture.variances(target_of(name).record)
    grid = np.linspace(-9, 9, 20_001)
    for influence, variance, log_density in zip(
        influences[name],
        found,
        (norm.logpdf(grid), norm.logpdf(grid, 0.5, 1.2)),
        strict=True,
    ):
        mass = np.exp(log_density) * (grid[1] - grid[0])
        at = influence(_gaussian_ratio(grid))
        first, second = float(mass @ at), float(mass @ at**2)
        # A variance from 100,000 draws of what has a kurtosis below 30: 2 % is four errors.
        assert variance == pytest.approx(second - first**2, rel=0.02)


def test_infinite_ratios_have_no_error_that_could_be_told() -> None:
    mixture = Mixture.of((np.array([900.0, 1.0]), np.array([-2.0, 0.0])), (np.ones(2), np.ones(2)))
    assert mixture.variances(target_of("kl").record)[1] == math.inf


def test_log_loss_and_its_comparison() -> None:
    p, q = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    ratio = np.array([math.log(1.5), math.log(0.5)])
    by_hand = -(0.75 * math.log(0.6) + 0.25 * math.log(1 / 3)) / 2
    by_hand -= (0.5 * math.log(0.4) + 0.5 * math.log(2 / 3)) / 2
    assert log_loss(ratio, p, q) == pytest.approx(by_hand, rel=1e-14)
    assert log_loss(ratio, 7 * p, q) == pytest.approx(by_hand, rel=1e-14)
    many = 1000 * p, 1000 * q
    assert worse(np.zeros(2), ratio, *many, 2.0)
    assert not worse(np.zeros(2), ratio, p, q, 2.0)
    assert not worse(ratio, ratio, *many, 2.0)


def test_a_column_without_spread_says_nothing() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(0, 1, 200), rng.normal(1, 1, 200)
    still = [draws_of(np.stack([s, np.full(200, 7.0)], 1), np.zeros((10, 2))).p for s in (x, y)]
    for side in still:
        z = standardized(side, np.ones(200))
        np.testing.assert_array_equal(z[:, 1], np.zeros(200))
    assert quadratic_design(still[0], np.ones(200)).shape == (200, 2)


def test_every_model_has_a_name_that_is_one_of_the_door() -> None:
    from kullback.samples import METHODS

    assert set(MODELS) < set(METHODS)
