"""Gumbel."""

from __future__ import annotations

import mpmath as mp

from line_densities import entropy_case, kl_case, renyi_case, wasserstein_case

ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)

CASES = [
    kl_case("gumbel", ONE, "gumbel", OTHER),
    kl_case("gumbel", ONE, "gumbel", (0.75, 1.75)),
    renyi_case("gumbel", ONE, (1.0, 1.5), 0.5, differentiable=False),
    renyi_case("gumbel", ONE, (0.25, 1.5), 3.0, differentiable=False),
    entropy_case("gumbel", ONE),
    wasserstein_case("gumbel", ONE, OTHER, lambda u, loc, scale: loc - scale * mp.log(-mp.log(u))),
]
