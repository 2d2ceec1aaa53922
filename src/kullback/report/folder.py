"""The folder of a comparison: what `--out` leaves beside the positions."""

from __future__ import annotations

from pathlib import Path

from kullback.report.json_file import write_json
from kullback.results import Comparison, Ranking

__all__ = ["write_folder"]


def write_folder(result: Comparison | Ranking, folder: str | Path) -> None:
    """Write `summary.json` and `report.html` into `folder`, which has `positions.parquet`.

    Raises:
        InputError: the folder's positions are not those of `result`, or nothing can be written.
        MissingExtra: PyArrow, Jinja2 or Matplotlib is not installed.
    """
    import pyarrow.parquet as pq

    from kullback.compare.store import token_texts
    from kullback.report.html import write_report

    folder = Path(folder)
    write_json(result, folder / "summary.json")
    positions = pq.read_table(folder / "positions.parquet")
    if isinstance(result, Ranking):
        comparisons = result.comparisons
    else:
        comparisons = {result.provenance["candidate"]["name"]: result}
    floors = {name: found.floor for name, found in comparisons.items() if found.floor is not None}
    texts = token_texts(positions)
    write_report(
        folder / "report.html",
        comparisons,
        positions,
        token_text=texts.__getitem__ if texts else None,
        floors=floors,
    )
