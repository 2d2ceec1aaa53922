"""What every command shares: the application, exit codes, and options with many values."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

__all__ = ["ManyFiles", "app", "exit_codes", "refuse", "repeat_option"]

app = typer.Typer(
    help="How much is lost when Q stands in for P.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class ManyFiles(TyperCommand):
    """Reads `--text a b c` as `--text a --text b --text c`, so that the shell may expand *.txt."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_option(args, "--text"))


def repeat_option(args: Sequence[str], option: str) -> list[str]:
    """The arguments with `option` before each of the values that follow it, up to the next option.

    >>> repeat_option(["p", "q", "--text", "a", "b", "--seed", "1"], "--text")
    ['p', 'q', '--text', 'a', '--text', 'b', '--seed', '1']
    """
    repeated: list[str] = []
    inside = False
    for previous, argument in zip(["", *args], args, strict=False):
        if argument.startswith("-"):
            inside = argument == option
        elif inside and previous != option:
            repeated.append(option)
        repeated.append(argument)
    return repeated


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"kullback {version('kullback')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """How much is lost when Q stands in for P."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """What Kullback refuses is a message and exit code 2, any other exception a traceback and 3."""
    from kullback.errors import KullbackError

    try:
        yield
    except typer.Exit:
        raise
    except KullbackError as error:
        refuse(str(error))
    except Exception as error:
        # Python's own code for it would be 1, which says that --fail-above was exceeded.
        traceback.print_exc()
        raise typer.Exit(3) from error


def refuse(message: str) -> NoReturn:
    """Print `message` as an error and leave with exit code 2."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text("Error: ", style="bold red") + Text(message, style="red"))
    raise typer.Exit(2)
