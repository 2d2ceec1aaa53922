"""`kullback compare`: how much of what a reference knows a candidate loses, on a text."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kullback.cli.application import ManyFiles, app, exit_codes, refuse
from kullback.cli.incomplete import is_log, run_incomplete
from kullback.cli.limit import check_limit, failures, failures_of_logs
from kullback.cli.options import (
    Batch,
    Bits,
    Confidence,
    Context,
    Device,
    Dtype,
    JsonFile,
    MaxTokens,
    Quantization,
    Recipe,
    Unit,
    Warmup,
)
from kullback.cli.out import check_out

if TYPE_CHECKING:
    from kullback.results import Comparison, Ranking

__all__ = ["compare"]


_EXAMPLES = """
A model and a quantised version of it, one document a file:

    kullback compare ./model ./model-q8.gguf --text docs/*.txt

What 4 bits would lose, as a check that fails above 0.05 nats:

    kullback compare ./model --quantize int4 --text book.txt \\
        --documents paragraphs --fail-above 0.05 --json report.json

Which of several loses least, with every position and the report kept in a folder:

    kullback compare ./model q8.gguf q6.gguf q4.gguf --text docs/*.txt --out runs/quants

Two files of logits that llama.cpp wrote, counted as llama.cpp does:

    kullback compare base.kld q4.kld --as-llama-cpp
"""

_text = partial(typer.Option, rich_help_panel="The text")
_models = partial(typer.Option, rich_help_panel="The models")
_logs = partial(typer.Option, rich_help_panel="Logs of top-k log-probabilities (.jsonl)")
_result = partial(typer.Option, rich_help_panel="The result")


@app.command(cls=ManyFiles, epilog=_EXAMPLES)
def compare(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE",
            help="A model folder, a hub name, a GGUF file, a llama.cpp base-logits file, "
            "saved logits (.safetensors, .npy, .npz, .parquet), a folder of `kullback record`, or "
            "a log of a server's log-probabilities (.jsonl).",
            show_default=False,
        ),
    ],
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CANDIDATE",
            help="What stands in for it, of the same kinds, one or several; or give --quantize.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        _text(metavar="FILE…", help="Text to compare on, one file or several; after the models."),
    ] = None,
    documents: Unit = None,
    chat: Annotated[
        Path | None,
        _text(
            metavar="FILE",
            help="Conversations as JSON lines, in place of text: the assistant's tokens count.",
        ),
    ] = None,
    context: Context = None,
    warmup: Warmup = None,
    max_tokens: MaxTokens = None,
    quantize: Recipe = None,
    batch: Batch = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Annotated[
        int,
        _models(metavar="NUMBER", help="Seeds torch, for models that draw at random as they run."),
    ] = 0,
    precision: Annotated[
        str | None,
        _result(
            metavar="WIDTH",
            help="Stop when the interval of the KL is so narrow: 0.02 nats, or 5% of the mean.",
        ),
    ] = None,
    floor: Annotated[
        bool,
        _result("--floor", help="Measure what rounding alone does: the reference against itself."),
    ] = False,
    rounding: Annotated[
        float | None,
        _logs(min=0.0, metavar="NATS", help="Half of the last digit of the log-probabilities."),
    ] = None,
    vocabulary: Annotated[
        int | None, _logs(min=1, metavar="EVENTS", help="How many tokens there are in all.")
    ] = None,
    log_prob_floor: Annotated[
        float | None,
        _logs(
            max=0.0,
            metavar="NATS",
            help="What the candidate's server guarantees that no token is below.",
        ),
    ] = None,
    as_llama_cpp: Annotated[
        bool, _result("--as-llama-cpp", help="Cut the text and count as llama.cpp does.")
    ] = False,
    confidence: Confidence = 0.95,
    bits: Bits = False,
    out: Annotated[
        Path | None,
        _result(
            metavar="DIR",
            help="Keep every position and the report there; the same command goes on where an "
            "interrupted one stopped.",
        ),
    ] = None,
    json_file: JsonFile = None,
    fail_above: Annotated[
        float | None, _result(metavar="NATS", help="Exit with 1 if the mean KL is above this.")
    ] = None,
) -> None:
    """How much of what REFERENCE knows does CANDIDATE lose, on this text?

    Runs all over the same tokens and prints KL(reference‖candidate) per token and its kin,
    each with an interval that respects that tokens of one document are alike.
    """
    candidates = candidates or []
    _check_sides(candidates, quantize)
    check_limit(fail_above)
    options = {
        "text": text or None,
        "documents": None if documents is None else documents.value,
        "chat": chat,
        "context": context,
        "warmup": warmup,
        "max_tokens": max_tokens,
        "batch": batch,
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "quantize": None if quantize is None else quantize.value,
        "as_llama_cpp": as_llama_cpp,
        "confidence": confidence,
        "out": out,
        "precision": precision,
        "floor": floor,
    }
    logged = {"rounding": rounding, "vocabulary": vocabulary, "log_prob_floor": log_prob_floor}
    with exit_codes():
        if any(is_log(side) for side in (reference, *candidates)):
            found = run_incomplete(reference, candidates, options, logged, json_file, bits)
            failed = [] if fail_above is None else failures_of_logs(found, fail_above)
        else:
            _check_logged(logged)
            result = _run(reference, candidates, options, json_file, bits)
            failed = [] if fail_above is None or result is None else failures(result, fail_above)
    for verdict in failed:
        typer.echo(verdict, err=True)
    if failed:
        raise typer.Exit(1)


def _check_sides(candidates: list[str], quantize: Quantization | None) -> None:
    if not candidates and quantize is None:
        refuse(
            "there is nothing to compare the reference with: give a CANDIDATE, or --quantize "
            "int8 to see what quantising the reference would lose"
        )
    if candidates and quantize is not None:
        refuse(
            f"both a CANDIDATE ({candidates[0]}) and --quantize {quantize.value} were given: leave "
            "one out"
        )


def _check_logged(options: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        refuse(f"no side is a log of log-probabilities (.jsonl): leave out {', '.join(given)}")


def _run(
    reference: str,
    candidates: list[str],
    options: dict[str, Any],
    json_file: Path | None,
    bits: bool,
) -> Comparison | Ranking | None:
    """The result, which the first process writes and prints; None in the others."""
    from rich.console import Console

    from kullback.compare import compare
    from kullback.compare.processes import group
    from kullback.report.terminal import progress_bar

    candidate = candidates if len(candidates) > 1 else candidates[0] if candidates else None
    with group() as processes:
        if processes.is_first:
            _check_files(json_file, options["out"])
        with progress_bar(Console(stderr=True, quiet=not processes.is_first)) as progress:
            result = compare(
                reference, candidate, progress=progress, processes=processes, **options
            )
        if not processes.is_first:
            return None
        _show(result, options["out"], json_file, bits)
    return result


def _check_files(json_file: Path | None, out: Path | None) -> None:
    from kullback.report.json_file import check_writable

    if json_file is not None:
        check_writable(json_file)
    if out is not None:
        check_out(out)


def _show(
    result: Comparison | Ranking, out: Path | None, json_file: Path | None, bits: bool
) -> None:
    from rich.console import Console

    from kullback.report.folder import write_folder
    from kullback.report.json_file import write_json
    from kullback.report.ranking import print_ranking
    from kullback.report.terminal import print_comparison
    from kullback.results import Ranking

    # On the screen first: a file that cannot be written takes nothing from who has waited.
    if isinstance(result, Ranking):
        print_ranking(result, Console(), bits=bits)
    else:
        print_comparison(result, Console(), bits=bits)
    if json_file is not None:
        write_json(result, json_file)
    if out is not None:
        write_folder(result, out)
