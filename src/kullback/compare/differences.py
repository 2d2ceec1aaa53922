"""How two descriptions of a run differ: each setting by its name, with both its values.

What is kept on disk may come from a stranger, so values are quoted and cut to a length that an
error message can hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Differences", "differences", "in_words"]

Differences = Mapping[str, tuple[Any, Any]]
"""Both values of each setting that differs, None where one side lacks it."""

_HASH = re.compile(r"[0-9a-f]{40,}")
_LONGEST = 120


def differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two nested mappings have different, named from the outside in.

    >>> differences({"seed": 0, "model": {"dtype": "a"}}, {"seed": 0, "model": {"dtype": "b"}})
    {'model.dtype': ('a', 'b')}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**first, **other}:
        ours, theirs = first.get(key), other.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            inner = differences(ours, theirs)
            found |= {f"{key}.{name}": values for name, values in inner.items()}
        elif ours != theirs:
            found[str(key)] = (ours, theirs)
    return found


def in_words(found: Differences, first: str, other: str) -> str:
    """The settings with both values, what a user sets before the hashes that follow from it.

    >>> in_words({"context": (512, 256)}, "there", "here")
    'context (512 there, 256 here)'
    """
    ordered = sorted(found.items(), key=lambda item: any(map(_is_hash, item[1])))
    return ", ".join(
        f"{_printable(name)} ({_short(ours)} {first}, {_short(theirs)} {other})"
        for name, (ours, theirs) in ordered
    )


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _short(value: Any) -> str:
    if _is_hash(value):
        return f"{value[:8]}…"
    text = repr(value)
    # Paths differ at their end.
    return text if len(text) <= _LONGEST else f"…{text[-_LONGEST:]}"


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
