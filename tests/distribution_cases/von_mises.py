"""Von Mises, and uniform angles."""

from __future__ import annotations

from line_densities import entropy_case, kl_case, renyi_case

ONE, OTHER = (0.5, 1.5), (-1.0, 0.75)

CASES = [
    kl_case("von_mises", ONE, "von_mises", OTHER),
    kl_case("von_mises", (0.5, 60.0), "von_mises", (0.75, 70.0)),
    kl_case("von_mises", (0.5, 20.0), "von_mises", (0.25, 22.0)),
    renyi_case("von_mises", ONE, OTHER, 0.5),
    renyi_case("von_mises", ONE, OTHER, 2.0),
    kl_case("von_mises", ONE, "uniform", (-3.5, 4.0)),
    kl_case("uniform", (-2.0, 1.0), "von_mises", ONE),
    entropy_case("von_mises", ONE),
    entropy_case("von_mises", (0.5, 64.0)),
]
