"""What all tests share: the option `--slow`, without which heavier proofs are skipped by name."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the heavier proofs too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="a heavier proof: run with --slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)
