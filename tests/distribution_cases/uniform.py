"""Uniform against everything that has a density where it lives."""

from __future__ import annotations

from line_densities import (
    entropy_case,
    kl_case,
    renyi_case,
    total_variation_case,
    wasserstein_case,
)

ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)
INSIDE = (0.25, 0.75)

CASES = [
    kl_case("uniform", ONE, "uniform", (0.25, 2.0)),
    renyi_case("uniform", INSIDE, (0.0, 1.0), 0.5),
    renyi_case("uniform", INSIDE, (0.0, 1.0), 2.0),
    entropy_case("uniform", ONE),
    total_variation_case("uniform", (0.0, 1.0), (0.0, 2.0), (), differentiable=False),
    wasserstein_case("uniform", ONE, OTHER, lambda u, low, high: low + u * (high - low)),
    kl_case("uniform", INSIDE, "beta", (2.5, 0.75)),
    kl_case("uniform", INSIDE, "continuous_bernoulli", (2.5,)),
    kl_case("uniform", INSIDE, "kumaraswamy", (2.5, 1.0), differentiable=False),
    kl_case("uniform", (0.0, 1.0), "kumaraswamy", (2.5, 0.75), differentiable=False),
    kl_case("uniform", ONE, "cauchy", OTHER),
    kl_case("uniform", (0.5, 0.625), "cauchy", (-1.0, 0.75)),
    kl_case("uniform", ONE, "student", (3.5, *OTHER)),
    kl_case("uniform", ONE, "half_cauchy", (0.75,)),
    kl_case("uniform", ONE, "pareto", (0.25, 2.5)),
    kl_case("uniform", ONE, "gamma", (2.5, 0.75)),
    kl_case("uniform", ONE, "exponential", (0.75,)),
    kl_case("uniform", ONE, "inverse_gamma", (2.5, 0.75)),
    kl_case("uniform", ONE, "weibull", (0.75, 2.5)),
    kl_case("uniform", ONE, "half_normal", (0.75,)),
    kl_case("uniform", ONE, "log_normal", (0.75, 2.5)),
    kl_case("uniform", (0.5, 0.53125), "log_normal", (0.75, 2.5)),
]
