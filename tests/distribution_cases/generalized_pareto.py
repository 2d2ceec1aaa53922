"""GeneralizedPareto, by quadrature over the level u: X = loc + scale·((1 − u)^(−ξ) − 1)/ξ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import Exponential, GeneralizedPareto

from distribution_cases import DistributionCase, Numbers


def in_exponential(p: Numbers) -> Callable[[Any], Any]:
    """X as a function of e = −log(1 − u), which is Exponential."""
    loc, scale, xi = (mp.mpf(x) for x in p)
    return lambda e: loc + scale * (mp.expm1(xi * e) / xi if xi else e)


def log_density(loc: Any, scale: Any, xi: Any) -> Callable[[Any], Any]:
    loc, scale, xi = mp.mpf(loc), mp.mpf(scale), mp.mpf(xi)
    if xi == 0:
        return lambda x: -mp.log(scale) - (x - loc) / scale
    return lambda x: -mp.log(scale) - (1 + 1 / xi) * mp.log1p(xi * (x - loc) / scale)


def over_quantiles(p: Numbers, f: Callable[[Any], Any]) -> Any:
    """E_P f(X); with digits to spare for an upper end that X comes within e⁻⁵⁰ of."""
    with mp.workdps(50):
        quantile = in_exponential(p)
        return mp.quad(lambda e: f(quantile(e)) * mp.exp(-e), [0, 2, 10, 60])


def kl(p: Numbers, q: Numbers) -> Any:
    of_p, of_q = log_density(*p), log_density(*q)
    return over_quantiles(p, lambda x: of_p(x) - of_q(x))


def renyi(p: Numbers, q: Numbers, alpha: float) -> Any:
    of_p, of_q = log_density(*p), log_density(*q)
    power = over_quantiles(p, lambda x: mp.exp((alpha - 1) * (of_p(x) - of_q(x))))
    return mp.log(power) / (alpha - 1)


def entropy(p: Numbers, q: Numbers) -> Any:
    of_p = log_density(*p)
    return -over_quantiles(p, of_p)


def without_shape(loc: Tensor, scale: Tensor) -> GeneralizedPareto:
    """A shifted Exponential."""
    return GeneralizedPareto(loc, scale, torch.zeros_like(scale))


def standard_pareto(scale: Tensor) -> GeneralizedPareto:
    """At 1, with concentration scale/4: the family in which one variable is Exponential."""
    return GeneralizedPareto(torch.ones_like(scale), scale, scale / 4)


def full(p: Numbers) -> Numbers:
    return 1.0, p[0], p[0] / 4


CASES = [
    DistributionCase(
        "kl",
        GeneralizedPareto,
        (1.0, 1.5, 0.25),
        without_shape,
        (0.5, 0.75),
        lambda p, q: kl(p, (*q, 0)),
    ),
    DistributionCase(
        "kl",
        GeneralizedPareto,
        (1.0, 1.5, -0.75),
        Exponential,
        (0.5,),
        lambda p, q: kl(p, (0, 1 / q[0], 0)),
    ),
    DistributionCase(
        "kl",
        Exponential,
        (2.0,),
        without_shape,
        (-0.5, 0.75),
        lambda p, q: kl((0, 1 / p[0], 0), (*q, 0)),
    ),
    DistributionCase(
        "kl",
        standard_pareto,
        (1.5,),
        standard_pareto,
        (0.75,),
        lambda p, q: kl(full(p), full(q)),
    ),
    DistributionCase(
        "renyi",
        standard_pareto,
        (1.5,),
        standard_pareto,
        (0.75,),
        lambda p, q: renyi(full(p), full(q), 0.5),
        alpha=0.5,
    ),
    DistributionCase(
        "entropy", GeneralizedPareto, (1.0, 1.5, 0.25), GeneralizedPareto, (1.0, 1.5, 0.25), entropy
    ),
]
