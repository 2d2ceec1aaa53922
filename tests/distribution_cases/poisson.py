"""Poisson."""

from __future__ import annotations

from torch.distributions import Poisson

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import enumerated, poisson_row

ONE, OTHER = (2.5,), (1.25,)


def renyi(order: float) -> DistributionCase:
    truth = enumerated(oracle.renyi, poisson_row, poisson_row, order)
    return DistributionCase("renyi", Poisson, ONE, Poisson, OTHER, truth, alpha=order)


CASES = [
    DistributionCase(
        "kl", Poisson, ONE, Poisson, OTHER, enumerated(oracle.kl, poisson_row, poisson_row)
    ),
    renyi(0.25),
    renyi(2.0),
]
