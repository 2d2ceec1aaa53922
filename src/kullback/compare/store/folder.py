"""Whether a folder can take the positions of a run: asked before a model is loaded for it."""

from __future__ import annotations

import os
from pathlib import Path

from kullback.compare.store.schema import arrow
from kullback.errors import InputError

__all__ = ["PARTS", "TABLE", "check_file", "check_folder"]

PARTS, TABLE = "parts", "positions.parquet"


def check_folder(folder: Path) -> None:
    """Make `folder`, and raise `InputError` unless positions can be written into it.

    A link under the name of what is written could lead out of the folder, and is refused. Raises
    `MissingExtra` where PyArrow is not installed.
    """
    arrow()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, (error.strerror or str(error)).lower()) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, "permission denied")
    check_file(folder / TABLE)
    parts = folder / PARTS
    _refuse_link(parts)
    if parts.exists() and not parts.is_dir():
        raise InputError(f"{str(parts)!r} is no folder: move it away, or name another with --out")


def check_file(path: Path) -> None:
    """Raise `InputError` unless nothing or a plain file stands at `path`."""
    _refuse_link(path)
    if path.exists() and not path.is_file():
        raise InputError(
            f"cannot write {str(path)!r}: what has that name is no plain file; move it away, or "
            "name another folder with --out"
        )


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise InputError(
            f"{str(path)!r} is a link, and nothing is written out of the folder: "
            "remove it, or name another folder with --out"
        )


def _unwritable(folder: Path, why: str) -> InputError:
    return InputError(f"cannot write to the folder {str(folder)!r}: {why}; name another with --out")
