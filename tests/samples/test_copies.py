"""Copied rows are told from draws of atoms, and an estimate from them claims nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.distributions.targets import target_of
from kullback.samples.auto import auto
from kullback.samples.copies import copied_share, without_copies
from kullback.samples.draws import draws_of
from kullback.samples.reach import reach_of

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 2)), RNG.normal(size=(400, 2))


def test_rows_written_twice() -> None:
    pair = draws_of(np.repeat(X, 2, axis=0), Y)
    assert copied_share(pair) == 1.0
    assert len(without_copies(pair).p) == len(X)
    assert np.array_equal(without_copies(pair).p.numbers, X)


def test_a_share_of_rows_written_twice() -> None:
    pair = draws_of(np.concatenate([X, X[:100]]), Y)
    assert copied_share(pair) == pytest.approx(200 / 400)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, Y),
        (np.round(X[:, 0], 1), np.round(Y[:, 0], 1)),
        (RNG.poisson(4, 500), RNG.poisson(5, 500)),
        (RNG.integers(1000, size=1000), RNG.integers(1000, size=1000)),
        (
            np.where(RNG.random(300) < 0.4, 0.0, X[:, 0]),
            np.where(RNG.random(400) < 0.3, 0.0, Y[:, 0]),
        ),
        (["a"] * 40, ["b"] * 40),
    ],
    ids=["densities", "rounded", "counts", "many levels", "an atom at zero", "disjoint labels"],
)
def test_draws_are_not_taken_for_copies(x: object, y: object) -> None:
    assert copied_share(draws_of(x, y)) < 0.05


def test_copies_claim_nothing() -> None:
    found = auto(draws_of(np.concatenate([X, X[:150]]), Y), target_of("kl"))
    assert not found.trusted
    assert (found.low, found.high) == (0.0, math.inf)
    assert "copies" in found.diagnosis


def test_reach_beyond_a_tail_of_ties_is_without_measure() -> None:
    """A tenth of Q at its farthest: no excess to measure by, and no NaN that passes for none."""
    reach = reach_of(np.array([[0.0], [1.0], [2.0], [3.0]] * 20), np.array([[0.0], [1.0]] * 40))
    assert reach.share == pytest.approx(0.5)
    assert math.isinf(reach.may_add)
