"""What a log says of one text: its tokens, and at each of them a few events and their bounds.

Servers name events by id, by text, or by both. Ids are exact. A text may stand for several
tokens (pieces of a character print alike), so a text that names no single event is not taken
as one: its mass goes to what is not listed, and the threshold is raised to allow for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Entry", "Logged", "Row", "row_of"]

# OpenAI and vLLM write −9999 for "very improbable", llama.cpp the least float: no number at all.
_NO_NUMBER = -9999.0


class Entry(NamedTuple):
    """One event of a row as it was printed; `exact` where its text cannot stand for two."""

    id: int | None
    text: str | None
    log_prob: float
    exact: bool = False


@dataclass(frozen=True)
class Row:
    """The listed events of one position and the greatest log-probability of any other.

    `by_id` and `by_text` are None where the server does not name its events so; each has its
    own threshold, since what cannot be named counts as not listed.
    """

    by_id: dict[int, float] | None
    by_text: dict[str, float] | None
    id_threshold: float
    text_threshold: float


@dataclass(frozen=True)
class Logged:
    """One document of a log, found at `line` of its file.

    `ids` and `texts` name its tokens, None where a name is not known; `rows` holds what was
    predicted in the place of each, None where nothing was.
    """

    line: int
    ids: list[int | None]
    texts: list[str | None]
    rows: list[Row | None]


def row_of(entries: Sequence[Entry], top: float, wanted: int | None = None) -> Row:
    """The row of `entries`, given the least log-probability `top` of the k most probable.

    With `wanted` fewer texts than that say that some collided before they were written; which
    ones cannot be told, so none of them is believed.
    """
    listed = [entry for entry in entries if entry.log_prob > _NO_NUMBER]
    top = top if listed and top > _NO_NUMBER else 0.0
    ids = {entry.id: entry.log_prob for entry in listed if entry.id is not None}
    by_id = ids if len(ids) == len(listed) else None
    if any(entry.text is None for entry in listed):
        return Row(by_id, None, top, 0.0)
    if by_id is None and wanted is not None and len(entries) < wanted:
        return Row(None, {}, 0.0, 0.0)
    times = Counter(entry.text for entry in listed)
    by_text: dict[str, float] = {}
    threshold = top
    for entry in listed:
        assert entry.text is not None
        if times[entry.text] == 1 and (entry.exact or _is_whole(entry.text)):
            by_text[entry.text] = entry.log_prob
        elif entry.id is None and not entry.exact:
            # Others of the same text may have been overwritten, however probable.
            threshold = 0.0
        else:
            threshold = max(threshold, entry.log_prob)
    return Row(by_id, by_text, top, threshold)


def _is_whole(text: str) -> bool:
    # Pieces of a character are printed as nothing by some servers, after a space or alone.
    return text not in ("", " ") and "\N{REPLACEMENT CHARACTER}" not in text
