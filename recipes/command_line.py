"""What the recipes' command lines share: options that are checked, and one line on Ctrl-C."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["count", "existing_file", "parsed", "positive", "until_interrupted"]


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number above 0")
    return number


def existing_file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def parsed(parser: argparse.ArgumentParser, tiny: dict[str, Any]) -> argparse.Namespace:
    """The options, to which --tiny gives other defaults: what is written beside it still holds."""
    options = parser.parse_args()
    if options.tiny:
        parser.set_defaults(**tiny)
        options = parser.parse_args()
    return options


def until_interrupted(main: Callable[[], None]) -> None:
    """Call it; Ctrl-C ends it with one line."""
    try:
        main()
    except KeyboardInterrupt:
        told = "Interrupted; what has finished is kept, and the same command goes on from there."
        print(told, file=sys.stderr)
        # What a shell expects of a program that SIGINT has ended.
        sys.exit(130)
