"""The public surface is pinned: a name comes or goes only together with a line here.

Every name is importable, documented with an example, and keeps the one calling convention.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import kullback

TWO_SIDED = [
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "cross_entropy",
    "f_divergence",
    "hellinger_distance",
    "jeffreys_divergence",
    "js_divergence",
    "kl_divergence",
    "renyi_divergence",
    "total_variation",
]
SURFACE = sorted(
    [
        *TWO_SIDED,
        "Comparison",
        "Estimate",
        "Explanation",
        "compare",
        "entropy",
        "errors",
        "estimate",
        "explain",
        "same_distribution",
        "wasserstein_distance",
    ]
)


def test_surface_is_pinned() -> None:
    assert kullback.__all__ == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_every_name_is_documented(name: str) -> None:
    item = getattr(kullback, name)
    text = inspect.getdoc(item) or ""
    assert text, "no docstring"
    if inspect.isfunction(item) and name != "compare":  # which needs two models
        assert ">>>" in text, "a docstring has an example that runs"


@pytest.mark.parametrize("name", TWO_SIDED)
def test_first_line_gives_the_direction(name: str) -> None:
    first = (inspect.getdoc(getattr(kullback, name)) or "").partition("\n")[0]
    assert re.search(r"\((p‖q|p, q)\) = ", first), first


@pytest.mark.parametrize("name", [*TWO_SIDED, "explain", "wasserstein_distance"])
def test_calling_convention(name: str) -> None:
    parameters = inspect.signature(getattr(kullback, name)).parameters
    assert list(parameters)[:2] == ["p", "q"]
    assert parameters["space"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["space"].default == "probs"
    if name != "explain":  # which takes one row
        assert parameters["dim"].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters["dim"].default == -1


def test_entropy_takes_one_side() -> None:
    parameters = inspect.signature(kullback.entropy).parameters
    assert next(iter(parameters)) == "p"
    assert parameters["space"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["dim"].default == -1


@pytest.mark.parametrize("first", ["kullback", "kullback.compare.positions", "kullback.cli"])
def test_compare_is_the_function_whatever_is_imported_first(first: str) -> None:
    """The function shares its name with the room, which an import of it must not put in front."""
    check = f"import {first}, kullback, kullback.compare.positions; kullback.compare.__call__"
    subprocess.run([sys.executable, "-c", check], check=True)
