"""Runs that are finished stay finished: an interrupted recipe goes on with the others."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

__all__ = ["Finished"]


class Finished:
    """Results by name, each with the settings it was made with in a JSON file of its own.

    Of the options, those in `apart` say which runs there are, and not what one of them finds.
    """

    def __init__(self, options: Namespace, apart: tuple[str, ...]) -> None:
        self.folder: Path = options.out / "finished"
        self.settings = {
            name: str(value) for name, value in vars(options).items() if name not in ("out", *apart)
        }
        self.read = 0

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """What is there already, or else what `make` returns."""
        path = self.folder / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            if found["settings"] == self.settings:
                self.read += 1
                return found["result"]
        result = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Under its name there is never half a file.
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"settings": self.settings, "result": result}))
        part.replace(path)
        return result

    def tell(self, console: Console) -> None:
        """That not all is new, for whoever changed the code in between."""
        if self.read:
            console.print(
                f"{self.read} found finished in {self.folder}: delete it to make them again."
            )
