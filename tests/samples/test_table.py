"""The table of weighted rows: nothing lost, nothing counted twice, folds as even as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kullback.samples.draws import DrawsPair, draws_of
from kullback.samples.table import fold_count, table_of

RNG = np.random.default_rng(0)
PAIRS: dict[str, DrawsPair] = {
    "line": draws_of(RNG.normal(size=101), RNG.normal(size=57)),
    "plane": draws_of(RNG.normal(size=(40, 2)), RNG.normal(size=(13, 2))),
    "counts": draws_of(RNG.poisson(3, 500), RNG.poisson(4, 77)),
    "mixed": draws_of([(0.5, "a"), (1.0, "b")] * 30, [(0.5, "a"), (1.0, "a")] * 25),
    "gathered": draws_of(RNG.standard_cauchy(30_000), RNG.normal(size=901)),
    "gathered, tied": draws_of(RNG.normal(size=30_000).round(2), RNG.poisson(1, 999) / 1),
}


@pytest.fixture(params=PAIRS.values(), ids=list(PAIRS))
def pair(request: Any) -> DrawsPair:
    return request.param


def test_weights_add_up_to_the_draws_and_folds_differ_by_one(pair: DrawsPair) -> None:
    table = table_of(pair, seed=3)
    assert table.folds == fold_count(len(pair.p) + len(pair.q))
    for weight, side in ((table.p, pair.p), (table.q, pair.q)):
        assert weight.sum() == len(side)
        assert np.ptp(weight.sum(0)) <= 1
        assert (weight >= 0).all()
        assert (weight == weight.round()).all()
    assert (table.p.sum(1) + table.q.sum(1) > 0).all()


def test_rows_keep_the_mean_of_each_side_of_all_draws(pair: DrawsPair) -> None:
    """Cells stand by the mean of what is in them, so that sums over both sides stay."""
    table = table_of(pair, seed=0)
    weight = (table.p + table.q).sum(1)
    total = np.concatenate([pair.p.numbers, pair.q.numbers]).sum(0)
    size = np.abs(np.concatenate([pair.p.numbers, pair.q.numbers])).sum(0)
    # Sums of up to 31,000 numbers in two orders.
    assert np.all(np.abs(weight @ table.rows.numbers - total) <= 1e-11 * size)


def test_without_a_fold_and_half_of_it(pair: DrawsPair) -> None:
    table = table_of(pair, seed=1, folds=9)
    for fold in (0, 4, 8):
        for kept, half, whole in zip(
            table.without(fold), table.half_without(fold), (table.p, table.q), strict=True
        ):
            np.testing.assert_array_equal(kept + whole[:, fold], whole.sum(1))
            assert (half <= kept).all()
            # Four of the eight folds that are left, even to one draw each.
            assert abs(half.sum() - kept.sum() / 2) <= 4


def test_equal_draws_share_a_row_where_many_are_tied() -> None:
    pair = PAIRS["counts"]
    table = table_of(pair, seed=0)
    values = table.rows.numbers[:, 0]
    assert len(np.unique(values)) == len(values)
    for value, of_p, of_q in zip(values, table.p.sum(1), table.q.sum(1), strict=True):
        assert of_p == (pair.p.numbers == value).sum()
        assert of_q == (pair.q.numbers == value).sum()


def test_cells_hold_what_lies_between_their_neighbours() -> None:
    """A cell's draws are consecutive, so counts below any cell are counts of draws below it."""
    pair = PAIRS["gathered"]
    table = table_of(pair, seed=0)
    values = table.rows.numbers[:, 0]
    assert (np.diff(values) > 0).all()
    assert len(values) < 6000
    middle = (values[1:] + values[:-1]) / 2
    for weight, side in ((table.p, pair.p), (table.q, pair.q)):
        below = np.searchsorted(np.sort(side.numbers[:, 0]), middle)
        # The midpoint of two means may cut into either cell.
        cell = np.maximum(weight.sum(1)[1:], weight.sum(1)[:-1])
        assert (np.abs(np.cumsum(weight.sum(1))[:-1] - below) <= cell).all()


def test_the_ends_of_the_line_stand_alone() -> None:
    """In the tails, where cells would be wide, the most distant 512 draws are rows themselves."""
    pair = PAIRS["gathered"]
    rows = table_of(pair, seed=0).rows.numbers[:, 0]
    both = np.sort(np.concatenate([pair.p.numbers[:, 0], pair.q.numbers[:, 0]]))
    np.testing.assert_array_equal(rows[:512], both[:512])
    np.testing.assert_array_equal(rows[-511:], both[-511:])


def test_ties_stay_together_in_cells() -> None:
    table = table_of(PAIRS["gathered, tied"], seed=0)
    values = table.rows.numbers[:, 0]
    assert (np.diff(values) > 1e-9).all()


def test_folds_are_by_chance_and_by_seed() -> None:
    pair = PAIRS["line"]
    one, same, other = (table_of(pair, seed).p for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    # Sorted draws do not make folds of neighbours: each fold's mean is that of all, in 4 errors.
    ordered = draws_of(np.sort(RNG.normal(size=900)), RNG.normal(size=900))
    table = table_of(ordered, seed=0)
    means = (table.p.T @ table.rows.numbers)[:, 0] / table.p.sum(0)
    assert np.abs(means - ordered.p.numbers.mean()).max() < 4 / np.sqrt(100)
