"""The half-line: densities of log X by definition, and the pairs that never coincide."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import mpmath as mp
from torch.distributions import Exponential, Gamma, HalfNormal, InverseGamma, LogNormal, Weibull

from distribution_cases import DistributionCase, Numbers, integral

Density = Callable[[Any], Any]

# log X of the rows below has all its mass but 1e-20 between the ends.
POINTS = [-100, -30, -10, -4, 0, 4, 10, 30, 100]


def gamma(shape: Any, rate: Any) -> Density:
    """log of the density of log X, as all below: that of X at eʸ, and y."""
    a, rate = mp.mpf(shape), mp.mpf(rate)
    constant = a * mp.log(rate) - mp.loggamma(a)
    return lambda y: constant + a * y - rate * mp.exp(y)


def exponential(rate: Any) -> Density:
    rate = mp.mpf(rate)
    return lambda y: mp.log(rate) + y - rate * mp.exp(y)


def inverse_gamma(shape: Any, rate: Any) -> Density:
    a, rate = mp.mpf(shape), mp.mpf(rate)
    constant = a * mp.log(rate) - mp.loggamma(a)
    return lambda y: constant - a * y - rate * mp.exp(-y)


def weibull(scale: Any, shape: Any) -> Density:
    k, log_scale = mp.mpf(shape), mp.log(scale)
    return lambda y: mp.log(k) + k * (y - log_scale) - mp.exp(k * (y - log_scale))


def half_normal(scale: Any) -> Density:
    scale = mp.mpf(scale)
    constant = mp.log(2 / (scale * mp.sqrt(2 * mp.pi)))
    return lambda y: constant - mp.exp(2 * y) / (2 * scale**2) + y


def log_normal(loc: Any, scale: Any) -> Density:
    loc, scale = mp.mpf(loc), mp.mpf(scale)
    constant = -mp.log(scale * mp.sqrt(2 * mp.pi))
    return lambda y: constant - ((y - loc) / scale) ** 2 / 2


def half_cauchy(scale: Any) -> Density:
    scale = mp.mpf(scale)
    return lambda y: mp.log(2 / (mp.pi * scale)) - mp.log1p((mp.exp(y) / scale) ** 2) + y


def fisher_snedecor(df1: Any, df2: Any) -> Density:
    a, b, ratio = mp.mpf(df1) / 2, mp.mpf(df2) / 2, mp.mpf(df1) / mp.mpf(df2)
    constant = a * mp.log(ratio) - mp.log(mp.beta(a, b))
    return lambda y: constant + a * y - (a + b) * mp.log1p(ratio * mp.exp(y))


def pareto(scale: Any, alpha: Any) -> Density:
    scale, a = mp.mpf(scale), mp.mpf(alpha)
    return lambda y: mp.log(a) + a * (mp.log(scale) - y)


DENSITIES: dict[type, Callable[..., Density]] = {
    Exponential: exponential,
    Gamma: gamma,
    HalfNormal: half_normal,
    InverseGamma: inverse_gamma,
    LogNormal: log_normal,
    Weibull: weibull,
}
NUMBERS: dict[type, Numbers] = {
    Exponential: (1.5,),
    Gamma: (2.5, 0.75),
    HalfNormal: (1.25,),
    InverseGamma: (3.5, 2.0),
    LogNormal: (0.25, 0.5),
    Weibull: (1.25, 1.75),
}


def kl_row(
    p: Any,
    density_p: Callable[..., Density],
    of_p: Numbers,
    q: Any,
    of_q: Numbers,
    points: list[Any] = POINTS,
) -> DistributionCase:
    """A row of KL(P‖Q) for a Q of the table above, by quadrature of the densities of log X."""

    def truth(a: Numbers, b: Numbers) -> Any:
        with mp.workdps(20):
            return integral(density_p(*a), DENSITIES[q](*b), points)

    return DistributionCase("kl", p, of_p, q, of_q, truth)


def renyi_row(
    kind: Any, of_p: Numbers, of_q: Numbers, alpha: float, other: Any = None
) -> DistributionCase:
    """A row of R_α of two members of a family of the table, or of one from another."""

    def truth(a: Numbers, b: Numbers) -> Any:
        with mp.workdps(20):
            to_q = DENSITIES[other or kind](*b)
            return integral(DENSITIES[kind](*a), to_q, POINTS, alpha=alpha)

    return DistributionCase("renyi", kind, of_p, other or kind, of_q, truth, alpha=alpha)


def entropy_row(
    p: Any, density: Callable[..., Density], numbers: Numbers, points: list[Any] = POINTS
) -> DistributionCase:
    """A row of the entropy, −∫ f(y) (log f(y) − y) dy for the density f of y = log X."""

    def truth(a: Numbers, b: Numbers) -> Any:
        with mp.workdps(20):
            f = density(*a)
            return -mp.quad(lambda y: mp.exp(f(y)) * (f(y) - y), points)

    return DistributionCase("entropy", p, numbers, p, numbers, truth)


def of_exponential(f: Callable[[Any], Any]) -> Any:
    """E f(E) for E ~ Exponential(1): quantile functions of the half-line are functions of it."""
    with mp.workdps(20):
        return mp.quad(lambda e: f(e) * mp.exp(-e), [0, 1, 5, 20, 60])


_TOGETHER = (Gamma, Exponential, Weibull)
# An infinite E_P 1/X: these are +inf for all parameters, and tested beside.
_INFINITE = ((Exponential, InverseGamma), (HalfNormal, InverseGamma))

CASES = [
    kl_row(p, DENSITIES[p], NUMBERS[p], q, NUMBERS[q])
    for p, q in permutations(DENSITIES, 2)
    if not (p in _TOGETHER and q in _TOGETHER) and (p, q) not in _INFINITE
]
CASES += [
    DistributionCase("kl", p, NUMBERS[p], q, NUMBERS[q], lambda a, b: mp.inf, differentiable=False)
    for p, q in _INFINITE
]
CASES += [entropy_row(p, density, NUMBERS[p]) for p, density in DENSITIES.items()]
