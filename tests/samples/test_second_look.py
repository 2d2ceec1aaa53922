"""Structure that smooth classifiers miss is seen by neighbours, and clean pairs are let pass."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback import estimate


def checkerboard(rng: np.random.Generator, n: int) -> np.ndarray:
    u = rng.random((4 * n, 2))
    return u[(u * 8).astype(int).sum(1) % 2 == 0][:n]


def test_a_checkerboard_is_not_taken_for_uniform() -> None:
    rng = np.random.default_rng(0)
    found = estimate(checkerboard(rng, 1000), rng.random((1000, 2)))
    assert not found.trusted
    assert "too fine" in found.diagnosis
    # The truth is log 2; neighbours fall short of it, and classifiers say a hundredth.
    assert 0.4 < found.value < 0.75
    assert found.low < math.log(2) < found.high


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_clean_pairs_pass(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = estimate(rng.normal(size=(800, d)), 0.3 + rng.normal(size=(800, d)))
    assert found.trusted
    assert found.low < 0.045 * d < found.high


def test_a_column_that_repeats_another_changes_little() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(800, 1)), 0.4 + rng.normal(size=(800, 1))
    found = estimate(np.repeat(x, 2, axis=1), np.repeat(y, 2, axis=1))
    assert found.trusted
    assert found.low < 0.08 < found.high


def test_an_atom_that_q_never_has_is_doubted() -> None:
    rng = np.random.default_rng(3)
    x = np.where(rng.random(600) < 0.3, 0.0, rng.normal(size=600))
    found = estimate(x, rng.normal(size=600))
    assert not found.trusted
    assert found.high == math.inf
    assert "never has" in found.diagnosis


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_no_unit_is_too_large_or_too_small(unit: float) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=500), 0.5 + rng.normal(size=500)
    plain, found = estimate(x, y), estimate(unit * x, unit * y)
    # The same numbers but for the rounding of the unit, through fits that stop at 1e-5.
    assert found.value == pytest.approx(plain.value, rel=1e-3)
