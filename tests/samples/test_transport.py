"""Wasserstein distances from draws: the line against enumeration, bounds against known truths."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from kullback.errors import DtypeError, InputError, MissingExtra, NonFiniteError, ShapeError
from kullback.samples.draws import draws_of
from kullback.samples.transport import wasserstein, wasserstein_line
from kullback.samples.transport.held_out import bounds, held_out, potentials
from kullback.samples.transport.line import by_gathering

ORDERS = (1.0, 1.5, 2.0, 5.0)


def by_enumeration(x: np.ndarray, y: np.ndarray, order: float) -> float:
    """The least mean cost over all matchings, each draw repeated until both sides are as many."""
    count = math.lcm(len(x), len(y))
    a, b = np.repeat(x, count // len(x)), np.repeat(y, count // len(y))
    costs = [np.mean(np.abs(a - b[list(p)]) ** order) for p in itertools.permutations(range(count))]
    return float(min(costs) ** (1 / order))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (2, 6), (3, 6), (1, 4), (6, 2)])
def test_the_line_is_the_cheapest_matching(n: int, m: int, order: float) -> None:
    rng = np.random.default_rng(n + m)
    x, y = rng.normal(size=n), rng.normal(size=m)
    # A handful of terms, each rounded once: a few units of the last place.
    assert wasserstein_line(x, y, order) == pytest.approx(by_enumeration(x, y, order), rel=1e-14)


@pytest.mark.parametrize(("n", "m"), [(1000, 1000), (1000, 777)])
def test_the_line_agrees_with_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 40)), rng.normal(0.3, size=(m, 40)).round(2)
    truth = [wasserstein_distance(x[:, k], y[:, k]) for k in range(40)]
    # More columns than a block; sums of 2,000 terms in another order.
    np.testing.assert_allclose(wasserstein_line(x, y), truth, rtol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n", "m"), [(7, 7), (7, 5), (4, 6), (1, 3)])
def test_gradients_and_the_way_of_other_devices(n: int, m: int, order: float) -> None:
    torch.manual_seed(n)
    x = torch.randn(n, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(m, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: wasserstein_line(a, b, order), (x, y))
    ours, theirs = wasserstein_line(x, y, order), by_gathering(x, y, order)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    ours, theirs = (torch.autograd.grad(value.sum(), (x, y)) for value in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_float32_ranks_are_those_of_the_values() -> None:
    """Negative numbers, both zeros and subnormals keep their order as bits."""
    values = [-3.0, -0.0, 0.0, 1e-45, -1e-45, 2.5, -1e30, 1e30, 0.0]
    x = torch.tensor(values, requires_grad=True)
    y = torch.linspace(-2, 2, 7)
    wide = x.detach().double().requires_grad_()
    wasserstein_line(x, y, 2.0).backward()
    wasserstein_line(wide, y.double(), 2.0).backward()
    assert x.grad is not None
    assert wide.grad is not None
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-6, atol=1e-30)


def test_equal_draws_have_distance_and_gradient_zero() -> None:
    x = torch.tensor([1.0, 2.0, 2.0], requires_grad=True)
    for order in ORDERS:
        distance = wasserstein_line(x, torch.tensor([2.0, 1.0, 2.0]), order)
        assert distance.item() == 0
        assert torch.autograd.grad(distance, x)[0].tolist() == [0, 0, 0]
        assert by_gathering(x, x.detach(), order).item() == 0


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_powers_neither_overflow_nor_vanish(scale: float) -> None:
    x, y = np.array([0.0, 1.0, 4.0]), np.array([2.0, 2.0])
    found = wasserstein_line(x * scale, y * scale, 4.0)
    assert found == pytest.approx(scale * wasserstein_line(x, y, 4.0), rel=1e-14)


def test_results_are_of_the_kind_of_the_inputs() -> None:
    x = np.arange(6, dtype=np.float32)
    assert wasserstein_line(x, x + 1).dtype == np.float32
    assert wasserstein_line(x, (x + 1).astype(np.float64)).dtype == np.float64
    assert wasserstein_line(np.arange(6), np.arange(6) + 1).dtype == np.float64
    assert wasserstein_line(x.reshape(3, 2), x.reshape(3, 2)).shape == (2,)
    found = wasserstein_line(torch.from_numpy(x).bfloat16(), torch.from_numpy(x + 1).half())
    assert found.dtype == torch.float32
    assert found.shape == ()
    assert found.item() == 1
    assert torch.is_tensor(wasserstein_line(torch.arange(3), torch.arange(4)))


def test_what_cannot_be_measured_is_refused() -> None:
    x = np.arange(4.0)
    with pytest.raises(InputError, match=r"order=0\.5"):
        wasserstein_line(x, x, 0.5)
    with pytest.raises(DtypeError, match="Tensor and y a ndarray"):
        wasserstein_line(torch.ones(3), x)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="same columns"):
        wasserstein_line(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ShapeError, match="shape"):
        wasserstein_line(x, x[:0])
    with pytest.raises(DtypeError, match="complex"):
        wasserstein_line(x, x + 1j)
    for bad in (np.nan, np.inf, -np.inf):
        columns = np.arange(8.0).reshape(4, 2)
        columns[2, 1] = bad
        with pytest.raises(NonFiniteError, match=r"y\[2, 1\] is"):
            wasserstein_line(np.zeros((4, 2)), columns)
        with pytest.raises(NonFiniteError, match=r"x\[2, 1\] is"):
            wasserstein_line(torch.tensor(columns, requires_grad=True), torch.ones(4, 2))
    with pytest.raises(NonFiniteError, match="overflow"):
        wasserstein_line(np.array([-1.7e308]), np.array([1.7e308]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 30), (3, 50)])
def test_potentials_solve_the_dual(n: int, m: int, order: float) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, 1)), rng.poisson(1.0, size=(m, 1)) * 1.0
    phi, psi, powers = potentials(x, y, order)
    costs = np.abs(x - y.T) ** order
    first = np.abs(x.min() - y.min()) ** order
    # Both potentials start at 0 for the smallest draws, which the coupling joins.
    slack = costs - phi[:, None] - psi - first
    assert slack.min() > -1e-12 * costs.max()
    assert phi.mean() + psi.mean() + first == pytest.approx(powers[0], rel=1e-11)
    assert wasserstein_line(x, y, order)[0] ** order == pytest.approx(powers[0], rel=1e-12)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_held_out_halves_see_nothing_where_there_is_nothing(order: float) -> None:
    rng = np.random.default_rng(2)
    found = [
        held_out(*rng.normal(size=(4, 50, 1)), order)  # four sides of 50 draws
        for _ in range(400)
    ]
    assert abs(np.mean(found)) < 3.3 * np.std(found) / 20


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.6])
def test_bounds_hold_on_the_line(shift: float, order: float) -> None:
    rng = np.random.default_rng(3)
    below = above = 0
    for _ in range(80):
        x, y = rng.normal(size=(300, 1)), rng.normal(shift, size=(250, 1))
        found = bounds(x, y, order, rng)
        below += found.low(1.96) > shift
        above += found.high(1.96, order) < shift
    # 5 % of 80 is 4; more than 10 has a probability below 1 in 250.
    assert below + above <= 10


def test_an_estimate_on_the_line_closes_in() -> None:
    rng = np.random.default_rng(4)
    found = wasserstein(draws_of(rng.normal(size=20_000), rng.normal(0.5, 1, size=10_000)), order=2)
    assert found.trusted
    assert found.low < 0.5 < found.high < found.low + 0.08
    same = rng.normal(size=(2, 5_000))
    assert wasserstein(draws_of(*same)).low == 0


def test_integers_that_tie() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    found = wasserstein(draws_of(x, y))
    assert found.low == 0
    assert found.high > 0.02
    equal = wasserstein(draws_of(np.arange(20) % 2, np.arange(20) % 2))
    assert equal.low == 0
    assert equal.high > 0.2  # the same draws on both sides do not prove P = Q


def test_doubts_are_told() -> None:
    rng = np.random.default_rng(6)
    found = wasserstein(draws_of(rng.standard_cauchy(1000), rng.standard_cauchy(1000) + 2))
    assert not found.trusted
    assert "tail" in found.diagnosis
    assert found.low > 0.5
    assert found.high == math.inf
    few = wasserstein(draws_of(rng.normal(size=50), rng.normal(size=50)), order=2)
    assert not few.trusted


def test_options_that_do_not_apply_are_refused() -> None:
    numbers = draws_of(np.arange(12.0), np.arange(12.0))
    with pytest.raises(InputError, match="labels"):
        wasserstein(draws_of(["a", "b"] * 6, ["a", "b"] * 6))
    with pytest.raises(InputError, match="'magic'"):
        wasserstein(numbers, method="magic")
    with pytest.raises(InputError, match="sorting"):
        wasserstein(numbers, method="sinkhorn")
    with pytest.raises(InputError, match="regularization=0"):
        wasserstein(numbers, regularization=0)
    with pytest.raises(InputError, match="directions=1"):
        wasserstein(numbers, directions=1)
    with pytest.raises(InputError, match=r"order=0\.9"):
        wasserstein(numbers, order=0.9)


def test_without_pot_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    plane = np.random.default_rng(0).normal(size=(2, 20, 2))
    with pytest.raises(MissingExtra, match="samples"):
        wasserstein(draws_of(*plane))


def test_sliced_in_the_plane() -> None:
    """Shifted by s in d dimensions, W₂ along θ is |θ·s|: rooted, |s|/√d."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 4)) + np.eye(4)[0]
    found = wasserstein(draws_of(x, y), order=2, method="sliced", directions=200)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.2
    assert wasserstein(draws_of(x, x[:1500] * 1.0), method="sliced").low == 0


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_bounds_in_the_plane(method: str) -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(400, 2)), rng.normal(size=(300, 2)) + np.array([0.6, 0.8])
    found = wasserstein(draws_of(x, y), order=2, method=method)
    assert found.trusted
    assert found.low < 1 < found.high
    assert found.value == pytest.approx(1, abs=0.25)  # three standard errors of the mean gap
    same = wasserstein(draws_of(x, rng.normal(size=(300, 2))), order=2, method=method)
    assert same.low == 0
    assert same.value < 0.3


