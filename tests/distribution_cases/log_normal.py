"""LogNormal; its KL from LogNormal is among the rows of `normal`."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch.distributions import LogNormal

from distribution_cases import DistributionCase, Numbers
from distribution_cases.generalized_gamma import renyi_row

ONE, OTHER = (0.25, 0.5), (-0.5, 0.75)


def wasserstein(p: Numbers, q: Numbers) -> Any:
    """Both are exponentials of one standard normal variable."""

    def squared_gap(z: Any) -> Any:
        gap = mp.exp(p[0] + p[1] * z) - mp.exp(q[0] + q[1] * z)
        return gap**2 * mp.npdf(z)

    return mp.sqrt(mp.quad(squared_gap, [-16, -4, 0, 4, 16]))


CASES = [renyi_row(LogNormal, ONE, OTHER, alpha) for alpha in (0.5, 1.5)]
CASES += [DistributionCase("wasserstein", LogNormal, ONE, LogNormal, OTHER, wasserstein)]
