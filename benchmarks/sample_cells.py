"""Pairs (P, Q) to draw from whose divergences are known: what estimates from samples are held to.

A cell is two sides and the measure that its truth is integrated against, so that the numbers are
computed here and copied from nowhere:

- `LINE`: the trapezoid rule in t, x = sinh(t), which converges geometrically for analytic terms
  (and like h² ≈ 1e-7 across the kink of the total variation);
- `PLANE`: the trapezoid rule in both coordinates, likewise;
- `atoms(...)`: a sum;
- Gaussians of many dimensions: closed forms, for the divergences that have one.

    from sample_cells import CELLS
    x, y = CELLS["gaussian 5d"].draw(np.random.default_rng(0), 1000)
    CELLS["gaussian 5d"].truth["kl"]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sample_sides import (
    Array,
    Side,
    categorical,
    gaussian,
    mixture,
    negative_binomial,
    normal,
    poisson,
    round_gaussian,
    rounded,
    student,
)


@dataclass(frozen=True)
class Measure:
    """Points and log-weights to sum a term over."""

    points: Callable[[], Array]
    log_weights: Callable[[], Array]


@dataclass(frozen=True)
class Cell:
    """A pair of distributions with its true divergences.

    Attributes:
        name: unique in the battery.
        p, q: the sides.
        dimensions: of one draw.
        kind: "continuous", "counts", "categorical" or "rounded".
        measure: what the truth is summed over, or a function that gives it in closed form.
        infinite: the divergences that are +∞, which no quadrature can tell.
    """

    name: str
    p: Side
    q: Side
    dimensions: int
    kind: str
    measure: Measure | Callable[[], dict[str, float]]
    infinite: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """n draws of P and n of Q."""
        return self.p.draw(rng, n), self.q.draw(rng, n)

    def log_ratio(self, x: Array) -> Array:
        """log p(x) − log q(x), which an estimate does not know."""
        return self.p.log_density(x) - self.q.log_density(x)

    @cached_property
    def truth(self) -> dict[str, float]:
        """Every divergence that is known, in nats, by its name in `kullback`."""
        if isinstance(self.measure, Measure):
            found = summed(self.p, self.q, self.measure)
        else:
            found = self.measure()
        return found | dict.fromkeys(self.infinite, math.inf)


def summed(p: Side, q: Side, measure: Measure) -> dict[str, float]:
    """The divergences as sums of their terms over the points of the measure."""
    points, log_weights = measure.points(), measure.log_weights()
    log_p, log_q = p.log_density(points), q.log_density(points)
    here = np.maximum(log_p, log_q) + log_weights > -700  # below, no double can hold the term
    log_p, log_q = log_p[here] + log_weights[here], log_q[here] + log_weights[here]
    a, b, d = np.exp(log_p), np.exp(log_q), log_p - log_q
    log_m = np.logaddexp(log_p, log_q) - math.log(2)
    with np.errstate(divide="ignore"):  # log 0 where p = q, whose term is 0
        log_gap = np.where(d > 30, d, np.log(np.abs(np.expm1(np.minimum(d, 30)))))
    with np.errstate(over="ignore"):  # where it is, the cell says infinite
        chi_squared = np.exp(log_q + 2 * log_gap).sum()
    kl, reverse_kl = (a * d).sum(), (b * (log_q - log_p)).sum()
    return {
        "kl": float(kl),
        "reverse_kl": float(reverse_kl),
        "jeffreys": float(kl + reverse_kl),
        "js": float((a * (log_p - log_m) + b * (log_q - log_m)).sum() / 2),
        "total_variation": float(np.abs(a - b).sum() / 2),
        "squared_hellinger": float(((np.exp(log_p / 2) - np.exp(log_q / 2)) ** 2).sum() / 2),
        "chi_squared": float(chi_squared),
    }


_STEP, _GRID_STEP = 2e-4, 0.05


def _steps(reach: float, step: float) -> Array:
    half = round(reach / step)
    return step * np.arange(-half, half + 1)


def _grid() -> Array:
    axis = _steps(12, _GRID_STEP)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


LINE = Measure(
    lambda: np.sinh(_steps(30, _STEP)), lambda: np.log(np.cosh(_steps(30, _STEP)) * _STEP)
)
PLANE = Measure(_grid, lambda: np.full(len(_grid()), 2 * math.log(_GRID_STEP)))


def atoms(points: Array) -> Measure:
    return Measure(lambda: points, lambda: np.zeros(len(points)))


def autoregressive(d: int, variance: float = 1.2, correlation: float = 0.5) -> Array:
    """The covariance v·ρ^|i−j|, whose KL from the standard normal is linear in d."""
    index = np.arange(d)
    return variance * correlation ** np.abs(index[:, None] - index)


def gaussian_truth(mean: Array, covariance: Array) -> Callable[[], dict[str, float]]:
    """Of N(0, I) against N(mean, covariance)."""

    def truth() -> dict[str, float]:
        d, precision = len(mean), np.linalg.inv(covariance)
        log_det = np.linalg.slogdet(covariance)[1]
        kl = (np.trace(precision) + mean @ precision @ mean - d + log_det) / 2
        reverse_kl = (np.trace(covariance) + mean @ mean - d - log_det) / 2
        middle = (np.eye(d) + covariance) / 2
        log_affinity = log_det / 4 - np.linalg.slogdet(middle)[1] / 2
        log_affinity -= mean @ np.linalg.solve(middle, mean) / 8
        return {
            "kl": float(kl),
            "reverse_kl": float(reverse_kl),
            "jeffreys": float(kl + reverse_kl),
            "squared_hellinger": float(-np.expm1(log_affinity)),
            "chi_squared": chi_squared(mean, covariance, float(log_det)),
        }

    return truth


def chi_squared(mean: Array, covariance: Array, log_det: float) -> float:
    """∫ p²/q − 1 is a Gaussian integral of precision 2I − Σ⁻¹: finite where Σ's roots exceed ½."""
    excess = 2 * np.eye(len(mean)) - np.linalg.inv(covariance)
    if np.linalg.eigvalsh(excess)[0] <= 0:
        return math.inf
    pull = np.linalg.solve(covariance, mean)
    exponent = mean @ pull + pull @ np.linalg.solve(excess, pull)
    return float(np.expm1((exponent + log_det - np.linalg.slogdet(excess)[1]) / 2))


