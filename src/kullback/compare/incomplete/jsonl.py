"""Reading logs of servers: one JSON object a line, from anybody.

A line is read by itself and refused by its number. Nothing in it is believed before it is
checked: not its shape, nor its numbers, nor that a name stands for one event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from kullback.compare.incomplete.formats import FormatError, Reading, documents_of
from kullback.compare.incomplete.logged import Logged
from kullback.errors import FileFormatError, InputError

__all__ = ["FLOAT32_ROUNDING", "Log", "parse_line", "read_log"]

FLOAT32_ROUNDING = 1e-5
"""Half-width, in nats, for log-probabilities printed in full: what a float32 softmax over a
hundred thousand events is off by."""

# A text of 4,096 tokens with a thousand events each, as vLLM prints them, is 300 MB.
_LONGEST_LINE = 1 << 30
# float32 needs up to nine digits, and fewer than seven in none of many numbers only if rounded.
_FULL_DIGITS = 7


@dataclass(frozen=True)
class Log:
    """The documents of one file, and by how much each of its numbers may be off, in nats."""

    name: str
    documents: list[Logged]
    rounding: float


def read_log(path: str | Path, *, rounding: float | None = None) -> Log:
    """Read a file of responses with log-probabilities, one JSON object a line.

    Args:
        path: completions or chat responses of an OpenAI-compatible server, vLLM's with
            `prompt_logprobs`, llama.cpp's, or what `record_server` wrote; or the bare `logprobs`
            objects of them.
        rounding: each printed log-probability is right to within this, in nats; by default
            `FLOAT32_ROUNDING` for numbers in full. Numbers printed with few digits need it said:
            5e-5 for four decimals.

    Raises:
        FileFormatError: a line is not such an object, with its number; or the file is empty.
        InputError: `rounding` is negative, or not given for numbers that are visibly rounded.

    Example:
        >>> import tempfile
        >>> line = '{"tokens": ["a"], "top_logprobs": [{"a": -0.10536052, "b": -2.30258509}]}'
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write(line) + file.seek(0)
        ...     log = read_log(file.name)
        >>> log.documents[0].rows[0].by_text
        {'a': -0.10536052, 'b': -2.30258509}
    """
    if rounding is not None and not 0 <= rounding < 1:
        raise InputError(f"rounding={rounding} nats: give a half-width in [0, 1)")
    name = str(path)
    reading = Reading(FLOAT32_ROUNDING if rounding is None else rounding)
    documents: list[Logged] = []
    for number, line in _lines(Path(path)):
        try:
            documents += documents_of(parse_line(line), number, reading)
        except FormatError as error:
            raise FileFormatError(f"{name}:{number}: {error}") from None
    if not documents:
        raise FileFormatError(f"{name!r} is empty: it has to hold one JSON object a line")
    if rounding is None and reading.digits < _FULL_DIGITS:
        raise InputError(
            f"no log-probability in {name!r} has more than {reading.digits} digits, so they were "
            "rounded: say by how much, for four decimals --rounding 5e-5 (rounding=5e-5 in Python)"
        )
    return Log(name, documents, reading.rounding)


def _lines(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise FileFormatError(f"{path}:{number} is longer than a gigabyte")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise FileFormatError(f"cannot read {str(path)!r}: {error.strerror}") from error


def parse_line(line: bytes) -> Any:
    """One line as objects, lists, texts and numbers, decimals kept as they were printed."""
    try:
        return json.loads(
            line.decode("utf-8"),
            parse_float=_decimal,
            parse_constant=_constant,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise FormatError("nested too deeply to be a response") from None
    except ValueError as error:
        raise FormatError(
            f"not JSON ({error}): one whole object a line; the last line of a run that was cut "
            "off can be deleted"
        ) from None


def _decimal(printed: str) -> Decimal:
    try:
        return Decimal(printed)
    except ArithmeticError:
        raise FormatError(f"{printed[:60]} is too large for a number") from None


def _constant(name: str) -> Any:
    if name == "-Infinity":
        return Decimal(name)
    raise FormatError(f"{name} is no log-probability")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise FormatError(f"the key {twice[:60]!a} stands twice in one object")
    return record
