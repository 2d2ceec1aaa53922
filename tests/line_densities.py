"""Log-densities on the line by mpmath, as textbooks write them, and what to integrate between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
from torch.distributions import (
    Beta,
    Cauchy,
    ContinuousBernoulli,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Kumaraswamy,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    StudentT,
    Uniform,
    VonMises,
    Weibull,
)

from distribution_cases import DistributionCase, Numbers

Density = Callable[[Any], Any]


@dataclass(frozen=True)
class Family:
    """How a family is made in torch, its log-density, and points that its mass lies between."""

    make: Callable[..., Distribution]
    log_density: Callable[..., Density]
    points: Callable[..., list[Any]]


def _normal(m: Any, s: Any) -> Density:
    return lambda x: -((x - m) ** 2) / (2 * s**2) - mp.log(s * mp.sqrt(2 * mp.pi))


def _laplace(m: Any, b: Any) -> Density:
    return lambda x: -abs(x - m) / b - mp.log(2 * b)


def _gumbel(m: Any, b: Any) -> Density:
    return lambda x: -(x - m) / b - mp.exp(-(x - m) / b) - mp.log(b)


def _cauchy(m: Any, s: Any) -> Density:
    return lambda x: -mp.log(mp.pi * s * (1 + ((x - m) / s) ** 2))


def _student(n: Any, m: Any, s: Any) -> Density:
    constant = mp.log(mp.sqrt(n * mp.pi) * s) + mp.loggamma(n / 2) - mp.loggamma((n + 1) / 2)
    return lambda x: -(n + 1) / 2 * mp.log(1 + ((x - m) / s) ** 2 / n) - constant


def _uniform(low: Any, high: Any) -> Density:
    return lambda x: -mp.log(high - low)


def _beta(a: Any, b: Any) -> Density:
    return lambda x: (a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x) - mp.log(mp.beta(a, b))


def _continuous_bernoulli(logit: Any) -> Density:
    return lambda x: logit * x - mp.log(mp.expm1(logit) / logit)


def _kumaraswamy(a: Any, b: Any) -> Density:
    return lambda x: mp.log(a * b) + (a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x**a)


def _von_mises(m: Any, k: Any) -> Density:
    return lambda x: k * mp.cos(x - m) - mp.log(2 * mp.pi * mp.besseli(0, k))


def _gamma(a: Any, r: Any) -> Density:
    return lambda x: a * mp.log(r) + (a - 1) * mp.log(x) - r * x - mp.loggamma(a)


def _weibull(s: Any, k: Any) -> Density:
    return lambda x: mp.log(k / s) + (k - 1) * mp.log(x / s) - (x / s) ** k


def _log_normal(m: Any, s: Any) -> Density:
    return lambda x: _normal(m, s)(mp.log(x)) - mp.log(x)


def _inverse_gamma(a: Any, r: Any) -> Density:
    return lambda x: a * mp.log(r) - (a + 1) * mp.log(x) - r / x - mp.loggamma(a)


def _pareto(m: Any, a: Any) -> Density:
    return lambda x: mp.log(a) + a * mp.log(m) - (a + 1) * mp.log(x)


def _half_normal(s: Any) -> Density:
    return lambda x: mp.log(2) + _normal(0, s)(x)


def _half_cauchy(s: Any) -> Density:
    return lambda x: mp.log(2) + _cauchy(0, s)(x)


def _around(m: Any, s: Any) -> list[Any]:
    return [m - 40 * s, m - 4 * s, m, m + 4 * s, m + 40 * s]


def _line(m: Any, s: Any) -> list[Any]:
    return [-mp.inf, m - s, m, m + s, mp.inf]


_UNIT = [mp.mpf(0), mp.mpf("0.5"), mp.mpf(1)]
_TURN = [-mp.pi, mp.mpf(0), mp.pi]

FAMILIES: dict[str, Family] = {
    "normal": Family(Normal, _normal, _around),
    "laplace": Family(Laplace, _laplace, lambda m, b: [-mp.inf, m, mp.inf]),
    "gumbel": Family(Gumbel, _gumbel, lambda m, b: [m - 5 * b, m - 2 * b, m, m + 4 * b, mp.inf]),
    "cauchy": Family(Cauchy, _cauchy, _line),
    "student": Family(StudentT, _student, lambda n, m, s: _line(m, s)),
    "uniform": Family(Uniform, _uniform, lambda low, high: [low, high]),
    "beta": Family(Beta, _beta, lambda a, b: _UNIT),
    "continuous_bernoulli": Family(
        lambda logit: ContinuousBernoulli(logits=logit), _continuous_bernoulli, lambda t: _UNIT
    ),
    "kumaraswamy": Family(Kumaraswamy, _kumaraswamy, lambda a, b: _UNIT),
    "von_mises": Family(VonMises, _von_mises, lambda m, k: [-mp.pi, m, mp.pi]),
    "exponential": Family(
        Exponential, lambda r: _gamma(mp.mpf(1), r), lambda r: [0, 1 / r, mp.inf]
    ),
    "gamma": Family(Gamma, _gamma, lambda a, r: [0, a / r, 4 * a / r, mp.inf]),
    "weibull": Family(Weibull, _weibull, lambda s, k: [0, s, 4 * s, mp.inf]),
    "log_normal": Family(
        LogNormal, _log_normal, lambda m, s: [mp.exp(m + k * s) for k in (-20, -5, 0, 5, 20)]
    ),
    "inverse_gamma": Family(InverseGamma, _inverse_gamma, lambda a, r: [0, r / a, 4 * r, mp.inf]),
    "pareto": Family(Pareto, _pareto, lambda m, a: [m, 4 * m, mp.inf]),
    "half_normal": Family(HalfNormal, _half_normal, lambda s: [0, 2 * s, 40 * s]),
    "half_cauchy": Family(HalfCauchy, _half_cauchy, lambda s: [0, s, mp.inf]),
}


def density(name: str, numbers: Numbers) -> Density:
    return FAMILIES[name].log_density(*(mp.mpf(number) for number in numbers))


def points(name: str, numbers: Numbers, kinks: Numbers = ()) -> list[Any]:
    ends = [mp.mpf(x) for x in FAMILIES[name].points(*(mp.mpf(number) for number in numbers))]
    return sorted({*ends, *(mp.mpf(x) for x in kinks if ends[0] < x < ends[-1])})


def kl(p: str, q: str, kinks: Numbers = ()) -> Callable[[Numbers, Numbers], Any]:
    """∫ p log(p/q) over the support of P, from the numbers of both."""

    def truth(of_p: Numbers, of_q: Numbers) -> Any:
        with mp.workdps(22):
            log_p, log_q = density(p, of_p), density(q, of_q)
            inside = points(p, of_p, kinks)
            return mp.quad(lambda x: mp.exp(log_p(x)) * (log_p(x) - log_q(x)), inside)

    return truth


def kl_case(
    p: str, of_p: Numbers, q: str, of_q: Numbers, kinks: Numbers = (), **options: Any
) -> DistributionCase:
    """The row of KL(P‖Q) by quadrature; `kinks` are where Q's log-density has one."""
    make_p, make_q = FAMILIES[p].make, FAMILIES[q].make
    return DistributionCase("kl", make_p, of_p, make_q, of_q, kl(p, q, kinks), **options)


