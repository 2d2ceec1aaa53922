"""The truths that the benchmarks of `samples` lean on, each by a second route."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

import kullback as kl

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = [
    "gaussian 1d",
    "gaussian 2d",
    "gaussian 5d",
    "gaussian 10d",
    "student t3",
    "normal, t3",
    "t3, normal",
    "mixture 1d",
    "mixture 2d",
    "far",
    "chi² infinite",
    "identical",
    "counts",
    "categorical 100",
    "categorical 1000",
    "rounded",
]


@pytest.fixture
def battery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("sample_cells")


def test_the_battery_is_what_the_tests_know(battery: Any) -> None:
    assert list(battery.CELLS) == NAMES


def test_the_divergences_that_the_battery_was_chosen_for(battery: Any) -> None:
    """To the digits in which they are quoted."""
    quoted = {
        "gaussian 1d": 0.112,
        "gaussian 2d": 0.288,
        "gaussian 5d": 0.818,
        "gaussian 10d": 1.70,
        "mixture 1d": 0.600,
        "mixture 2d": 0.942,
        "far": 8.0,
        "identical": 0.0,
    }
    found = {name: battery.CELLS[name].truth["kl"] for name in quoted}
    assert found == pytest.approx(quoted, abs=5.1e-4)  # half a digit: .28848 is quoted as .288


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_gaussians_against_the_closed_forms_of_distributions(battery: Any, d: int) -> None:
    """Up to d = 2 the benchmark's truth is a trapezoid rule, above a formula of its own."""
    index = np.arange(d)
    covariance = 1.2 * 0.5 ** np.abs(index[:, None] - index)
    p = MultivariateNormal(torch.zeros(d).double(), torch.eye(d).double())
    q = MultivariateNormal(torch.full((d,), 0.5).double(), torch.from_numpy(covariance))
    truth = battery.CELLS[f"gaussian {d}d"].truth
    assert truth["kl"] == pytest.approx(kl.kl_divergence(p, q).item(), rel=1e-12)
    assert truth["reverse_kl"] == pytest.approx(kl.kl_divergence(q, p).item(), rel=1e-12)
    hellinger = kl.hellinger_distance(p, q).item() ** 2
    assert truth["squared_hellinger"] == pytest.approx(hellinger, rel=1e-12)
    chi_squared = kl.chi_squared(p, q).item()
    assert truth["chi_squared"] == pytest.approx(chi_squared, rel=1e-10)
    assert math.isinf(truth["chi_squared"]) == (d > 2)  # Σ has a root below ½ from d = 3 on


def _normal(mean: float, deviation: float) -> Callable[[Any], Any]:
    return lambda x: mp.npdf(x, mean, deviation)


def _student(mean: float, scale: float) -> Callable[[Any], Any]:
    constant = 2 / (mp.pi * mp.sqrt(3) * scale)
    return lambda x: constant / (1 + ((x - mean) / scale) ** 2 / 3) ** 2


