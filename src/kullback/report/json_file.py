"""A comparison as a JSON file, whole or not at all.

The keys are those of `Comparison.to_dict`, described in `docs/compare.md`. The file is
written beside its destination and then renamed onto it, so that whoever reads it never sees
half a file, and an interrupted run leaves an older file as it was. What is no regular file (a
pipe, a device) cannot be renamed onto and is written to as it stands.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Protocol

from kullback.errors import InputError
from kullback.report.whole_file import replace_file

__all__ = ["check_writable", "to_json", "write_json"]


class Told(Protocol):
    """What a run hands back: anything that says its numbers as a dictionary."""

    def to_dict(self) -> dict[str, Any]:
        """The numbers, JSON-ready."""
        ...


def to_json(comparison: Told) -> str:
    """The comparison as JSON text: valid JSON, in which infinities are the string "inf"."""
    text = json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # JSON lets these stand, and a terminal to which a file is written may act on them.
    text = re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)
    # A file's name may hold bytes that are no UTF-8; what stands for them is JSON's own escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_writable(path: str | Path) -> None:
    """Raise `InputError` if nothing can be written at `path`: ask before a long run, not after."""
    path = Path(path)
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"cannot write JSON to {path}: it is a folder, name a file in it")
    if mode is not None and not stat.S_ISREG(mode):
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write JSON to {path}: it is not writable")
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise InputError(f"cannot write JSON to {path}: there is no folder {folder}, create it")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write JSON to {path}: the folder {folder} is not writable")


def write_json(comparison: Told, path: str | Path) -> None:
    """Write the comparison to `path`, replacing a file that is there in one step.

    A symbolic link stays, and what it points to is replaced; into a pipe or a device the text
    is written. Raises `InputError` where that cannot be.
    """
    path = Path(path)
    check_writable(path)
    text, mode = to_json(comparison), _mode(path)
    if mode is None or stat.S_ISREG(mode):
        replace_file(path.resolve(), text)
    else:
        path.write_text(text, encoding="utf-8")


def _mode(path: Path) -> int | None:
    """What stands at `path`, links followed; None where nothing does."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"cannot write JSON to {path}: {(error.strerror or str(error)).lower()}; choose "
            "another place"
        ) from error
