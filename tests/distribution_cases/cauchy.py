"""Cauchy and Student's t."""

from __future__ import annotations

from line_densities import entropy_case, kl_case

ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)

CASES = [
    kl_case("cauchy", ONE, "cauchy", OTHER),
    kl_case("cauchy", ONE, "student", (3.5, -1.0, 0.75)),
    kl_case("student", (1.0, *ONE), "student", (1.0, *OTHER), differentiable=False),
    kl_case("student", (1.0, *ONE), "cauchy", OTHER, differentiable=False),
    kl_case("half_cauchy", (1.5,), "cauchy", (0.0, 0.75), differentiable=False),
    entropy_case("cauchy", ONE),
    entropy_case("student", (3.5, *ONE)),
    entropy_case("student", (200.0, *ONE)),
]
