"""Kumaraswamy: exact for one inner power, and against powers of a uniform variable."""

from __future__ import annotations

from line_densities import entropy_case, kl_case, renyi_case

ONE = (2.5, 1.5)

CASES = [
    kl_case("kumaraswamy", ONE, "kumaraswamy", (2.5, 3.0), differentiable=False),
    kl_case("kumaraswamy", ONE, "kumaraswamy", (1.75, 1.0), differentiable=False),
    renyi_case("kumaraswamy", ONE, (2.5, 3.0), 0.5, differentiable=False),
    renyi_case("kumaraswamy", ONE, (2.5, 2.0), 2.0, differentiable=False),
    kl_case("kumaraswamy", ONE, "uniform", (-0.5, 1.25)),
    kl_case("kumaraswamy", ONE, "beta", (1.75, 1.0), differentiable=False),
    kl_case("kumaraswamy", (1.0, 1.5), "beta", (1.75, 2.5), differentiable=False),
    kl_case("kumaraswamy", ONE, "gamma", (2.5, 0.75)),
    kl_case("kumaraswamy", ONE, "exponential", (0.75,)),
    kl_case("kumaraswamy", ONE, "inverse_gamma", (2.5, 0.75)),
    kl_case("kumaraswamy", ONE, "weibull", (0.75, 2.5)),
    kl_case("kumaraswamy", ONE, "half_normal", (0.75,)),
    kl_case("kumaraswamy", ONE, "log_normal", (0.75, 2.5)),
    entropy_case("kumaraswamy", ONE),
]