def renyi_case(
    name: str, of_p: Numbers, of_q: Numbers, alpha: float, kinks: Numbers = (), **options: Any
) -> DistributionCase:
    """The row of R_α within one family, by ∫ p^α q^(1−α)."""

    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            log_p, log_q, a = density(name, p), density(name, q), mp.mpf(alpha)
            power = mp.quad(
                lambda x: mp.exp(a * log_p(x) + (1 - a) * log_q(x)), points(name, p, kinks)
            )
            return mp.log(power) / (a - 1)

    make = FAMILIES[name].make
    return DistributionCase("renyi", make, of_p, make, of_q, truth, alpha=alpha, **options)


def entropy_case(name: str, numbers: Numbers, **options: Any) -> DistributionCase:
    """The row of H(P), by −∫ p log p."""

    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            log_p = density(name, p)
            return mp.quad(lambda x: -mp.exp(log_p(x)) * log_p(x), points(name, p))

    make = FAMILIES[name].make
    return DistributionCase("entropy", make, numbers, make, numbers, truth, **options)


def total_variation_case(
    name: str, of_p: Numbers, of_q: Numbers, crossings: Numbers, **options: Any
) -> DistributionCase:
    """The row of ½ ∫ |p − q|, between points that include where the densities cross."""

    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            log_p, log_q = density(name, p), density(name, q)
            between = sorted({*points(name, p), *points(name, q), *map(mp.mpf, crossings)})
            return mp.quad(lambda x: abs(mp.exp(log_p(x)) - mp.exp(log_q(x))), between) / 2

    make = FAMILIES[name].make
    return DistributionCase("total_variation", make, of_p, make, of_q, truth, **options)


def wasserstein_case(
    name: str, of_p: Numbers, of_q: Numbers, quantile: Callable[..., Any], **options: Any
) -> DistributionCase:
    """The row of W₂, by ∫ (F⁻¹ − G⁻¹)² over the levels."""

    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            a, b = (tuple(mp.mpf(x) for x in numbers) for numbers in (p, q))
            square = mp.quad(
                lambda u: (quantile(u, *a) - quantile(u, *b)) ** 2, [0, mp.mpf("0.5"), 1]
            )
            return mp.sqrt(square)

    make = FAMILIES[name].make
    return DistributionCase("wasserstein", make, of_p, make, of_q, truth, **options)
