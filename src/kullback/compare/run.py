"""The pass from its first window to its last, kept on disk where a folder is given.

Windows that go through a model together stay together: a run that goes on where another stopped
reads the same groups, so that its logits are the same to the last bit. What is kept on disk is
folded from there in the order of the text, whether the run was interrupted or not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from kullback.compare.accumulate import Accumulator
from kullback.compare.positions import PositionBatch, Reading, Side, read_group
from kullback.compare.processes import Processes
from kullback.compare.readers import Source
from kullback.compare.stopping import Stopping
from kullback.compare.store import PositionStore, read_batches
from kullback.compare.store.schema import table_of
from kullback.compare.windows import Window, Windows, batches
from kullback.errors import InputError

__all__ = ["Pass", "seeded"]

_PART_POSITIONS, _PART_SECONDS = 8192, 20.0
"""A part is written after so many positions, or after so long, whichever comes first."""


@dataclass(frozen=True)
class Pass:
    """Everything that reading the positions depends on."""

    reference: Source
    candidates: Mapping[str, Side]
    windows: Windows
    batch: int
    reading: Reading
    text_of: Callable[[int], str] | None = None
    stopping: Stopping | None = None
    processes: Processes = field(default_factory=Processes)

    def run(
        self, store: PositionStore | None, progress: Callable[[int, int], None] | None
    ) -> tuple[dict[str, Accumulator], Any]:
        """What each candidate's positions add up to, and the table of them if they are kept."""
        found = {name: Accumulator() for name in self.candidates}
        writer = None if store is None else _Writer(store, self)
        try:
            self._read_all(found, writer, progress)
        finally:
            # Whatever ends the run: what has been read is kept.
            if writer is not None:
                writer.flush()
        if store is None:
            return self.processes.merged(found), None
        return self._folded(store)

    def _read_all(
        self,
        found: Mapping[str, Accumulator],
        writer: _Writer | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        before = 0
        if writer is not None:
            done = writer.store.done
            before = sum(window.scored for window in self.windows.items if window.offset in done)
            if self.stopping is not None:
                for name, batch in writer.store.batches():
                    found[name].update(batch)
        read = self.processes.counter()
        documents: list[int] = []
        for document, groups in self._rounds():
            for group in groups:
                if writer is not None and writer.has(group):
                    continue
                for name, batch in self._read(group):
                    found[name].update(batch)
                    if writer is not None:
                        writer.add(name, batch)
                now = before + read(sum(window.scored for window in group))
                if progress is not None:
                    progress(now, self.windows.scored)
                if writer is not None:
                    writer.end(group)
            documents.append(document)
            if self.stopping is not None and self.stopping.reached(found, documents):
                break

    def _folded(self, store: PositionStore) -> tuple[dict[str, Accumulator], Any]:
        """The sums in the order of the text, however often and by whom it was interrupted."""
        for done in self.processes.gathered(store.done):
            store.done |= done
        table = store.finish(self.text_of) if self.processes.is_first else None

        def folded() -> dict[str, Accumulator]:
            found = {name: Accumulator() for name in self.candidates}
            for name, batch in read_batches(table):
                found[name].update(batch)
            return found

        return self.processes.from_first(folded), table

    def _rounds(self) -> Iterator[tuple[int, Iterable[list[Window]]]]:
        """Groups of windows between two looks at what is known: of a document each, or all."""
        if self.stopping is None:
            yield -1, self.processes.share(list(batches(self.windows.items, self.batch)))
            return
        for document, windows in itertools.groupby(self.windows.items, key=lambda w: w.document):
            yield document, batches(list(windows), self.batch)

    def _read(self, group: Sequence[Window]) -> Iterator[tuple[str, PositionBatch]]:
        sides = list(self.candidates.values())
        batches_read = read_group(self.reference, sides, group, self.windows, self.reading)
        yield from zip(self.candidates, batches_read, strict=True)


class _Writer:
    """Gathers positions into parts of a store."""

    def __init__(self, store: PositionStore, plan: Pass) -> None:
        self.store, self._plan = store, plan
        self._begin()

    def _begin(self) -> None:
        self._tables: list[Any] = []
        self._windows: list[int] = []
        self._reading: list[Any] = []
        self._held, self._since = 0, time.monotonic()

    def has(self, group: Sequence[Window]) -> bool:
        return all(window.offset in self.store.done for window in group)

    def add(self, name: str, batch: PositionBatch) -> None:
        plan = self._plan
        self._reading.append(table_of(batch, name, plan.windows.documents, plan.text_of))
        self._held += len(batch)

    def end(self, group: Sequence[Window]) -> None:
        """Note that `group` has been read by every candidate, and write where it is time to."""
        self._tables += self._reading
        self._windows += [window.offset for window in group]
        self._reading = []
        if self._held >= _PART_POSITIONS or time.monotonic() - self._since > _PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        tables, windows = self._tables, self._windows
        # First of all: who is interrupted while writing writes nothing twice.
        self._begin()
        if tables:
            self.store.append(tables, windows)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators begin at `seed` inside, and are as they were afterwards."""
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed={seed} does not fit 64 bits: choose one below 2**64")
    gpus = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield
