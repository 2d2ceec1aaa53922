"""Distributions to draw from, each with the log of its density: the sides of the battery's pairs.

They are written out in NumPy, so that the truth of a benchmark leans on nothing that it measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, log_ndtr, logsumexp

Array = np.ndarray
Draw = Callable[[np.random.Generator, int], Array]
LogDensity = Callable[[Array], Array]


@dataclass(frozen=True)
class Side:
    """One distribution: draws [n] or [n, d], and the log of its density or mass at such draws."""

    draw: Draw
    log_density: LogDensity


def normal(mean: float, deviation: float) -> Side:
    def log_density(x: Array) -> Array:
        z = (x - mean) / deviation
        return -z * z / 2 - math.log(deviation * math.sqrt(2 * math.pi))

    return Side(lambda rng, n: rng.normal(mean, deviation, n), log_density)


def student(freedom: float, mean: float = 0.0, scale: float = 1.0) -> Side:
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    constant -= math.log(scale * math.sqrt(freedom * math.pi))

    def log_density(x: Array) -> Array:
        return constant - (freedom + 1) / 2 * np.log1p(((x - mean) / scale) ** 2 / freedom)

    return Side(lambda rng, n: mean + scale * rng.standard_t(freedom, n), log_density)


def gaussian(mean: Array, covariance: Array) -> Side:
    factor = np.linalg.cholesky(covariance)
    d = len(mean)
    constant = -np.log(np.diag(factor)).sum() - d / 2 * math.log(2 * math.pi)

    def log_density(x: Array) -> Array:
        z = np.linalg.solve(factor, (x.reshape(-1, d) - mean).T)
        return constant - (z * z).sum(0) / 2

    def draw(rng: np.random.Generator, n: int) -> Array:
        x = mean + rng.standard_normal((n, d)) @ factor.T
        return x[:, 0] if d == 1 else x

    return Side(draw, log_density)


def mixture(weights: list[float], parts: list[Side]) -> Side:
    def log_density(x: Array) -> Array:
        parted = np.stack([part.log_density(x) for part in parts])
        return np.asarray(logsumexp(parted, axis=0, b=np.array(weights)[:, None]))

    def draw(rng: np.random.Generator, n: int) -> Array:
        chosen = rng.choice(len(parts), n, p=weights)
        every = np.stack([part.draw(rng, n) for part in parts])
        return every[chosen, np.arange(n)]

    return Side(draw, log_density)


def poisson(rate: float) -> Side:
    def log_mass(k: Array) -> Array:
        return k * math.log(rate) - rate - gammaln(k + 1.0)

    return Side(lambda rng, n: rng.poisson(rate, n), log_mass)


def negative_binomial(successes: float, mean: float) -> Side:
    chance = successes / (successes + mean)

    def log_mass(k: Array) -> Array:
        ways = gammaln(k + successes) - gammaln(k + 1.0) - gammaln(successes)
        return ways + successes * math.log(chance) + k * math.log1p(-chance)

    return Side(lambda rng, n: rng.negative_binomial(successes, chance, n), log_mass)


def categorical(weights: Array) -> Side:
    chances = weights / weights.sum()
    return Side(lambda rng, n: rng.choice(len(chances), n, p=chances), lambda k: np.log(chances)[k])


def rounded(mean: float, deviation: float, width: float) -> Side:
    """A normal rounded to a multiple of `width`: its mass is that of the interval around it."""
    digits = -round(math.log10(width))

    def log_mass(x: Array) -> Array:
        z = -np.abs(x - mean) / deviation  # on the left, where no difference of tails cancels
        near, far = (np.asarray(log_ndtr(z + s * width / deviation / 2)) for s in (1, -1))
        return near + np.log(-np.expm1(far - near))

    return Side(lambda rng, n: np.round(rng.normal(mean, deviation, n), digits), log_mass)


def round_gaussian(mean: list[float], deviation: float) -> Side:
    return gaussian(np.array(mean), deviation**2 * np.eye(len(mean)))
