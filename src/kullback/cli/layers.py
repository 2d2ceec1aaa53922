"""`kullback layers`: which module of a candidate loses how much, on a text."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kullback.cli.application import ManyFiles, app, exit_codes, refuse
from kullback.cli.options import (
    Batch,
    Bits,
    Confidence,
    Context,
    Device,
    Dtype,
    JsonFile,
    MaxTokens,
    Recipe,
    Unit,
    Warmup,
)

__all__ = ["layers"]


class Grouping(StrEnum):
    """What is exchanged at once."""

    modules = "modules"
    layers = "layers"
    kinds = "kinds"


_EXAMPLES = """
Where 4 bits hurt, attention and MLP of each layer apart, with a picture:

    kullback layers ./model --quantize int4 --text docs/*.txt --out where/

Which layers a fine-tuned model has changed most, and what undoing each alone would save:

    kullback layers ./base ./tuned --by layers --leave-one-out \\
        --text book.txt --documents paragraphs
"""

_text = partial(typer.Option, rich_help_panel="The text")
_models = partial(typer.Option, rich_help_panel="The models")
_result = partial(typer.Option, rich_help_panel="The result")


@app.command(cls=ManyFiles, epilog=_EXAMPLES)
def layers(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE",
            help="A model folder, a hub name or a GGUF file.",
            show_default=False,
        ),
    ],
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="CANDIDATE",
            help="The same model with other weights; or give --quantize.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        _text(metavar="FILE…", help="Text to measure on, one file or several; after the models."),
    ] = None,
    documents: Unit = None,
    context: Context = None,
    warmup: Warmup = None,
    max_tokens: MaxTokens = None,
    by: Annotated[
        Grouping,
        _models(
            metavar="UNIT",
            help="What is exchanged at once: modules (attention, MLP and norms of each layer), "
            "layers or kinds.",
        ),
    ] = Grouping.modules,
    leave_one_out: Annotated[
        bool,
        _models(
            "--leave-one-out",
            help="Also put each module of the reference into the candidate: what repairing it "
            "alone would save.",
        ),
    ] = False,
    quantize: Recipe = None,
    batch: Batch = None,
    device: Device = None,
    dtype: Dtype = None,
    confidence: Confidence = 0.95,
    bits: Bits = False,
    top: Annotated[
        int, _result(min=1, metavar="NUMBER", help="How many modules the ranking prints.")
    ] = 15,
    json_file: JsonFile = None,
    out: Annotated[
        Path | None,
        _result(metavar="DIR", help="Write layers.json and the picture layers.html into DIR."),
    ] = None,
) -> None:
    """Which modules of CANDIDATE lose what REFERENCE knows, on this text?

    Puts the candidate's modules into the reference one at a time and prints
    KL(reference‖mixture) per token for each, ranked, with intervals. Only the layers behind a
    module run again.
    """
    if candidate is None and quantize is None:
        refuse("there is nothing to take modules from: give a CANDIDATE, or --quantize int8")
    if candidate is not None and quantize is not None:
        refuse(
            f"both a CANDIDATE ({candidate}) and --quantize {quantize.value} were given: leave "
            "one out"
        )
    options = {
        "text": text or None,
        "by": by.value,
        "leave_one_out": leave_one_out,
        "documents": None if documents is None else documents.value,
        "context": context,
        "warmup": warmup,
        "max_tokens": max_tokens,
        "batch": batch,
        "device": device,
        "dtype": dtype,
        "quantize": None if quantize is None else quantize.value,
        "confidence": confidence,
    }
    with exit_codes():
        _run(reference, candidate, options, json_file, out, bits=bits, top=top)


def _run(
    reference: str,
    candidate: str | None,
    options: dict[str, Any],
    json_file: Path | None,
    out: Path | None,
    *,
    bits: bool,
    top: int,
) -> None:
    from rich.console import Console

    from kullback.compare.layers import layer_effects
    from kullback.report.json_file import check_writable, write_json
    from kullback.report.layers.files import check_folder, write_layers
    from kullback.report.layers.terminal import print_layers
    from kullback.report.terminal import progress_bar

    if json_file is not None:
        check_writable(json_file)
    if out is not None:
        check_folder(out)
    with progress_bar(Console(stderr=True)) as progress:
        found: Any = layer_effects(reference, candidate, progress=progress, **options)
    if json_file is not None:
        write_json(found, json_file)
    if out is not None:
        write_layers(found, out)
    print_layers(found, Console(), bits=bits, top=top)
