"""A file that is there whole or not at all: written beside its place, then renamed onto it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, text: str) -> None:
    """Put `text` at `path`, in place of a file or a link that is there. Raises `OSError`."""
    # A name of its own: one made from the file's could be too long where that is not.
    handle, name = tempfile.mkstemp(prefix=".kullback-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; a report is for everyone the
        # process's umask lets read.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
