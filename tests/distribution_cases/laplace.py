"""Laplace."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from line_densities import (
    entropy_case,
    kl_case,
    renyi_case,
    total_variation_case,
    wasserstein_case,
)

ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)


def quantile(u: Any, loc: Any, scale: Any) -> Any:
    return loc + scale * (mp.log(2 * u) if u < 0.5 else -mp.log(2 - 2 * u))


CASES = [
    kl_case("laplace", ONE, "laplace", OTHER, kinks=(-1.0,)),
    kl_case("laplace", ONE, "laplace", (0.625, 1.25), kinks=(0.625,)),
    renyi_case("laplace", ONE, OTHER, 0.5, kinks=(-1.0,)),
    renyi_case("laplace", ONE, (0.75, 1.25), 0.25, kinks=(0.75,)),
    # α/b = (1 − α)/c: the two kernels fall equally fast between the locations.
    renyi_case("laplace", (0.5, 2.0), (-1.0, 1.0), 2 / 3, kinks=(-1.0,)),
    renyi_case("laplace", ONE, (-1.0, 2.0), 2.0, kinks=(-1.0,)),
    entropy_case("laplace", ONE),
    wasserstein_case("laplace", ONE, OTHER, quantile),
    # At one location the densities cross at ± b c log(b/c)/(b − c): differentiable in the scales
    # and the locations together, but no step out of either condition is exact.
    total_variation_case(
        "laplace",
        (0.5, 1.5),
        (0.5, 0.75),
        (-0.539720770839918, 1.539720770839918),
        differentiable=False,
    ),
    total_variation_case("laplace", (0.5, 1.5), (-1.0, 1.5), (-0.25,), differentiable=False),
]
