"""Weibull, and Gamma and Exponential against it: around the Exponential that they share."""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath as mp
from torch import Tensor
from torch.distributions import Exponential, Gamma, Weibull

from distribution_cases import DistributionCase, Numbers
from distribution_cases.generalized_gamma import DENSITIES, kl_row, renyi_row

# On either side of the line between the two formulas.
NEAR: dict[type, Numbers] = {Gamma: (1.25, 0.75), Exponential: (1.5,), Weibull: (1.25, 1.125)}
FAR: dict[type, Numbers] = {Gamma: (3.5, 0.75), Exponential: (0.5,), Weibull: (0.75, 2.5)}
PAIRS = [(p, q) for p, q in product(FAR, FAR) if Weibull in (p, q) and (p, q) != (Weibull, Weibull)]


def wasserstein(p: Numbers, q: Numbers) -> Any:
    """X = s·E^(1/k) for E ~ Exponential(1), substituted E = u⁴ to smooth the root at 0."""
    (s, k), (t, m) = ([mp.mpf(x) for x in numbers] for numbers in (p, q))

    def squared_gap(u: Any) -> Any:
        return (s * u ** (4 / k) - t * u ** (4 / m)) ** 2 * mp.exp(-(u**4)) * 4 * u**3

    return mp.sqrt(mp.quad(squared_gap, [0, 1, 2, 3]))


def same_shape(scale: Tensor) -> Weibull:
    return Weibull(scale, 1.75)


CASES = [kl_row(p, DENSITIES[p], side[p], q, side[q]) for p, q in PAIRS for side in (NEAR, FAR)]
CASES += [
    kl_row(Weibull, DENSITIES[Weibull], NEAR[Weibull], Weibull, (1.0, 0.75)),
    kl_row(Weibull, DENSITIES[Weibull], NEAR[Weibull], Weibull, FAR[Weibull]),
    DistributionCase("wasserstein", Weibull, (1.25, 1.75), Weibull, (2.0, 0.75), wasserstein),
]
for alpha in (0.5, 1.25):
    row = renyi_row(Weibull, (1.25, 1.75), (2.0, 1.75), alpha)
    CASES.append(
        DistributionCase(
            "renyi",
            same_shape,
            (1.25,),
            same_shape,
            (2.0,),
            lambda p, q, row=row: row.truth((*p, 1.75), (*q, 1.75)),
            alpha=alpha,
        )
    )
