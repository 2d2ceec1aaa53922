"""Beta."""

from __future__ import annotations

from line_densities import entropy_case, kl_case, renyi_case

ONE, OTHER = (2.5, 1.5), (1.25, 3.0)

CASES = [
    kl_case("beta", ONE, "beta", OTHER),
    kl_case("beta", ONE, "beta", (2.625, 1.4375)),
    renyi_case("beta", ONE, OTHER, 0.5),
    renyi_case("beta", ONE, OTHER, 1.5),
    kl_case("beta", ONE, "uniform", (-0.5, 1.25)),
    kl_case("beta", (1.5, 1.25), "uniform", (0.0, 1.25), differentiable=False),
    entropy_case("beta", ONE),
    entropy_case("beta", (30.0, 12.5)),
    kl_case("beta", ONE, "continuous_bernoulli", (-2.5,)),
    kl_case("beta", ONE, "gamma", (2.5, 0.75)),
    kl_case("beta", ONE, "exponential", (0.75,)),
    kl_case("beta", ONE, "inverse_gamma", (2.5, 0.75)),
    kl_case("beta", ONE, "weibull", (0.75, 2.5)),
    kl_case("beta", ONE, "half_normal", (0.75,)),
    kl_case("beta", ONE, "log_normal", (0.75, 2.5)),
    kl_case("beta", ONE, "kumaraswamy", (1.0, 2.5), differentiable=False),
    kl_case("beta", (2.5, 1.0), "kumaraswamy", (1.5, 2.5), differentiable=False),
]
