"""A comparison as one HTML file: works from disk, without a network, in light and in dark.

| module | what it makes |
| --- | --- |
| `positions`, `tokens` | arrays of one candidate's positions; what is shown of a token, its kind |
| `breakdowns`, `slices` | means by group with their intervals; classes and groups of a classifier |
| `passages`, `examples` | the runs of text, or the examples, that lose most |
| `codes`, `payload` | the positions for the page, about 30 bytes each, right to every digit |
| `drawing`, `charts`, `figures` | drawings, and numbers as words |
| `ranked` | several candidates beside each other: differences, sizes, the frontier |
| `words`, `view`, `page` | one candidate in words, whole, and all of them in a template |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kullback.errors import InputError, MissingExtra
from kullback.report.html.page import page
from kullback.report.html.positions import positions_of, texts_of
from kullback.report.html.ranked import Ranked, ranked
from kullback.report.html.slices import bytes_of
from kullback.report.html.tokens import Vocabulary, visible
from kullback.report.html.view import View, view_of
from kullback.report.nouns import nouns_of
from kullback.report.whole_file import replace_file
from kullback.results import Comparison, Floor, Ranking

__all__ = ["write_report"]

LARGEST = 5_000_000
"""Bytes that the file stays below."""
_AROUND, _AROUND_EACH = 120_000, 120_000
"""Bytes that are not payload: of the page, and of each candidate's drawings and words."""


def write_report(
    path: str | Path,
    comparisons: Mapping[str, Comparison],
    positions: Any,
    *,
    token_text: Callable[[int], str] | None = None,
    floors: Mapping[str, Floor] | None = None,
    ranking: Ranking | None = None,
) -> None:
    """Write the report of one or several candidates to `path`, in one step.

    The file stays below 5 MB: with more positions than fit, first fewer top tokens are kept of
    each, then the text shows its first part and says so. All else is about every position.

    Args:
        path: of the HTML file.
        comparisons: by the candidate's name, as the table has it; shown by increasing KL.
        positions: a PyArrow table, a row a position, as `--out` writes it.
        token_text: the text of a token, for the most probable tokens, which the table has as
            numbers only. Without it those that occur in the text are shown by its column `text`,
            the others by their number.
        floors: by name, what rounding alone does; see `kullback.report.verdict`.
        ranking: of the same candidates: what can be told apart, and sizes on disk.

    Raises:
        InputError: there is nothing to report, table and comparisons do not belong together, or
            the file cannot be written.
        MissingExtra: PyArrow, Jinja2 or Matplotlib is not installed.
    """
    if not comparisons:
        raise InputError("there is no comparison to report: give at least one candidate")
    if ranking is not None and set(ranking.comparisons) != set(comparisons):
        raise InputError(
            f"the ranking is of {', '.join(map(repr, ranking.comparisons))}, the comparisons of "
            f"{', '.join(map(repr, comparisons))}: give both of the same candidates"
        )
    several = Ranked() if ranking is None else ranked(ranking)
    text = _report(comparisons, positions, token_text, floors or {}, several)
    _write(Path(path), text)


def _report(
    comparisons: Mapping[str, Comparison],
    table: Any,
    token_text: Callable[[int], str] | None,
    floors: Mapping[str, Floor],
    several: Ranked,
) -> str:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtra("pyarrow", "report") from error
    order = sorted(comparisons, key=lambda name: comparisons[name].kl.value)
    nouns = nouns_of(comparisons[order[0]].unit)
    vocabulary = Vocabulary(texts_of(table), token_text, nouns.is_example)
    each = (LARGEST - _AROUND - several.bytes) // len(order) - _AROUND_EACH
    each -= max(map(bytes_of, comparisons.values()))
    views = [
        view_of(
            place,
            name,
            comparisons[name],
            positions_of(table, name, nouns.is_example),
            vocabulary,
            floors.get(name),
            max(each, 1000),
        )
        for place, name in enumerate(order)
    ]
    return page(_title(views), views, several, nouns)


def _title(views: list[View]) -> str:
    side = views[0].comparison.provenance.get("reference")
    name = side.get("name") if isinstance(side, Mapping) else None
    reference = visible(str(name)) if name else "the reference"
    stands_in = views[0].name if len(views) == 1 else f"{len(views)} candidates"
    return f"{stands_in} in place of {reference}"


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        raise InputError(
            f"cannot write the report to {path}: {(error.strerror or str(error)).lower()}; "
            "choose another place"
        ) from error
