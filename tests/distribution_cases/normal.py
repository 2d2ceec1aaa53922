"""Normal and LogNormal."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from torch.distributions import LogNormal, Normal

from distribution_cases import DistributionCase, Numbers, integral
from line_densities import renyi_case, total_variation_case


def log_normal_density(loc: Any, scale: Any) -> Any:
    """log N(x; loc, scale²)."""
    loc, scale = mp.mpf(loc), mp.mpf(scale)
    return lambda x: -((x - loc) ** 2) / (2 * scale**2) - mp.log(scale) - mp.log(2 * mp.pi) / 2


def kl_by_quadrature(p: Numbers, q: Numbers) -> Any:
    middle, reach = p[0], 20 * p[1]
    points = [middle - reach, middle - reach / 4, middle, middle + reach / 4, middle + reach]
    return integral(log_normal_density(*p), log_normal_density(*q), points)


def entropy_by_quadrature(p: Numbers, q: Numbers) -> Any:
    density = log_normal_density(*p)
    points = [p[0] - 20 * p[1], p[0], p[0] + 20 * p[1]]
    return mp.quad(lambda x: -mp.exp(density(x)) * density(x), points)


def wasserstein_by_quantiles(p: Numbers, q: Numbers) -> Any:
    """∫ (F⁻¹ − G⁻¹)² over levels, in the standard variable of both."""
    standard = log_normal_density(0, 1)
    gap = lambda z: (p[0] + p[1] * z) - (q[0] + q[1] * z)  # noqa: E731
    return mp.sqrt(mp.quad(lambda z: gap(z) ** 2 * mp.exp(standard(z)), [-20, 0, 20]))


ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)

CASES = [
    DistributionCase("kl", Normal, ONE, Normal, OTHER, kl_by_quadrature),
    DistributionCase("kl", LogNormal, ONE, LogNormal, OTHER, kl_by_quadrature),
    renyi_case("normal", ONE, OTHER, 0.5),
    renyi_case("normal", ONE, (-1.0, 2.0), 2.0),
    # The crossings solve a quadratic; at equal scales there is one, half way.
    total_variation_case("normal", ONE, OTHER, (-2.9281879326054811, -0.0718120673945190)),
    total_variation_case("normal", ONE, (-1.0, 1.5), (-0.25,)),
    DistributionCase("entropy", Normal, ONE, Normal, ONE, entropy_by_quadrature),
    DistributionCase("wasserstein", Normal, ONE, Normal, OTHER, wasserstein_by_quantiles),
]
