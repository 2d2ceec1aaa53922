"""Bernoulli."""

from __future__ import annotations

from typing import Any

from torch.distributions import Bernoulli

import oracle
from distribution_cases import DistributionCase
from distribution_cases.finite import bernoulli_row, entropy_of, enumerated, logit_row

ONE, OTHER = (0.25,), (0.75,)
LOGIT, OTHER_LOGIT = (-1.5,), (2.0,)


def of_logits(logits: Any) -> Bernoulli:
    return Bernoulli(logits=logits)


def renyi(order: float) -> DistributionCase:
    truth = enumerated(oracle.renyi, bernoulli_row, logit_row, order)
    return DistributionCase("renyi", Bernoulli, ONE, of_logits, OTHER_LOGIT, truth, alpha=order)


CASES = [
    DistributionCase(
        "kl", Bernoulli, ONE, Bernoulli, OTHER, enumerated(oracle.kl, bernoulli_row, bernoulli_row)
    ),
    DistributionCase(
        "kl", of_logits, LOGIT, of_logits, OTHER_LOGIT, enumerated(oracle.kl, logit_row, logit_row)
    ),
    DistributionCase(
        "kl", Bernoulli, ONE, of_logits, LOGIT, enumerated(oracle.kl, bernoulli_row, logit_row)
    ),
    renyi(0.5),
    renyi(2.5),
    DistributionCase("entropy", Bernoulli, ONE, Bernoulli, ONE, entropy_of(bernoulli_row)),
    DistributionCase("entropy", of_logits, LOGIT, of_logits, LOGIT, entropy_of(logit_row)),
]
