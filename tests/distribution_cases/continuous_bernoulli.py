"""Continuous Bernoulli, by its logit."""

from __future__ import annotations

from line_densities import entropy_case, kl_case, renyi_case

CASES = [
    kl_case("continuous_bernoulli", (0.75,), "continuous_bernoulli", (-2.5,)),
    kl_case("continuous_bernoulli", (0.75,), "continuous_bernoulli", (1.5,)),
    kl_case("continuous_bernoulli", (-6.0,), "continuous_bernoulli", (-8.0,)),
    renyi_case("continuous_bernoulli", (0.75,), (-2.5,), 0.5),
    renyi_case("continuous_bernoulli", (0.75,), (-2.5,), 3.0),
    kl_case("continuous_bernoulli", (0.75,), "uniform", (-0.5, 1.25)),
    kl_case("continuous_bernoulli", (0.75,), "exponential", (2.5,)),
    kl_case("continuous_bernoulli", (-4.0,), "exponential", (3.5,)),
    kl_case("continuous_bernoulli", (0.75,), "half_normal", (1.5,)),
    entropy_case("continuous_bernoulli", (0.75,)),
    entropy_case("continuous_bernoulli", (-6.0,)),
]