def _sum(*parts: tuple[float, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    return lambda x: mp.fsum(weight * density(x) for weight, density in parts)


LINES = {
    "gaussian 1d": (_normal(0, 1), _normal(0.5, mp.sqrt("1.2"))),
    "student t3": (_student(0, 1), _student(1, 1.5)),
    "normal, t3": (_normal(0, 1), _student(0, 1)),
    "t3, normal": (_student(0, 1), _normal(0, 2)),
    "mixture 1d": (
        _sum((0.5, _normal(-2, 1)), (0.5, _normal(2, 1))),
        _sum((0.4, _normal(-1, 1.25)), (0.6, _normal(0, 1.25))),
    ),
    "far": (_normal(0, 1), _normal(4, 1)),
    "chi² infinite": (_normal(0, 1), _normal(0, 0.5)),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_against_mpmath(battery: Any, name: str) -> None:
    """Tanh-sinh quadrature of the densities as textbooks have them, between their crossings."""
    p, q = LINES[name]
    places = [x / 5 for x in range(-100, 101)]
    crossings = [
        mp.findroot(lambda x: p(x) / q(x) - 1, (a, b), solver="anderson")
        for a, b in itertools.pairwise(places)
        if (p(a) - q(a)) * (p(b) - q(b)) < 0
    ]
    cuts = sorted([-mp.inf, -100, -8, -4, -2, 0, 2, 4, 8, 100, mp.inf, *crossings])

    def integral(term: Callable[[Any, Any], Any]) -> float:
        def at(x: Any) -> Any:
            a, b = p(x), q(x)
            return term(a, b) if a and b else mp.mpf(0)

        found: Any = mp.quad(at, cuts)
        return float(found)

    terms = {
        "kl": lambda a, b: a * mp.log(a / b),
        "reverse_kl": lambda a, b: b * mp.log(b / a),
        "js": lambda a, b: (a * mp.log(2 * a / (a + b)) + b * mp.log(2 * b / (a + b))) / 2,
        "squared_hellinger": lambda a, b: (mp.sqrt(a) - mp.sqrt(b)) ** 2 / 2,
        "total_variation": lambda a, b: abs(a - b) / 2,
        "chi_squared": lambda a, b: (a - b) ** 2 / b,
    }
    cell = battery.CELLS[name]
    for divergence, term in terms.items():
        if divergence in cell.infinite:
            continue
        # 15 digits on both sides, but a trapezoid rule has h² = 4e-8 at the kink of |p − q|.
        allowed = 1e-7 if divergence == "total_variation" else 1e-9
        assert cell.truth[divergence] == pytest.approx(integral(term), rel=allowed), divergence


def test_far_and_its_infinite_neighbour_in_closed_form(battery: Any) -> None:
    assert battery.CELLS["far"].truth["kl"] == pytest.approx(8, rel=1e-12)
    assert battery.CELLS["far"].truth["chi_squared"] == pytest.approx(math.expm1(16), rel=1e-12)
    narrow = battery.CELLS["chi² infinite"].truth
    assert narrow["kl"] == pytest.approx(1.5 - math.log(2), rel=1e-12)
    assert math.isinf(narrow["chi_squared"])


def test_the_mixture_in_the_plane_by_gauss_and_hermite(battery: Any) -> None:
    """E_P[log p/q] component by component; 60 nodes an axis leave about 1e-9."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    mass = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    cell = battery.CELLS["mixture 2d"]
    kl_found = sum(mass @ cell.log_ratio(grid + shift) / 2 for shift in (-1.5, 1.5))
    assert cell.truth["kl"] == pytest.approx(kl_found, rel=1e-7)


def test_counts_by_an_exact_sum(battery: Any) -> None:
    with mp.workdps(30):
        rate, r, chance = mp.mpf(4), 5, mp.mpf(5) / mp.mpf("9.5")
        terms = []
        for k in range(200):
            a = rate**k * mp.exp(-rate) / mp.factorial(k)
            b = mp.binomial(k + r - 1, k) * chance**r * (1 - chance) ** k
            terms.append(a * mp.log(a / b))
        expected = float(mp.fsum(terms))
    assert battery.CELLS["counts"].truth["kl"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("levels", [100, 1000])
def test_categories_against_the_tensors(battery: Any, levels: int) -> None:
    p = torch.tensor([1 / (i + 5) for i in range(levels)], dtype=torch.float64)
    masses = [math.exp(math.sin(7 * i)) / (i + 5) for i in range(levels)]
    q = torch.tensor(masses, dtype=torch.float64)
    found = battery.CELLS[f"categorical {levels}"].truth
    expected = kl.kl_divergence(p.log(), q.log(), space="logits").item()
    assert found["kl"] == pytest.approx(expected, rel=1e-12)


def test_rounding_loses_little_and_nothing_is_gained(battery: Any) -> None:
    """Data processing: below the KL of the unrounded, and the same by mpmath's tails."""
    whole = 0.5 * ((1 + 0.25) / 1.44 - 1 + math.log(1.44))
    found = battery.CELLS["rounded"].truth["kl"]
    with mp.workdps(20):
        masses = []
        for mean, deviation in ((0, 1), (0.5, 1.2)):
            edges = [mp.ncdf(mp.mpf(2 * k + 1) / 20, mean, deviation) for k in range(-81, 81)]
            masses.append([b - a for a, b in itertools.pairwise(edges)])
        expected = float(mp.fsum(a * mp.log(a / b) for a, b in zip(*masses, strict=True)))
    # Beyond ±8 lies 1e-15 of P.
    assert found == pytest.approx(expected, rel=1e-9)
    assert whole - 1e-3 < found < whole


@pytest.mark.parametrize("name", NAMES)
def test_draws_come_from_the_densities(battery: Any, name: str) -> None:
    """E_P[log p/q] is the KL, E_Q[log q/p] the reverse one: within 5 standard errors of draws.

    The squared log-ratio of "t3, normal" has no mean, so its standard error tells little: there
    the log-ratios against the even mixture take its place, which are bounded and whose means
    add up to twice JS.
    """
    cell = battery.CELLS[name]
    x, y = cell.draw(np.random.default_rng(7), 20_000)
    assert x.shape == y.shape == ((20_000,) if cell.dimensions == 1 else (20_000, cell.dimensions))
    if name == "t3, normal":
        halves = [np.log(2) - np.logaddexp(0, s * cell.log_ratio(z)) for s, z in ((-1, x), (1, y))]
        error = math.hypot(*(h.std() for h in halves)) / math.sqrt(20_000) / 2
        assert abs(sum(h.mean() for h in halves) / 2 - cell.truth["js"]) < 5 * error
        return
    for draws, sign, divergence in ((x, 1, "kl"), (y, -1, "reverse_kl")):
        ratios = sign * cell.log_ratio(draws)
        assert abs(ratios.mean() - cell.truth[divergence]) <= 5 * ratios.std() / math.sqrt(20_000)
