"""A folder that `--out` left, read again: the positions are folded anew, and no model is run.

Means, percentiles and differences come from the positions, those by class and by group too. What
these do not tell comes from `summary.json`: names of classes and groups, notes, provenance, sizes,
the noise floor, and the interval of a run that stopped when it was precise enough.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kullback.errors import InputError, KullbackError
from kullback.results import Comparison, Estimate, Floor, Ranking, Slice

__all__ = ["comparison_of", "positions_in", "ranking_in", "summary_in"]


def summary_in(folder: Path) -> Mapping[str, Any]:
    """`summary.json` as a dictionary; raises `InputError` where there is none that can be read."""
    path = folder / "summary.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused(folder, f"summary.json: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise _refused(folder, "summary.json is no JSON") from error
    if not isinstance(found, dict):
        raise _refused(folder, "summary.json is no object")
    return found


def positions_in(folder: Path) -> Any:
    """`positions.parquet` as a table; raises `InputError` where there is none that can be read."""
    from kullback.compare.store.schema import arrow

    pa = arrow()
    import pyarrow.parquet as pq

    path = folder / "positions.parquet"
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise InputError(
                f"there is no folder {str(folder)!r}: name one that kullback compare --out wrote"
            ) from error
        if (folder / "parts").is_dir():
            raise InputError(
                f"the comparison in {str(folder)!r} was interrupted: give the same "
                f"kullback compare … --out {shlex.quote(str(folder))} again, to go on from there"
            ) from error
        raise _refused(folder, "positions.parquet is missing") from error
    except (OSError, pa.ArrowException) as error:
        raise _refused(folder, "positions.parquet is no Parquet file that can be read") from error


def ranking_in(folder: Path, table: Any) -> Ranking | Comparison:
    """What was compared in `folder`, from its positions in `table` and its summary.

    Raises `InputError` where the two do not belong together.
    """
    from kullback.compare.accumulate import Accumulator
    from kullback.compare.ranking import ranking_from
    from kullback.compare.store import read_batches

    summary = summary_in(folder)
    try:
        several = "candidates" in summary
        parts = {_name(p, several): p for p in (summary["candidates"] if several else [summary])}
        found = {name: Accumulator() for name in parts}
        for name, batch in read_batches(table):
            if name in found:
                found[name].update(batch)
        comparisons = {name: comparison_of(found[name], part) for name, part in parts.items()}
        if not several:
            return next(iter(comparisons.values()))
        sizes = {name: _size(part["bytes"]) for name, part in parts.items()}
        confidence = next(iter(comparisons.values())).confidence
        return ranking_from(comparisons, found, sizes, confidence=confidence)
    except KullbackError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise _refused(folder, f"its files are not what --out writes ({error!r})") from error


def comparison_of(accumulator: Any, part: Mapping[str, Any]) -> Comparison:
    """The comparison that `accumulator` adds up to, with what `part` of a summary says of it.

    Raises `InputError` where they are not of the same positions.
    """
    from kullback.compare.accumulate import comparison_from

    if accumulator.positions != part["positions"]:
        raise InputError(
            f"positions.parquet has {accumulator.positions:,} positions of "
            f"{part['provenance']['candidate']['name']!r}, summary.json tells of "
            f"{part['positions']:,}: they are not of one run, compare again"
        )
    comparison = comparison_from(
        accumulator,
        convention=str(part["convention"]),
        provenance=part["provenance"],
        confidence=float(part["confidence"]),
    )
    if not math.isclose(comparison.kl.value, float(part["kl"]["mean"]), rel_tol=1e-9):
        raise InputError(
            f"positions.parquet has a mean KL of {comparison.kl.value!r}, summary.json one of "
            f"{part['kl']['mean']!r}: they are not of one run, compare again"
        )
    kl, floor, reached = comparison.kl, part["floor"], part.get("precision_reached")
    if part["provenance"].get("precision") is not None:
        kl = _estimate(part["kl"], comparison.confidence)
    return replace(
        comparison,
        kl=kl,
        notes=tuple(str(note) for note in part["notes"]),
        unit=str(part["unit"]),
        clustered_by=str(part["clustered_by"]),
        by_class=_named(comparison.by_class, part["by_class"]),
        by_group=_named(comparison.by_group, part["by_group"]),
        precision_reached=None if reached is None else bool(reached),
        floor=floor
        and Floor(*(_estimate(floor[k], comparison.confidence) for k in ("kl", "difference"))),
    )


def _named(slices: tuple[Slice, ...], told: Sequence[Mapping[str, Any]]) -> tuple[Slice, ...]:
    """The slices under the names that the summary has of them, in the same order."""
    if [part.positions for part in slices] != [part["positions"] for part in told]:
        raise InputError(
            "positions.parquet has other classes or groups than summary.json tells of: they are "
            "not of one run, compare again"
        )
    return tuple(
        replace(part, name=str(named["name"])) for part, named in zip(slices, told, strict=True)
    )


def _name(part: Mapping[str, Any], several: bool) -> str:
    return part["name"] if several else part["provenance"]["candidate"]["name"]


def _size(found: Any) -> int | None:
    if found is not None and not (isinstance(found, int) and 0 <= found < 2**63):
        raise ValueError(f"bytes: {found!r}")
    return found


def _estimate(found: Mapping[str, Any], confidence: float) -> Estimate:
    value, low, high, stderr = (
        math.nan if found[key] is None else float(found[key])
        for key in ("mean", "low", "high", "stderr")
    )
    return Estimate(
        value,
        low,
        high,
        stderr=stderr,
        confidence=confidence,
        trusted=bool(found["trusted"]),
        diagnosis=str(found["diagnosis"]),
    )


def _refused(folder: Path, why: str) -> InputError:
    return InputError(
        f"{str(folder)!r} holds no finished comparison: {why}; name a folder that "
        "kullback compare --out wrote"
    )
