"""Runs that are finished stay finished: an interrupted recipe goes on with the others."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

__all__ = ["Finished", "read", "write"]


class Finished:
    """Results by name, each with the settings it was made with in a JSON file of its own.

    Of the options, those in `apart` say which runs there are, and not what one of them finds.
    `texts` are what the runs read; the files' names do not say whether they have changed.
    """

    def __init__(
        self, options: Namespace, apart: tuple[str, ...], texts: Sequence[str] = ()
    ) -> None:
        self.folder: Path = options.out / "finished"
        self.settings = {
            name: str(value) for name, value in vars(options).items() if name not in ("out", *apart)
        }
        if texts:
            self.settings["texts"] = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        self.read = 0

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """What is there already, or else what `make` returns."""
        path = self.folder / f"{name}.json"
        found = read(path)
        if found is not None and found["settings"] == self.settings and "result" in found:
            self.read += 1
            return found["result"]
        self.folder.mkdir(parents=True, exist_ok=True)
        result = make()
        write(path, {"settings": self.settings, "result": result})
        return result

    def tell(self, console: Console) -> None:
        """That not all is new, for whoever changed the code in between."""
        if self.read:
            console.print(
                f"{self.read} found finished in {self.folder}: delete it to make them again."
            )


def read(path: Path) -> dict[str, Any] | None:
    """A finished run; None where there is none, or what is there is none."""
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if isinstance(found, dict) and "settings" in found:
        return found
    print(f"{path} is damaged, and made again", file=sys.stderr)
    return None


def write(path: Path, run: dict[str, Any]) -> None:
    """Under its name there is never half a file, nor another process' half."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(run))
    part.replace(path)
