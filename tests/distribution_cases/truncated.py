"""Truncations of one base, and of two Normals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import Uniform

from distribution_cases import DistributionCase, Numbers
from kullback.distributions.truncated import Truncated
from line_densities import FAMILIES, density

BASES: dict[str, Numbers] = {
    "normal": (0.5, 1.5),
    "exponential": (0.75,),
    "laplace": (0.5, 1.5),
    "cauchy": (0.5, 1.5),
    "gumbel": (0.5, 1.5),
    "log_normal": (0.25, 0.5),
    "weibull": (0.75, 2.5),
    "half_normal": (0.75,),
    "half_cauchy": (0.75,),
    "pareto": (0.25, 2.5),
    "gamma": (2.5, 1.5),
    "student": (4.5, 0.5, 1.5),
}
LOW, HIGH = 0.5, 2.0


def make(name: str, low: float, high: float) -> Callable[..., Truncated]:
    def truncate(*numbers: Tensor) -> Truncated:
        return Truncated(FAMILIES[name].make(*numbers), low, high)

    return truncate


def log_truncated(name: str, numbers: Numbers, low: float, high: float) -> Callable[[Any], Any]:
    base = density(name, numbers)
    # LOW is where Laplace has its kink.
    points = sorted({low, LOW, (low + high) / 2, high})
    log_mass = mp.log(mp.quad(lambda x: mp.exp(base(x)), points))
    return lambda x: base(x) - log_mass


def kl(log_p: Callable[[Any], Any], log_q: Callable[[Any], Any], low: float, high: float) -> Any:
    middle = (low + high) / 2
    return mp.quad(lambda x: mp.exp(log_p(x)) * (log_p(x) - log_q(x)), [low, middle, high])


def nested(name: str, p: Numbers, q: Numbers, **options: Any) -> DistributionCase:
    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            of_p = log_truncated(name, p, LOW, HIGH)
            return kl(of_p, log_truncated(name, q, 0.25, 3.0), LOW, HIGH)

    return DistributionCase(
        "kl", make(name, LOW, HIGH), p, make(name, 0.25, 3.0), q, truth, **options
    )


def against_base(name: str, p: Numbers, q: Numbers, **options: Any) -> DistributionCase:
    def truth(p: Numbers, q: Numbers) -> Any:
        with mp.workdps(22):
            return kl(log_truncated(name, p, LOW, HIGH), density(name, q), LOW, HIGH)

    return DistributionCase(
        "kl", make(name, LOW, HIGH), p, FAMILIES[name].make, q, truth, **options
    )


def of_uniform(p: Numbers, q: Numbers) -> Any:
    with mp.workdps(22):
        return kl(density("uniform", p), log_truncated("normal", q, 0.25, 3.0), *p)


def entropy(p: Numbers, q: Numbers) -> Any:
    with mp.workdps(22):
        log_p = log_truncated("normal", p, LOW, HIGH)
        return kl(log_p, lambda x: mp.mpf(0), LOW, HIGH) * -1


# One base is a condition on the parameters, which finite differences would leave.
CASES = [
    nested("normal", (0.5, 1.5), (-1.0, 0.75)),
    *(nested(name, p, p, differentiable=False) for name, p in BASES.items()),
    against_base("normal", (0.5, 1.5), (-1.0, 0.75)),
    DistributionCase(
        "kl",
        make("beta", 0.25, 0.75),
        (2.5, 1.5),
        FAMILIES["beta"].make,
        (2.5, 1.5),
        lambda p, q: -mp.log(mp.betainc(2.5, 1.5, 0.25, 0.75, regularized=True)),
        differentiable=False,
    ),
    *(against_base(name, p, p, differentiable=False) for name, p in BASES.items()),
    DistributionCase("kl", Uniform, (0.5, 1.5), make("normal", 0.25, 3.0), (0.5, 1.5), of_uniform),
    DistributionCase(
        "entropy",
        make("normal", LOW, HIGH),
        (0.5, 1.5),
        make("normal", LOW, HIGH),
        (0.5, 1.5),
        entropy,
    ),
]
