"""Tables for a terminal that may be too narrow for them.

Rich makes room by cutting cells off, and half a number is a wrong number. Where a table does
not fit, its rows are written as words, which wrap at blanks.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = ["Fitting", "table_of"]


def table_of(title: str, padding: int = 1) -> Table:
    """An empty table in the house's dress."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, padding, 0, 0),
        show_edge=False,
        header_style="",
    )


@dataclass(frozen=True)
class Fitting:
    """`table` where it fits the width, else its title and then each row as words."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=_UNBOUNDED)
        if console.measure(self.table, options=wide).maximum <= options.max_width:
            yield self.table
            return
        yield Text(str(self.table.title), style="bold")
        headers = [str(column.header) for column in self.table.columns]
        for cells in zip(*(column.cells for column in self.table.columns), strict=True):
            first, *rest = (
                _words(header, cell) for header, cell in zip(headers, cells, strict=True)
            )
            yield first
            yield Padding(Text("  ").join(word for word in rest if word), (0, 0, 0, 2))


def _words(header: str, cell: RenderableType) -> Text:
    """A cell behind its heading; one that is a `Text` holds no markup, whatever it looks like."""
    told = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
    if not header:
        return told
    return Text.assemble(Text.from_markup(header), " ", told)


_UNBOUNDED = 10_000
