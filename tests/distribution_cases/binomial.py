"""Binomial with equal counts; with a larger count of Q it is among the finite sums."""

from __future__ import annotations

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import enumerated, five, of_five

ONE, OTHER = (0.25,), (0.625,)


def renyi(order: float) -> DistributionCase:
    truth = enumerated(oracle.renyi, of_five, of_five, order)
    return DistributionCase("renyi", five, ONE, five, OTHER, truth, alpha=order)


CASES = [
    DistributionCase("kl", five, ONE, five, OTHER, enumerated(oracle.kl, of_five, of_five)),
    renyi(0.25),
    renyi(3.0),
]
