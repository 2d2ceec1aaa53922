"""FisherSnedecor."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import FisherSnedecor, HalfNormal, LogNormal

from distribution_cases import DistributionCase, Numbers, integral
from distribution_cases.generalized_gamma import (
    NUMBERS,
    POINTS,
    entropy_row,
    fisher_snedecor,
    kl_row,
)

# Six degrees of freedom below, so that E X² is finite.
ONE = (3.0, 6.5)


def with_ratio_half(df1: Tensor) -> FisherSnedecor:
    return FisherSnedecor(df1, 2 * torch.as_tensor(df1))


def kl(p: Numbers, q: Numbers) -> Any:
    with mp.workdps(20):
        of_p, of_q = fisher_snedecor(p[0], 2 * p[0]), fisher_snedecor(q[0], 2 * q[0])
        return integral(of_p, of_q, POINTS)


CASES = [
    kl_row(FisherSnedecor, fisher_snedecor, ONE, LogNormal, NUMBERS[LogNormal]),
    kl_row(FisherSnedecor, fisher_snedecor, ONE, HalfNormal, NUMBERS[HalfNormal]),
    entropy_row(FisherSnedecor, fisher_snedecor, ONE),
    DistributionCase("kl", with_ratio_half, (3.0,), with_ratio_half, (5.0,), kl),
]
