"""`--out`: whether all that will be left there can be written, asked before the work begins."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kullback.errors import MissingExtra

__all__ = ["check_out"]

_NEEDED = ("pyarrow", "jinja2", "matplotlib")


def check_out(folder: Path) -> None:
    """Make `folder`, and see that table, summary and report can be written into it.

    Raises `InputError` where they cannot, and `MissingExtra` for the first package that lacks.
    """
    from kullback.compare.store.folder import check_file, check_folder

    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtra(package, "report")
    check_folder(folder)
    for name in ("summary.json", "report.html"):
        check_file(folder / name)
