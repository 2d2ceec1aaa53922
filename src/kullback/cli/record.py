"""`kullback record`: run a reference once over a text, to be compared with many candidates."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kullback.cli.application import ManyFiles, app, exit_codes, refuse
from kullback.cli.options import (
    Batch,
    Context,
    Device,
    MaxTokens,
    Unit,
    Warmup,
)

if TYPE_CHECKING:
    from rich.text import Text

    from kullback.compare.record.recording import Recording

__all__ = ["record"]


class Head(StrEnum):
    """Where the head of the model is kept."""

    stored = "stored"
    pointer = "pointer"


_EXAMPLES = """
Record a reference, then compare as many candidates as you like, each alone in memory:

    kullback record ./model --text docs/*.txt -o ref

    kullback compare ref ./model-q8.gguf

Half the space, with what that loses measured and noted:

    kullback record ./model --text docs/*.txt -o ref --dtype bfloat16

What a server tells of each token's most probable rivals:

    kullback record --server http://127.0.0.1:8000 --text docs/*.txt -o log.jsonl --top-k 20
"""

_text = partial(typer.Option, rich_help_panel="The text")
_model = partial(typer.Option, rich_help_panel="The models")
_kept = partial(typer.Option, rich_help_panel="What is kept")


@app.command(cls=ManyFiles, epilog=_EXAMPLES)
def record(
    out: Annotated[
        Path,
        _kept(
            "--out",
            "-o",
            metavar="DIR",
            help="The folder to write: new, empty, or with this recording begun; with --server "
            "a .jsonl file.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, a hub name or a GGUF file; with --server its name there.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        _text(metavar="FILE…", help="Text to record on, one file or several; after the model."),
    ] = None,
    chat: Annotated[
        Path | None,
        _text(
            metavar="FILE",
            help="Conversations as JSON lines, in place of text: the assistant's tokens count.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        _model(
            metavar="URL",
            help="Collect top-k log-probabilities from this OpenAI-compatible server instead.",
        ),
    ] = None,
    timeout: Annotated[
        float, _model(min=0.1, metavar="SECONDS", help="Wait so long for the server's answer.")
    ] = 120.0,
    retries: Annotated[int, _model(min=0, metavar="N", help="Ask the server again so often.")] = 5,
    token_ids: Annotated[
        bool, _model("--token-ids", help="Ask the server for ids in place of texts (vLLM).")
    ] = False,
    documents: Unit = None,
    context: Context = None,
    warmup: Warmup = None,
    max_tokens: MaxTokens = None,
    as_llama_cpp: Annotated[
        bool, _text("--as-llama-cpp", help="Cut the text as llama.cpp does.")
    ] = False,
    batch: Batch = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        _kept(
            metavar="NAME",
            help="Store hidden states in bfloat16 or float16; by default as the model has them.",
        ),
    ] = None,
    head: Annotated[
        Head,
        _kept(
            metavar="stored|pointer",
            help="Keep the model's head in DIR, or point to the model's file.",
        ),
    ] = Head.stored,
    top_k: Annotated[
        int | None,
        _kept(
            min=1,
            metavar="K",
            help="Keep the K largest probabilities in place of hidden states; by default 20 of a "
            "server.",
        ),
    ] = None,
) -> None:
    """Run MODEL once over a text and keep what it says, as a REFERENCE for `kullback compare`.

    Keeps the last hidden states, from which the head makes every logit again. A recording that
    was stopped goes on when the same command is given again. With --server it asks a running
    server for the most probable tokens at each position, as far as those go.
    """
    options = {
        "text": text or None,
        "chat": chat,
        "documents": None if documents is None else documents.value,
        "context": context,
        "warmup": warmup,
        "max_tokens": max_tokens,
        "as_llama_cpp": as_llama_cpp,
        "batch": batch,
        "device": device,
        "dtype": dtype,
        "head": head.value,
        "top_k": top_k,
    }
    if server is not None:
        asked = {"model": model, "k": top_k or 20, "timeout": timeout, "retries": retries}
        _check_for_a_server(options, out)
        with exit_codes():
            unit = "files" if documents is None else documents.value
            _collect(server, out, text or [], unit, asked | {"token_ids": token_ids})
        return
    if model is None:
        refuse("there is nothing to record: give a MODEL, or --server URL")
    with exit_codes():
        _run(model, out, options)


def _check_for_a_server(options: dict[str, Any], out: Path) -> None:
    names = ("chat", "context", "warmup", "max_tokens", "as_llama_cpp", "batch", "device", "dtype")
    # A warmup of 0 is a wish, too.
    said = [name for name in names if options[name] is not None and options[name] is not False]
    given = [f"--{name.replace('_', '-')}" for name in said]
    given += ["--head pointer"] if options["head"] == "pointer" else []
    if given:
        refuse(f"a server reads each document whole, as it likes: leave out {', '.join(given)}")
    if out.suffix != ".jsonl":
        refuse(f"-o {out}: what a server says is kept in one file, whose name ends in .jsonl")


def _collect(
    url: str, out: Path, text: list[Path], splitting: Any, options: dict[str, Any]
) -> None:
    from rich.console import Console
    from rich.text import Text

    from kullback.compare.documents import read_documents
    from kullback.compare.record.server import record_server
    from kullback.report.terminal import progress_bar

    texts = [document.text for document in read_documents(text, splitting)]
    with progress_bar(Console(stderr=True)) as progress:
        found = record_server(url, texts, out, progress=progress, **options)
    kept = f" {found.found:,} were there from an earlier run." if found.found else ""
    Console().print(Text(f"{len(texts):,} documents in {found.path}.{kept}"))


def _run(model: str, out: Path, options: dict[str, object]) -> None:
    from rich.console import Console

    from kullback.compare import record as room
    from kullback.report.terminal import progress_bar

    with progress_bar(Console(stderr=True)) as progress:
        found = room.record(model, out, progress=progress, **options)  # type: ignore[arg-type]
    Console().print(_summary(found))


def _summary(found: Recording) -> Text:
    from rich.text import Text

    manifest, positions = found.manifest, found.positions
    kept = (
        f"the {manifest.width} largest probabilities"
        if manifest.kind == "top-k"
        else f"hidden states in {manifest.dtype}"
    )
    lines = [
        f"{positions:,} positions of {found.tokens:,} tokens in {found.folder}: {kept}, "
        f"{found.bytes / positions:,.0f} bytes a position, and {found.bytes_once / 1e6:,.1f} MB "
        "once."
    ]
    if found.reused:
        lines.append(f"{found.reused:,} of the positions were there from an earlier run.")
    if manifest.rounding is not None:
        lines.append(
            f"Rounding {manifest.model_dtype} to {manifest.dtype} loses "
            f"{manifest.rounding['kl_mean']:.2g} nats per token on average, at most "
            f"{manifest.rounding['kl_max']:.2g}."
        )
    if manifest.kind == "top-k":
        lines.append("A comparison with it gives lower bounds.")
    return Text("\n".join([*lines, f"Next: kullback compare {found.folder} CANDIDATE"]))
