"""Which method the data ask for, and what is said where two of them differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.distributions.targets import target_of
from kullback.results import Estimate
from kullback.samples.auto import _agreed, auto
from kullback.samples.draws import draws_of

KL = target_of("kl")


def _one(value: float, stderr: float, trusted: bool = True, method: str = "one") -> Estimate[float]:
    low, high = value - 2 * stderr, value + 2 * stderr
    return Estimate(value, low, high, stderr=stderr, trusted=trusted, method=method)


def test_two_that_agree_leave_the_first_as_it_is() -> None:
    first = _one(1.0, 0.1)
    assert _agreed(first, _one(1.2, 0.1)) is first


@pytest.mark.parametrize("other", [0.3, 1.9])
def test_two_that_differ_give_an_interval_that_holds_both(other: float) -> None:
    found = _agreed(_one(1.0, 0.1), _one(other, 0.1, method="plug-in"))
    assert found.value == 1.0
    assert found.low == min(0.8, other)
    assert found.high == max(1.2, other)
    assert f"plug-in says {other}" in found.diagnosis


def test_one_that_is_in_doubt_leaves_the_word_to_the_other() -> None:
    sure, unsure = _one(1.0, 0.1), _one(9.0, 0.1, trusted=False)
    assert _agreed(sure, unsure) is sure
    assert _agreed(unsure, sure) is sure
    assert _agreed(unsure, _one(2.0, 0.1, trusted=False)) is unsure


def test_labels_are_counted() -> None:
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    x, y = (rng.choice(["a", "b", "c"], 1500, p=w) for w in (p, q))
    found = auto(draws_of(x, y), KL)
    assert found.method.startswith("plug-in")
    assert abs(found.value - p @ np.log(p / q)) < 4 * float(found.stderr)


def test_several_columns_of_labels_are_counted_together() -> None:
    """Each column alone is a fair coin on both sides; only the pair of them tells P from Q."""
    rng = np.random.default_rng(1)
    first = rng.choice(["0", "1"], (2, 2000))
    same = np.where(rng.random(2000) < 0.9, first[0], np.where(first[0] == "0", "1", "0"))
    other = rng.choice(["0", "1"], 2000)
    pair = draws_of(np.stack([first[0], same], 1), np.stack([first[1], other], 1))
    truth = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    found = auto(pair, KL)
    assert found.low < truth < found.high


def test_counts() -> None:
    """Two Poisson laws: KL = λ log(λ/μ) − λ + μ."""
    rng = np.random.default_rng(2)
    found = auto(draws_of(rng.poisson(3, 800), rng.poisson(4, 800)), KL)
    assert found.trusted
    assert found.low < 3 * math.log(3 / 4) + 1 < found.high


def test_numbers_that_are_codes_are_counted_and_not_ordered() -> None:
    """Chances that go up and down from one code to the next."""
    rng = np.random.default_rng(3)
    p = np.where(np.arange(12) % 2, 1.0, 3.0) / 24
    x, y = rng.choice(12, 2000, p=p), rng.choice(12, 2000)
    found = auto(draws_of(x, y), KL)
    assert found.low < p @ np.log(12 * p) < found.high


@pytest.mark.slow
def test_rounded_numbers() -> None:
    """Rounding to a tenth changes KL by less than a thousandth here (0.1112 unrounded)."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 1, 1500).round(1), rng.normal(0.5, 1.2, 1500).round(1)
    found = auto(draws_of(x, y), KL)
    assert found.trusted
    assert found.low < 0.1112 < found.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_and_the_same_value(value: float) -> None:
    same = auto(draws_of(np.ones(60), np.ones(60)), KL)
    assert same.value == pytest.approx(0.0, abs=1e-9)
    assert same.trusted
    apart = auto(draws_of(np.full(60, value), np.full(60, value + 2)), KL)
    assert not apart.trusted
    assert apart.high == math.inf


def test_rows_that_were_copied_do_not_pass_for_draws() -> None:
    """Each of 200 draws stands twice: every one looks like an event that the other side lacks."""
    rng = np.random.default_rng(5)
    x, y = (np.repeat(rng.normal(size=(200, 2)), 2, axis=0) for _ in range(2))
    found = auto(draws_of(x, y), KL)
    assert not found.trusted
    assert "copies" in found.diagnosis
    assert found.low == 0
