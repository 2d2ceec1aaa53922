"""`kullback compare` where a side is a log of top-k log-probabilities: an interval, no guess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kullback.cli.application import refuse

if TYPE_CHECKING:
    from kullback.compare.incomplete import IncompleteComparison

__all__ = ["is_log", "run_incomplete"]


def is_log(side: str) -> bool:
    """Whether `side` is a file of server responses."""
    return side.endswith(".jsonl") and Path(side).is_file()


def run_incomplete(
    reference: str,
    candidates: list[str],
    options: dict[str, Any],
    log_options: dict[str, Any],
    json_file: Path | None,
    bits: bool,
) -> IncompleteComparison:
    """Compare, print, and write the JSON; options that only models understand are refused."""
    from rich.console import Console

    from kullback.compare.incomplete import compare_incomplete
    from kullback.report.incomplete import print_incomplete
    from kullback.report.json_file import check_writable, write_json
    from kullback.report.terminal import progress_bar

    if not candidates:
        refuse("a log of log-probabilities is no model to quantise: give a CANDIDATE")
    if len(candidates) > 1:
        refuse(
            f"a log of log-probabilities is compared with one candidate, and {len(candidates)} "
            "were given: compare them with it one by one"
        )
    kept = {name: options.pop(name) for name in ("device", "dtype", "confidence")}
    # A seed of 0 is the default.
    options["seed"] = options["seed"] or None
    given = [name for name, value in options.items() if value is not None and value is not False]
    unused = [f"--{name.replace('_', '-')}" for name in given]
    if unused:
        refuse(f"a log brings its own tokens and rows, already cut: leave out {', '.join(unused)}")
    if json_file is not None:
        check_writable(json_file)
    known = {name: value for name, value in log_options.items() if value is not None}
    if "log_prob_floor" in known:
        known["floor"] = known.pop("log_prob_floor")
    with progress_bar(Console(stderr=True)) as progress:
        result = compare_incomplete(reference, candidates[0], progress=progress, **kept, **known)
    # On the screen first: a file that cannot be written takes nothing from who has waited.
    print_incomplete(result, Console(), bits=bits)
    if json_file is not None:
        write_json(result, json_file)
    return result
