"""`layers.json` and `layers.html` in a folder, each whole or not at all.

The page stands alone: it works from disk, asks nothing of the network, and is light or dark as
its reader's screen is.
"""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path

from kullback.compare.layers.record import LayerEffects
from kullback.errors import InputError, MissingExtra
from kullback.report.layers.picture import figure
from kullback.report.layers.terminal import cells, headline, notes
from kullback.report.whole_file import replace_file

__all__ = ["JSON_NAME", "PAGE_NAME", "check_folder", "page", "write_layers"]

JSON_NAME, PAGE_NAME = "layers.json", "layers.html"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.8rem; text-align: right; border-bottom: 1px solid #8884; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
"""


def check_folder(folder: Path) -> None:
    """Make `folder`, and raise `InputError` if the files cannot be written into it.

    Also where Plotly is missing: ask before a long run, not after. Links that stand under the
    files' names are refused, since they could lead out of the folder.
    """
    try:
        import plotly  # noqa: F401
    except ImportError:
        raise MissingExtra("plotly", "plot") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot make the folder {folder}: {reason}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write into the folder {folder}: choose another for --out")
    for name in (JSON_NAME, PAGE_NAME):
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"{path} is there already and is no plain file: remove it first")


def write_layers(effects: LayerEffects, folder: Path) -> None:
    """Write both files into `folder`; those that are there are replaced in one step each."""
    check_folder(folder)
    text = json.dumps(effects.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(folder / JSON_NAME, text)
    replace_file(folder / PAGE_NAME, page(effects))


def page(effects: LayerEffects) -> str:
    """The picture, the ranking and the notes as one HTML page."""
    picture = figure(effects).to_html(
        full_html=False, include_plotlyjs=True, config={"displayModeBar": False, "responsive": True}
    )
    lines = "".join(f"<li>{escape(note[:1].upper() + note[1:])}</li>" for note in notes(effects))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Which layer loses what</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(headline(effects))}</h1>{picture}{_table(effects)}<ul>{lines}</ul>"
        "</body></html>\n"
    )


def _table(effects: LayerEffects) -> str:
    paired = any(effect.saved is not None for effect in effects.effects)
    head = ["", "module", "weights", "KL, nats", "interval"]
    head += ["repaired, saves", "interval"] if paired else []
    rows = []
    for place, effect in enumerate(effects.ranked(), start=1):
        row = [str(place), effect.name, f"{effect.weights:,}", *cells(effect.kl)]
        if paired:
            row += cells(effect.saved) if effect.saved is not None else ("–", "")
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    titles = "".join(f"<th>{title}</th>" for title in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