def test_too_high_a_dimension_is_told() -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(9)
    found = wasserstein(draws_of(*rng.normal(size=(2, 100, 20))))
    assert not found.trusted
    assert "20 dimensions" in found.diagnosis
    assert found.low == 0
    assert found.high == math.inf


@pytest.mark.slow
@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("cell", ["same", "near", "far", "wide", "coin", "exponential"])
def test_coverage_on_the_line(cell: str, order: float) -> None:
    """200 seeds of 1,000 draws: 14 misses are what 93 % leaves, 19 its chance of 1 in 20."""
    rng = np.random.default_rng(10)
    truth = {
        "same": 0.0,
        "near": 0.1,
        "far": 0.5,
        "wide": 0.5 * (math.sqrt(2 / math.pi) if order == 1 else 1),
        "coin": 0.0,
        "exponential": 0.2 * (1 if order == 1 else math.sqrt(2)),
    }[cell]
    misses = 0
    for seed in range(200):
        x, y = rng.normal(size=(2, 1000))
        if cell == "coin":
            x, y = x > 0, y > 0
        elif cell == "exponential":
            x, y = rng.exponential(size=1000), 1.2 * rng.exponential(size=1000)
        else:
            y = y * (1.5 if cell == "wide" else 1) + {"near": 0.1, "far": 0.5}.get(cell, 0)
        found = wasserstein(draws_of(x * 1.0, y * 1.0), order=order, seed=seed)
        misses += not found.low <= truth <= found.high
    assert misses <= 19


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "shift"), [(2, 0.0), (2, 0.3), (5, 0.0), (5, 0.2)])
def test_coverage_in_space(dimensions: int, shift: float) -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(11)
    truth, misses = shift * math.sqrt(dimensions), 0
    for seed in range(100):
        x, y = rng.normal(size=(2, 300, dimensions))
        found = wasserstein(draws_of(x, y + shift), order=1, seed=seed)
        misses += not found.low <= truth <= found.high
    assert misses <= 11  # more has a probability of 1 in 20 at 93 %
