"""Categorical and OneHotCategorical."""

from __future__ import annotations

from typing import Any

from torch.distributions import (
    Categorical,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import entropy_of, enumerated, row

ONE, OTHER = ([0.5, 0.125, 0.25, 0.125],), ([0.125, 0.125, 0.25, 0.5],)
LOGITS, OTHER_LOGITS = ([0.5, -1.0, 2.0, 0.0],), ([1.0, 1.5, -0.5, 0.25],)


def of_logits(logits: Any) -> Categorical:
    return Categorical(logits=logits)


CASES = [
    DistributionCase("kl", Categorical, ONE, Categorical, OTHER, enumerated(oracle.kl, row, row)),
    DistributionCase(
        "kl",
        of_logits,
        LOGITS,
        of_logits,
        OTHER_LOGITS,
        enumerated(oracle.kl, oracle.softmax, oracle.softmax),
    ),
    DistributionCase(
        "kl", Categorical, ONE, of_logits, LOGITS, enumerated(oracle.kl, row, oracle.softmax)
    ),
    DistributionCase(
        "kl", OneHotCategorical, ONE, OneHotCategorical, OTHER, enumerated(oracle.kl, row, row)
    ),
    DistributionCase(
        "kl",
        OneHotCategoricalStraightThrough,
        ONE,
        OneHotCategorical,
        OTHER,
        enumerated(oracle.kl, row, row),
    ),
    DistributionCase(
        "renyi",
        Categorical,
        ONE,
        Categorical,
        OTHER,
        enumerated(oracle.renyi, row, row, 0.5),
        alpha=0.5,
    ),
    DistributionCase(
        "renyi",
        of_logits,
        LOGITS,
        of_logits,
        OTHER_LOGITS,
        enumerated(oracle.renyi, oracle.softmax, oracle.softmax, 2.0),
        alpha=2.0,
    ),
    DistributionCase(
        "renyi",
        OneHotCategorical,
        ONE,
        OneHotCategorical,
        OTHER,
        enumerated(oracle.renyi, row, row, 2.0),
        alpha=2.0,
    ),
    DistributionCase("entropy", Categorical, ONE, Categorical, ONE, entropy_of(row)),
    DistributionCase("entropy", of_logits, LOGITS, of_logits, LOGITS, entropy_of(oracle.softmax)),
    DistributionCase("entropy", OneHotCategorical, ONE, OneHotCategorical, ONE, entropy_of(row)),
]
