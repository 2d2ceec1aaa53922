"""The folder of a comparison: what `--out` leaves beside the positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kullback.errors import InputError
from kullback.report.json_file import write_json
from kullback.report.saved import positions_in, ranking_in
from kullback.results import Comparison, Ranking

__all__ = ["rewrite_report", "write_folder"]


def write_folder(result: Comparison | Ranking, folder: str | Path) -> None:
    """Write `summary.json` and `report.html` into `folder`, which has `positions.parquet`.

    Raises:
        InputError: the folder's positions are not those of `result`, or nothing can be written.
        MissingExtra: PyArrow, Jinja2 or Matplotlib is not installed.
    """
    folder = Path(folder)
    if (folder / "summary.json").is_symlink():
        raise InputError(
            f"{str(folder / 'summary.json')!r} is a link, and nothing is written out of the "
            "folder: remove it"
        )
    write_json(result, folder / "summary.json")
    _write_report(result, positions_in(folder), folder / "report.html")


def rewrite_report(folder: str | Path) -> Path:
    """Make `report.html` in `folder` anew, from its positions and summary; its path.

    No model is run. From the files of one version this is the page that `write_folder` wrote.

    Raises:
        InputError: the folder holds no finished comparison, or cannot be written to.
        MissingExtra: PyArrow, Jinja2 or Matplotlib is not installed.
    """
    folder = Path(folder)
    table = positions_in(folder)
    path = folder / "report.html"
    _write_report(ranking_in(folder, table), table, path)
    return path


def _write_report(result: Comparison | Ranking, positions: Any, path: Path) -> None:
    from kullback.compare.store import token_texts
    from kullback.report.html import write_report

    ranking = result if isinstance(result, Ranking) else None
    if isinstance(result, Ranking):
        comparisons = result.comparisons
    else:
        comparisons = {result.provenance["candidate"]["name"]: result}
    floors = {name: found.floor for name, found in comparisons.items() if found.floor is not None}
    texts = token_texts(positions)
    write_report(
        path,
        comparisons,
        positions,
        token_text=texts.__getitem__ if texts else None,
        floors=floors,
        ranking=ranking,
    )
