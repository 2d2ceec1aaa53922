"""Which files of positions there are, whole, and of this run; and what is still to be done.

A part is written beside its name and renamed onto it, so a name has a whole file or none, unless
the disk lies; what cannot be read is deleted and its windows are done again. Parts of another run
are never deleted: that is an error, which names what differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kullback.compare.differences import Differences, differences, in_words
from kullback.compare.positions import PositionBatch
from kullback.compare.store.folder import PARTS, TABLE, check_folder
from kullback.compare.store.schema import arrow, read_batches, with_texts
from kullback.errors import InputError

__all__ = ["PositionStore"]

_RUN, _WINDOWS, _ROWS = b"kullback.run", b"kullback.windows", b"kullback.rows"
_NAME = re.compile(r"part-\d+-(\d+)\.parquet")


class PositionStore:
    """The positions of one run in a folder.

    A window is known by its `offset`. `rank` is the process whose parts are written.

    Args:
        folder: made if it is not there.
        run: what the numbers depend on: sides, tokens, settings, versions; JSON-ready.

    Raises:
        InputError: the folder holds another run, or cannot be written to.
        MissingExtra: PyArrow is not installed.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        check_folder(folder)
        self.folder = folder
        self._run = json.dumps(run, sort_keys=True, default=str)
        self._parts = folder / PARTS
        self._next = 0
        self.rank = 0
        self._parts.mkdir(exist_ok=True)
        self.done = self._find()

    @property
    def table_path(self) -> Path:
        """Where all the positions are in the end."""
        return self.folder / TABLE

    def batches(self) -> Iterator[tuple[str, PositionBatch]]:
        """What is there already, by the candidate's name."""
        import pyarrow.parquet as pq

        for path in self._files():
            yield from read_batches(pq.read_table(path))

    def append(self, tables: Sequence[Any], windows: Sequence[int]) -> None:
        """Write the positions of whole windows, of every candidate, as one part."""
        pa = arrow()
        table = pa.concat_tables(tables).unify_dictionaries()
        name = f"part-{self.rank:03d}-{self._next:05d}.parquet"
        self._write(table, windows, self._parts / name)
        self._next += 1
        self.done |= set(windows)

    def finish(self, text_of: Callable[[int], str] | None = None) -> Any:
        """All positions in order: candidate by candidate, then as the text goes.

        Written as one file, with the texts of all tokens that it names, after which the parts are
        removed.
        """
        pa = arrow()
        import pyarrow.parquet as pq

        files = self._files()
        tables = [pq.read_table(path) for path in files]
        if files == [self.table_path]:
            return tables[0]
        table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
        order = [("candidate", "ascending"), ("chunk", "ascending"), ("position", "ascending")]
        plain = table.set_column(
            table.schema.get_field_index("candidate"),
            "candidate",
            table["candidate"].cast(pa.string()),
        )
        table = table.take(pa.compute.sort_indices(plain, sort_keys=order))
        if text_of is not None:
            table = with_texts(table, text_of)
        self._write(table, sorted(self.done), self.table_path)
        for path in files:
            if path != self.table_path:
                path.unlink()
        self._parts.rmdir()
        return table

    def _files(self) -> list[Path]:
        parts = sorted(self._parts.glob("part-*.parquet"))
        return [self.table_path] * self.table_path.exists() + parts

    def _write(self, table: Any, windows: Sequence[int], path: Path) -> None:
        import pyarrow.parquet as pq

        metadata = {
            **(table.schema.metadata or {}),
            _RUN: self._run.encode(),
            _WINDOWS: json.dumps([int(window) for window in windows]).encode(),
            _ROWS: str(table.num_rows).encode(),
        }
        temporary = path.with_suffix(".writing")
        temporary.unlink(missing_ok=True)
        # Made anew, so that no link that stands there is followed.
        with temporary.open("xb") as file:
            pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def _find(self) -> set[int]:
        """The windows that are there; torn files and half-written ones are removed."""
        for path in self._parts.glob("*.writing"):
            path.unlink()
        done: set[int] = set()
        for path in self._files():
            if path != self.table_path:
                self._next = max(self._next, 1 + self._number(path))
            metadata = self._metadata(path)
            if metadata is None:
                self._discard(path)
                continue
            self._check_run(metadata[_RUN].decode())
            windows = set(json.loads(metadata[_WINDOWS]))
            if windows & done:
                # The end was reached, and the run was stopped while it cleaned up.
                path.unlink()
                continue
            done |= windows
        return done

    def _metadata(self, path: Path) -> Mapping[bytes, bytes] | None:
        """What a file says of itself, read to its end; None for a torn one."""
        pa = arrow()
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError):
            return None
        found = table.schema.metadata or {}
        try:
            if not isinstance(json.loads(found[_RUN]), dict):
                raise ValueError("a run is described by an object")
            json.loads(found[_WINDOWS])
            rows = int(found[_ROWS])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{str(path)!r} is no file of this command: name another folder with --out"
            ) from error
        return found if rows == table.num_rows else None

    def _discard(self, path: Path) -> None:
        """Remove a torn part; the whole table is somebody's, and never removed."""
        if path == self.table_path:
            raise InputError(
                f"{str(path)!r} is damaged, or no file of this command: move it away, or name "
                "another folder with --out"
            )
        path.unlink()

    def _number(self, path: Path) -> int:
        found = _NAME.fullmatch(path.name)
        if found is None:
            raise InputError(
                f"{str(path)!r} is no file of this command: move it away, or name another folder "
                "with --out"
            )
        return int(found[1])

    def _check_run(self, found: str) -> None:
        if found == self._run:
            return
        differing = _differing(json.loads(found), json.loads(self._run))
        table = f"{str(self.table_path)!r} and " if self.table_path.exists() else ""
        raise InputError(
            f"the folder {str(self.folder)!r} holds another comparison, which differs in "
            f"{in_words(differing, 'there', 'here')}: give what was given there, name another "
            f"folder with --out, or remove {table}the folder {str(self._parts)!r}"
        )

    def __repr__(self) -> str:
        run = hashlib.sha256(self._run.encode()).hexdigest()[:8]
        return f"PositionStore({str(self.folder)!r}, run {run}, {len(self.done)} windows)"


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Differences:
    """What two runs differ in: their candidates, or else what was said of these."""
    if theirs.keys() != ours.keys():
        return {"candidates": (", ".join(theirs), ", ".join(ours))}
    found: dict[str, tuple[Any, Any]] = {}
    for name in ours:
        inner = differences({name: theirs[name]}, {name: ours[name]})
        for path, values in inner.items():
            setting = path.removeprefix(f"{name}.")
            # Settings are the same for all candidates, what a candidate is belongs to one.
            own = setting.startswith("candidate.") and len(ours) > 1
            found[f"{setting} of {name}" if own else setting] = values
    return found
