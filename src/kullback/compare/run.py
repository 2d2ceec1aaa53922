"""The pass from its first window to its last, kept on disk where a folder is given.

Windows that go through a model together stay together: a run that goes on where another stopped
reads the same groups, so that its logits are the same to the last bit. What is kept on disk is
folded from there in the order of the text, whether the run was interrupted or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from kullback.compare.accumulate import Accumulator
from kullback.compare.positions import PositionBatch, Reading, Side, read_group
from kullback.compare.readers import Source
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

    def run(
        self, store: PositionStore | None, progress: Callable[[int, int], None] | None
    ) -> tuple[dict[str, Accumulator], Any]:
        """What each candidate's positions add up to, and the table of them if they are kept."""
        if store is None:
            return self._in_memory(progress), None
        self._keep(store, progress)
        table = store.finish()
        found = {name: Accumulator() for name in self.candidates}
        for name, batch in read_batches(table):
            found[name].update(batch)
        return found, table

    def _in_memory(self, progress: Callable[[int, int], None] | None) -> dict[str, Accumulator]:
        found = {name: Accumulator() for name in self.candidates}
        done = 0
        for group in self._groups():
            for name, batch in self._read(group):
                found[name].update(batch)
            done = self._report(progress, done, group)
        return found

    def _keep(self, store: PositionStore, progress: Callable[[int, int], None] | None) -> None:
        done = sum(w.scored for w in self.windows.items if w.chunk in store.done)
        tables: list[Any] = []
        chunks: list[int] = []
        held, since = 0, time.monotonic()
        for group in self._groups():
            if all(window.chunk in store.done for window in group):
                continue
            for name, batch in self._read(group):
                tables.append(table_of(batch, name, self.windows.documents, self.text_of))
                held += len(batch)
            chunks += [window.chunk for window in group]
            done = self._report(progress, done, group)
            if held >= _PART_POSITIONS or time.monotonic() - since > _PART_SECONDS:
                store.append(tables, chunks)
                tables, chunks, held, since = [], [], 0, time.monotonic()
        if tables:
            store.append(tables, chunks)

    def _groups(self) -> Iterator[list[Window]]:
        return batches(self.windows.items, self.batch)

    def _read(self, group: Sequence[Window]) -> Iterator[tuple[str, PositionBatch]]:
        sides = list(self.candidates.values())
        batches_read = read_group(self.reference, sides, group, self.windows, self.reading)
        yield from zip(self.candidates, batches_read, strict=True)

    def _report(
        self, progress: Callable[[int, int], None] | None, done: int, group: Sequence[Window]
    ) -> int:
        done += sum(window.scored for window in group)
        if progress is not None:
            progress(done, self.windows.scored)
        return done


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators begin at `seed` inside, and are as they were afterwards."""
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed={seed} does not fit 64 bits: choose one below 2**64")
    gpus = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield
