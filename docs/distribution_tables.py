"""What the page on distributions shows and nobody wrote: the matrix, the forms, the pictures.

All three are made by the library itself when the manual is built: the matrix asks `coverage()`,
the table of forms lists the registry, and each picture is what `explain` draws.
"""

from __future__ import annotations

import functools
import re
from html import escape
from typing import Any

MATRIX_MARK = "<!-- coverage matrix -->"
FORMS_MARK = "<!-- closed forms -->"
PICTURE_MARK = re.compile(r"<!-- picture: ([\w ]+) -->")

# The sign of an answer, and the class of the style sheet that colours it.
COLOURS = {"●": "exact", "∞": "infinite", "Σ": "sum", "∫": "sum", "∭": "sum", "≈": "draws"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    if MATRIX_MARK in markdown:
        markdown = markdown.replace(MATRIX_MARK, matrix())
    if FORMS_MARK in markdown:
        markdown = markdown.replace(FORMS_MARK, forms())
    return PICTURE_MARK.sub(lambda found: picture(found.group(1)), markdown)


@functools.cache
def asked() -> Any:
    """The coverage, asked once a build: it takes some seconds."""
    from kullback.distributions import Truncated, coverage
    from kullback.distributions.examples import CLASSES

    return coverage((*CLASSES, Truncated))


def matrix() -> str:
    """The legend with its counts, and one table for each kind of event."""
    from kullback.distributions.coverage import EVENTS, MEANINGS, SYMBOLS

    found = asked()
    counts = found.counts()
    lines = ["| | pairs | |", "| --- | --: | --- |"]
    for answer, meaning in MEANINGS.items():
        lines.append(f"| {SYMBOLS[answer]} | {counts[answer]:,} | {meaning} |")
    apart = "events of different kinds: nothing to compare"
    lines += [f"| | {counts['different events']:,} | {apart} |"]
    for events in EVENTS.values():
        names, cells = found.of(events)
        lines += ["", f"### Of {events}", "", '<div class="coverage"><table class="pairs">']
        heads = "".join(f"<th><span>{name}</span></th>" for name in names)
        lines.append(f"<thead><tr><th>P ╲ Q</th>{heads}</tr></thead><tbody>")
        for p in names:
            row = "".join(cell(cells[p, q]) for q in names)
            lines.append(f"<tr><th>{p}</th>{row}</tr>")
        lines.append("</tbody></table></div>")
    return "\n".join(lines)


def cell(entry: Any) -> str:
    """One pair: its signs, in the colour of the first, and the whole of it under the pointer."""
    answers = ", or ".join(entry.answers)
    reason = f": {entry.reason}" if entry.reason else ""
    told = escape(f"{entry.p}‖{entry.q}: {answers}{reason}", quote=True)
    return f'<td class="{COLOURS[entry.sign[0]]}" title="{told}">{entry.sign}</td>'


def forms() -> str:
    """A folded table for each divergence."""
    lines = []
    for part in asked().forms_to_markdown().split("\n\n**"):
        title, _, table = part.removeprefix("**").partition("\n\n")
        name, _, count = title.partition("**, ")
        lines += [f'??? abstract "{name}: {count}"', ""]
        lines += [f"    {line}" for line in table.splitlines()]
        lines.append("")
    return "\n".join(lines)


def picture(name: str) -> str:
    """The drawing of a named pair with its verdict."""
    import kullback

    found = kullback.explain(*pairs()[name])
    return f"{found.to_svg()}\n\n> {found.verdict}"


def pairs() -> dict[str, tuple[Any, Any]]:
    """The pairs that the page draws; their code stands above each picture."""
    import torch
    from torch.distributions import Categorical, Geometric, MixtureSameFamily, Normal, Poisson

    weights, modes = torch.tensor([0.7, 0.3]), torch.tensor([0.0, 4.0])
    two_modes = MixtureSameFamily(Categorical(weights), Normal(modes, torch.tensor([1.0, 0.5])))
    one_mode = Normal(0.0, 1.0)
    return {
        "a mode missed": (two_modes, one_mode),
        "a mode ignored": (one_mode, two_modes),
        "counts": (Poisson(3.0), Geometric(0.3)),
    }
