"""Shows the examples in docstrings as code: Markdown would take `>>>` for a quotation."""

from __future__ import annotations

import re
from typing import Any

import griffe

# A prompt, and everything down to the next blank line.
EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n(?:^[ ]*\S.*\n)*)+", re.MULTILINE)


class FencedDoctests(griffe.Extension):
    """Puts each run of `>>>` lines, with what it prints, into a fence."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with a fence around each example, as far in as the example stands."""

    def fence(found: re.Match[str]) -> str:
        example = found.group()
        margin = example[: len(example) - len(example.lstrip(" "))]
        return f"{margin}```pycon\n{example}{margin}```\n"

    return EXAMPLE.sub(fence, docstring + "\n").rstrip("\n")
