"""Normal, Laplace and Gumbel as Q: whatever P has the moments for it."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from distribution_cases import DistributionCase, Numbers
from line_densities import FAMILIES, kl_case

PARAMETERS: dict[str, Numbers] = {
    "normal": (0.5, 1.5),
    "laplace": (0.5, 0.5),
    "gumbel": (0.5, 1.5),
    "student": (4.5, 0.5, 1.5),
    "uniform": (-0.5, 1.5),
    "beta": (2.5, 1.5),
    "continuous_bernoulli": (0.75,),
    "kumaraswamy": (2.5, 1.5),
    "exponential": (0.75,),
    "gamma": (2.5, 1.5),
    "weibull": (0.75, 2.5),
    "log_normal": (0.25, 0.5),
    "inverse_gamma": (4.5, 1.5),
    "pareto": (0.25, 3.5),
    "half_normal": (0.75,),
}
Q = (0.625, 0.75)

TO_NORMAL = [name for name in PARAMETERS if name != "normal"]
TO_LAPLACE = [name for name in PARAMETERS if name != "laplace"]
TO_GUMBEL = (
    "normal",
    "laplace",
    "uniform",
    "continuous_bernoulli",
    "exponential",
    "gamma",
    "half_normal",
)


def against(name: str, q: str) -> DistributionCase:
    return kl_case(name, PARAMETERS[name], q, Q, kinks=Q[:1])


def infinite(name: str, p: Numbers, q: str, of_q: Numbers = Q) -> DistributionCase:
    """E_P(−log q) diverges, by the tails; there is nothing to differentiate."""

    def truth(p: Numbers, q: Numbers) -> Any:
        return mp.inf

    make_p, make_q = FAMILIES[name].make, FAMILIES[q].make
    return DistributionCase("kl", make_p, p, make_q, of_q, truth, differentiable=False)


HEAVY: dict[str, Numbers] = {
    "cauchy": (0.5, 1.5),
    "half_cauchy": (0.75,),
    "student": (1.0, 0.5, 1.5),
}

CASES = [
    *(against(name, "normal") for name in TO_NORMAL),
    *(against(name, "laplace") for name in TO_LAPLACE),
    *(against(name, "gumbel") for name in TO_GUMBEL),
    *(infinite(name, p, q) for name, p in HEAVY.items() for q in ("normal", "laplace", "gumbel")),
    infinite("student", (2.0, 0.5, 1.5), "normal"),
    infinite("pareto", (0.25, 2.0), "normal"),
    infinite("pareto", (0.25, 1.0), "laplace"),
    infinite("inverse_gamma", (1.0, 1.5), "laplace"),
    infinite("inverse_gamma", (2.0, 1.5), "normal"),
    infinite("laplace", (0.5, 0.75), "gumbel"),
]