def gaussian_cell(d: int) -> Cell:
    mean, covariance = np.full(d, 0.5), autoregressive(d)
    p, q = gaussian(np.zeros(d), np.eye(d)), gaussian(mean, covariance)
    truth = {1: LINE, 2: PLANE}.get(d) or gaussian_truth(mean, covariance)
    return Cell(f"gaussian {d}d", p, q, d, "continuous", truth)


def categorical_cell(levels: int) -> Cell:
    """Zipf's law, against itself with every level's chance moved by up to a factor of e."""
    index = np.arange(levels)
    p, q = categorical(1 / (index + 5.0)), categorical(np.exp(np.sin(7 * index)) / (index + 5.0))
    return Cell(f"categorical {levels}", p, q, 1, "categorical", atoms(index))


def _battery() -> list[Cell]:
    t3, standard = student(3), normal(0, 1)
    line = ("continuous", LINE)
    tenths = atoms(np.arange(-300, 301) / 10)
    return [
        *map(gaussian_cell, (1, 2, 5, 10)),
        Cell("student t3", t3, student(3, 1, 1.5), 1, *line),
        Cell("normal, t3", standard, t3, 1, *line),
        Cell("t3, normal", t3, normal(0, 2), 1, *line, infinite=("chi_squared",)),
        Cell(
            "mixture 1d",
            mixture([0.5, 0.5], [normal(-2, 1), normal(2, 1)]),
            mixture([0.4, 0.6], [normal(-1, 1.25), normal(0, 1.25)]),
            1,
            *line,
        ),
        Cell(
            "mixture 2d",
            mixture([0.5, 0.5], [round_gaussian([-1.5, -1.5], 1), round_gaussian([1.5, 1.5], 1)]),
            mixture([0.7, 0.3], [round_gaussian([-2, 1], 1.5), round_gaussian([2, 1], 1.5)]),
            2,
            "continuous",
            PLANE,
        ),
        Cell("far", standard, normal(4, 1), 1, *line),
        Cell("chi² infinite", standard, normal(0, 0.5), 1, *line, infinite=("chi_squared",)),
        Cell("identical", standard, standard, 1, *line),
        Cell("counts", poisson(4), negative_binomial(5, 4.5), 1, "counts", atoms(np.arange(400))),
        categorical_cell(100),
        categorical_cell(1000),
        Cell("rounded", rounded(0, 1, 0.1), rounded(0.5, 1.2, 0.1), 1, "rounded", tenths),
    ]


CELLS = {cell.name: cell for cell in _battery()}


if __name__ == "__main__":
    for cell in CELLS.values():
        known = "  ".join(f"{name} {value:.4g}" for name, value in cell.truth.items())
        print(f"{cell.name:17}{known}")
