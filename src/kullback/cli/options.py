"""Options that several commands have: what each is called, may be, and says of itself."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Batch",
    "Bits",
    "Confidence",
    "Context",
    "Device",
    "Documents",
    "Dtype",
    "JsonFile",
    "MaxTokens",
    "Quantization",
    "Recipe",
    "Unit",
    "Warmup",
]

_text = partial(typer.Option, rich_help_panel="The text")
_models = partial(typer.Option, rich_help_panel="The models")
_result = partial(typer.Option, rich_help_panel="The result")


class Documents(StrEnum):
    """How a file of text becomes documents."""

    files = "files"
    lines = "lines"
    paragraphs = "paragraphs"
    jsonl = "jsonl"


class Quantization(StrEnum):
    """What to make of the reference."""

    int8 = "int8"
    int4 = "int4"


Unit = Annotated[
    Documents | None,
    _text(
        metavar="UNIT",
        help="One document is: files, lines, paragraphs or jsonl; by default files.",
    ),
]
Context = Annotated[
    int | None, _text(min=2, metavar="TOKENS", help="Length of a chunk, by default 512.")
]
Warmup = Annotated[
    int | None,
    _text(
        min=0,
        metavar="TOKENS",
        help="Context in a chunk before a position counts, by default 256.",
    ),
]
MaxTokens = Annotated[int | None, _text(min=1, metavar="TOKENS", help="Stop after so many.")]
Recipe = Annotated[
    Quantization | None,
    _models(metavar="int8|int4", help="Compare with the reference so quantised."),
]
Batch = Annotated[int | None, _models(min=1, metavar="CHUNKS", help="How many to run at once.")]
Device = Annotated[
    str | None, _models(metavar="NAME", help="Where to run: cpu, cuda, cuda:1, mps.")
]
Dtype = Annotated[
    str | None,
    _models(metavar="NAME", help="float32, bfloat16 or float16; by default the checkpoint's."),
]
Confidence = Annotated[
    float, _result(min=0.5, max=0.9999, metavar="LEVEL", help="Of the intervals.")
]
Bits = Annotated[bool, _result("--bits", help="Print bits in place of nats.")]
JsonFile = Annotated[
    Path | None,
    _result("--json", metavar="FILE", help="Write the result to FILE too, in nats."),
]
