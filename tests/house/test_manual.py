"""The manual's own machinery: what its build refuses, and how it shows the examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return load("hooks")


def test_a_name_without_a_page_is_refused(hooks: ModuleType) -> None:
    missing = hooks.undocumented(set())
    assert "kullback.kl_divergence is on no page of docs/api" in missing
    assert "kullback.errors.ShapeError is on no page of docs/api" in missing


def test_a_name_without_a_docstring_is_refused(
    hooks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kullback

    monkeypatch.setattr(kullback.kl_divergence, "__doc__", None)
    missing = hooks.undocumented({"kullback.kl_divergence"})
    assert "kullback.kl_divergence has no docstring" in missing


def test_a_module_does_not_document_the_function_of_its_name(hooks: ModuleType) -> None:
    from kullback.compare import compare

    assert hooks.anchors_of("kullback", "compare", compare) == {"kullback.compare.compare"}


def test_a_docstring_that_a_dataclass_wrote_for_itself_is_none(hooks: ModuleType) -> None:
    from dataclasses import dataclass

    @dataclass
    class Silent:
        value: int

    assert Silent.__doc__
    assert not hooks.has_own_docstring(Silent)


def test_the_table_has_every_divergence(hooks: ModuleType) -> None:
    from kullback.divergences import DIVERGENCES

    page = hooks.on_page_markdown(f"above\n\n{hooks.TABLE_MARK}\n")
    assert all(f"`{name}` |" in page for name in DIVERGENCES)
    assert hooks.on_page_markdown("no mark") == "no mark"


def test_the_page_on_distributions_is_made_by_the_library() -> None:
    tables = load("distribution_tables")
    page = tables.on_page_markdown(
        f"{tables.MATRIX_MARK}\n\n{tables.FORMS_MARK}\n\n<!-- picture: counts -->"
    )
    assert "<!--" not in page
    assert 'class="exact" title="Normal‖Normal: exact: Cover' in page
    assert '??? abstract "kl: ' in page
    assert page.count("<svg") == 1
    assert "> KL(P‖Q) = 0.3425 nats" in page
    assert tables.on_page_markdown("no mark") == "no mark"


def test_examples_are_fenced_down_to_the_blank_line() -> None:
    docstring = "Words.\n\n>>> 1\n1\n>>> 2\n2\n\nMore.\n\nExample:\n    >>> 3\n    3"
    assert load("doctests").fenced(docstring) == (
        "Words.\n\n```pycon\n>>> 1\n1\n>>> 2\n2\n```\n\nMore.\n\n"
        "Example:\n    ```pycon\n    >>> 3\n    3\n    ```"
    )
