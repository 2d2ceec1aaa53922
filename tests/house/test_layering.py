"""Imports point one way: a room may use itself and the rooms before it, never one after it.

The imports are read from the source, wherever in a file they stand, so that one hidden in a
function or under TYPE_CHECKING counts like one at the top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "kullback"

ROOMS = (
    "errors",
    "numerics",
    "divergences",
    "results",
    "kernels",
    "tensors",
    "distributions",
    "samples",
    "training",
    "compare",
    "tables",
    "report",
    "cli",
    "__main__",
)


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """The line and full name of everything that `source`, a file of `package`, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, node.module] if node.module else base)
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def wrong_imports(source: str, room: str, package: str) -> list[str]:
    """Which imports of a file in `room` point at a later room or at the public surface."""
    wrong = []
    for line, name in imported_modules(source, package):
        top, _, rest = name.partition(".")
        if top != "kullback":
            continue
        target = rest.partition(".")[0]
        if target not in ROOMS:
            wrong.append(f"line {line}: {name} is in no room; import from the room that has it")
        elif ROOMS.index(target) > ROOMS.index(room):
            wrong.append(f"line {line}: {room} comes before {target}")
    return wrong


def files_of_rooms() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", files_of_rooms(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    inside = path.relative_to(PACKAGE)
    room = inside.with_suffix("").parts[0]
    assert room in ROOMS, f"{name_of(path)} is in no room: give the room its place in ROOMS"
    package = ".".join(["kullback", *inside.parent.parts])
    assert wrong_imports(path.read_text(encoding="utf-8"), room, package) == []


@pytest.mark.parametrize(
    "source",
    [
        "from kullback.compare import compare",
        "import kullback.compare.positions",
        "from kullback import compare",
        "from .. import cli",
        "from ..report.terminal import show",
        "def f():\n    from kullback import cli",
        "if TYPE_CHECKING:\n    from kullback.compare.positions import PositionBatch",
        "from kullback import kl_divergence",
        "import kullback",
    ],
)
def test_a_wrong_import_is_caught(source: str) -> None:
    assert len(wrong_imports(source, "tensors", "kullback.tensors")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from kullback import kernels",
        "from kullback.numerics import Pair, total",
        "from .inputs import rows",
        "from ..errors import ShapeError",
        "import torch",
    ],
)
def test_a_right_import_is_let_through(source: str) -> None:
    assert wrong_imports(source, "tensors", "kullback.tensors") == []
