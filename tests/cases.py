"""The table of known answers: every divergence on pairs whose value is known in closed form.

One row per divergence and pair; `tensors/test_families.py` fails when a registered divergence has
no row, and checks every row in every space and dtype.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

INF = math.inf
LOG2, LOG3 = math.log(2), math.log(3)


@dataclass(frozen=True)
class Case:
    """D(p‖q) = value; `by` says how the value was obtained."""

    divergence: str
    p: tuple[float, ...]
    q: tuple[float, ...]
    value: float
    by: str


FAIR, SKEW = (0.5, 0.5), (0.25, 0.75)
HOLE, FULL = (0.5, 0.5, 0.0), (0.25, 0.5, 0.25)
LEFT, RIGHT = (1.0, 0.0), (0.0, 1.0)

CASES = [
    Case("kl", FAIR, SKEW, 0.5 * math.log(4 / 3), "½ log 2 + ½ log(2/3)"),
    Case("kl", SKEW, FAIR, 0.75 * LOG3 - LOG2, "¼ log ½ + ¾ log(3/2)"),
    Case("kl", HOLE, FULL, 0.5 * LOG2, "½ log 2; 0·log 0 = 0"),
    Case("kl", FULL, HOLE, INF, "mass ¼ where q = 0"),
    Case("kl", LEFT, RIGHT, INF, "disjoint supports"),
    Case("reverse_kl", FAIR, SKEW, 0.75 * LOG3 - LOG2, "KL(q‖p)"),
    Case("reverse_kl", HOLE, FULL, INF, "KL(q‖p)"),
    Case("reverse_kl", FULL, HOLE, 0.5 * LOG2, "KL(q‖p)"),
    Case("jeffreys", FAIR, SKEW, 0.25 * LOG3, "Σ (p − q) log(p/q) = ¼ log 2 − ¼ log(2/3)"),
    Case("jeffreys", HOLE, FULL, INF, "either direction infinite"),
    Case("js", LEFT, RIGHT, LOG2, "the upper bound"),
    Case(
        "js",
        HOLE,
        FULL,
        0.5 * (0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * LOG2),
        "m = (3/8, 1/2, 1/8)",
    ),
    Case("total_variation", FAIR, SKEW, 0.25, "½(¼ + ¼)"),
    Case("total_variation", LEFT, RIGHT, 1.0, "disjoint supports"),
    Case("total_variation", FULL, HOLE, 0.25, "½(¼ + 0 + ¼)"),
    Case("squared_hellinger", LEFT, RIGHT, 1.0, "disjoint supports"),
    Case("squared_hellinger", FAIR, SKEW, 1 - math.sqrt(1 / 8) - math.sqrt(3 / 8), "1 − Σ√(pq)"),
    Case("squared_hellinger", HOLE, FULL, 0.5 - math.sqrt(1 / 8), "1 − √⅛ − ½"),
    Case("chi_squared", FAIR, SKEW, 1 / 3, "¹⁄₁₆ · (4 + 4/3)"),
    Case("chi_squared", HOLE, FULL, 0.5, "¼ + 0 + ¼"),
    Case("chi_squared", FULL, HOLE, INF, "mass where q = 0"),
    Case("alpha", LEFT, RIGHT, 4.0, "α = ½: 4 (1 − Σ√(pq))"),
    Case("alpha", FAIR, SKEW, 4 * (1 - math.sqrt(1 / 8) - math.sqrt(3 / 8)), "4 (1 − Σ√(pq))"),
    Case("alpha", HOLE, FULL, 4 * (0.5 - math.sqrt(1 / 8)), "4 (1 − Σ√(pq))"),
]
