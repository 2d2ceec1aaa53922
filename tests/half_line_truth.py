"""The textbook formulas of the half-line at 60 digits, so that what cancels leaves enough.

That these formulas are right is shown by quadrature in the battery of `test_battery`.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp
import torch
from torch.distributions import (
    Distribution,
    Exponential,
    Gamma,
    HalfNormal,
    InverseGamma,
    Weibull,
)

Numbers = tuple[float, ...]

ARITY = {Gamma: 2, Exponential: 1, InverseGamma: 2, Weibull: 2, HalfNormal: 1}


def make(
    kind: type[Distribution], numbers: Numbers, dtype: torch.dtype = torch.float64
) -> Distribution:
    return kind(*(torch.tensor(x, dtype=dtype) for x in numbers))


def powers_of_gamma(kind: type[Distribution], numbers: Numbers) -> tuple[Any, Any, Any]:
    """a, k and log s of X = s·T^(1/k), T ~ Gamma(a, 1)."""
    x = [mp.mpf(number) for number in numbers]
    table: dict[type[Distribution], Any] = {
        Gamma: lambda: (x[0], mp.mpf(1), -mp.log(x[1])),
        Exponential: lambda: (mp.mpf(1), mp.mpf(1), -mp.log(x[0])),
        InverseGamma: lambda: (x[0], mp.mpf(-1), mp.log(x[1])),
        Weibull: lambda: (mp.mpf(1), x[1], mp.log(x[0])),
        HalfNormal: lambda: (mp.mpf(1) / 2, mp.mpf(2), mp.log(x[0]) + mp.log(2) / 2),
    }
    return table[kind]()


def true_kl(kind_p: type[Distribution], p: Numbers, kind_q: type[Distribution], q: Numbers) -> Any:
    """Bauckhage's formula, as written."""
    with mp.workdps(60):
        a, k, log_s = powers_of_gamma(kind_p, p)
        b, m, log_t = powers_of_gamma(kind_q, q)
        r, gap = m / k, m * (log_s - log_t)
        if a + r <= 0:
            return mp.inf
        moment = mp.exp(gap + mp.loggamma(a + r) - mp.loggamma(a))
        entropies = mp.loggamma(b) - mp.loggamma(a) + (a - b * r) * mp.digamma(a) - a
        return entropies - mp.log(abs(r)) - b * gap + moment


def true_renyi_of_gammas(p: Numbers, q: Numbers, alpha: float) -> Any:
    with mp.workdps(60):
        (a, beta), (b, gamma), order = map(mp.mpf, p), map(mp.mpf, q), mp.mpf(alpha)
        shape, rate = order * a + (1 - order) * b, order * beta + (1 - order) * gamma
        if shape <= 0 or rate <= 0:
            return mp.inf

        def normalizer(a: Any, beta: Any) -> Any:
            return mp.loggamma(a) - a * mp.log(beta)

        between = order * normalizer(a, beta) + (1 - order) * normalizer(b, gamma)
        return (normalizer(shape, rate) - between) / (order - 1)


def relative_error(value: float, truth: Any) -> float:
    return float(abs((mp.mpf(value) - truth) / truth))
