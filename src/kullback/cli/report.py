"""`kullback report`: the page of a comparison that is on disk, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kullback.cli.application import app, exit_codes

__all__ = ["report"]


@app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder that `kullback compare --out` wrote.",
            show_default=False,
        ),
    ],
) -> None:
    """Make DIR/report.html anew from the positions kept in DIR, without running a model."""
    from kullback.report.folder import rewrite_report

    with exit_codes():
        typer.echo(rewrite_report(folder))
