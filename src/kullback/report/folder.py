"""The folder of a comparison: what `--out` leaves beside the positions."""

from __future__ import annotations

from pathlib import Path

from kullback.report.json_file import write_json
from kullback.results import Comparison, Ranking

__all__ = ["write_folder"]


def write_folder(result: Comparison | Ranking, folder: str | Path) -> None:
    """Write `summary.json` into `folder`, where `compare` has left `positions.parquet`."""
    write_json(result, Path(folder) / "summary.json")
