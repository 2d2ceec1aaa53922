"""What MkDocs does beyond rendering: it writes the table of divergences, and insists on the API.

The table comes from the registry in `kullback.divergences`, so that it cannot lag behind it.
After the build, every public name must have its own docstring and an anchor on some page;
one that has not fails the build.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

PUBLIC_MODULES = (
    "kullback",
    "kullback.distributions",
    "kullback.divergences",
    "kullback.errors",
    "kullback.results",
)
TABLE_MARK = "<!-- table of divergences -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(TABLE_MARK, divergence_table()) if TABLE_MARK in markdown else markdown


def divergence_table() -> str:
    """One row for each divergence of the registry, and below it the records that are none."""
    from kullback import divergences

    constants = {
        id(getattr(divergences, name)): f'<a id="kullback.divergences.{name}"></a>'
        for name in divergences.__all__
    }
    registry = divergences.DIVERGENCES
    lines = [
        constants[id(registry)],
        "",
        "| name | D(P‖Q) | symmetric | at most | source |",
        "| --- | --- | --- | --- | --- |",
    ]
    for record in registry.values():
        cells = [
            f"{constants.get(id(record), '')}`{record.name}`",
            record.formula.replace("|", r"\|"),
            "yes" if record.symmetric else "no",
            "∞" if math.isinf(record.upper) else f"{record.upper:.4g}",
            record.source,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for record in (getattr(divergences, name) for name in divergences.__all__):
        if hasattr(record, "formula") and record.name not in registry:
            what = f"`{record.name}`, {record.formula} ({record.source})"
            lines += ["", f"{constants[id(record)]}Summed likewise, though no divergence: {what}."]
    return "\n".join(lines)


def on_post_build(config: Any, **_: Any) -> None:
    pages = Path(config["site_dir"]).rglob("*.html")
    anchors = {
        anchor
        for page in pages
        for anchor in re.findall(r'\bid="(kullback[\w.]*)"', page.read_text(encoding="utf-8"))
    }
    missing = undocumented(anchors)
    if missing:
        raise PluginError("Public names that are not documented: " + "; ".join(missing))


def undocumented(anchors: set[str]) -> list[str]:
    """The public names without a docstring of their own, or without one of `anchors`."""
    missing = []
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            item = getattr(module, name)
            if callable(item) and not has_own_docstring(item):
                missing.append(f"{module_name}.{name} has no docstring")
            if anchors.isdisjoint(anchors_of(module_name, name, item)):
                missing.append(f"{module_name}.{name} is on no page of docs/api")
    return missing


def anchors_of(module_name: str, name: str, item: Any) -> set[str]:
    """Where a page may show the name: where it is exported, or where it is defined."""
    exported, defined = f"{module_name}.{name}", f"{getattr(item, '__module__', '')}.{name}"
    # A function that shares its name with a module is not documented by the module's anchor.
    is_other_module = exported in sys.modules and sys.modules[exported] is not item
    return {defined} if is_other_module else {exported, defined}


def has_own_docstring(item: Any) -> bool:
    """Whether `item` was given a docstring, which a dataclass otherwise writes for itself."""
    text = (vars(item).get("__doc__") if isinstance(item, type) else item.__doc__) or ""
    return bool(text.strip()) and not text.startswith(f"{getattr(item, '__name__', '')}(")
