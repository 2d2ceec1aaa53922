"""The cheapest matching, against every permutation and against SciPy's."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from kullback.kernels.assignment import cheapest_matching


def total(cost: np.ndarray, columns: np.ndarray) -> float:
    return float(cost[np.arange(len(cost)), columns].sum())


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_against_every_permutation(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(20):
        cost = rng.normal(size=(count, count))
        best = min(total(cost, np.array(order)) for order in permutations(range(count)))
        found = cheapest_matching(cost)
        assert sorted(found) == list(range(count))
        assert total(cost, found) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "ties"])
def test_against_scipy(rounded: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 120, 3))
    cost = ((x[:, None] - y) ** 2).sum(-1)
    cost = np.round(cost) if rounded else cost
    rows, columns = linear_sum_assignment(cost)
    found = cheapest_matching(cost)
    assert sorted(found) == list(range(120))
    assert total(cost, found) == pytest.approx(float(cost[rows, columns].sum()), rel=1e-12)
