"""One comparison by many processes: who reads what, and how their sums come together.

Started by `torchrun` or `accelerate launch`, every process opens the sides and cuts the text for
itself, and reads its share of the same groups of windows. The groups are formed from the whole
text, so that no row of logits depends on how many processes there are; only the order of the sums
does. What the processes exchange is their own data of this run, over Gloo, on the processor.

One that waits looks at the run's counters: it goes on waiting while another still moves, and stops
as soon as another has failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from kullback.compare.accumulate import Accumulator
from kullback.compare.differences import differences, in_words
from kullback.compare.launched import counters, number, terminated_by_exit
from kullback.compare.shares import readers_of
from kullback.compare.windows import Window
from kullback.errors import ComparisonError, InputError, KullbackError

__all__ = ["Processes", "group"]

_PATIENCE = timedelta(minutes=30)
"""How long a process waits while no other moves; loading a large model can take that long."""

_POLL_SECONDS = 0.05
_LAST_WORDS_SECONDS = 10.0


@dataclass(eq=False)
class Processes:
    """The processes of one comparison, seen from one of them; by default it is alone.

    All of them must call `gathered`, `from_first`, `merged` and `agree` in the same order.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: Any = None
    """The counters that all of them see, a `torch.distributed.Store`."""
    _meetings: int = 0
    _counters: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def device(self, wanted: str | None) -> str | None:
        """The GPU of this process where there are several and `wanted` does not name one."""
        gpus = torch.cuda.device_count() if self.size > 1 else 0
        if wanted not in (None, "auto", "cuda") or gpus < 2:
            return wanted
        return f"cuda:{self.local_rank % gpus}"

    def share(self, groups: Sequence[list[Window]]) -> list[list[Window]]:
        """The groups that this process reads, in the order of `groups`."""
        if self.size == 1:
            return list(groups)
        readers = readers_of(groups, self.size)
        return [mine for mine, rank in zip(groups, readers, strict=True) if rank == self.rank]

    def counter(self) -> Callable[[int], int]:
        """A sum over all processes, from zero: add a number to it, and get what it is now."""
        self._counters += 1
        name, alone = f"counter/{self._counters}", [0]

        def add(more: int) -> int:
            if self.size == 1:
                alone[0] += more
                return alone[0]
            self._count("moves", 1)
            return self._count(name, more)

        return add

    def gathered(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank."""
        if self.size == 1:
            return [value]
        self._meet()
        values = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in the first process; the others do not call it."""
        if self.size == 1:
            return make()
        values = [make() if self.is_first else None]
        self._meet()
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def merged(self, found: Mapping[str, Accumulator]) -> dict[str, Accumulator]:
        """What all processes have seen of each candidate, merged in the order of ranks."""
        if self.size == 1:
            return dict(found)
        whole = {name: Accumulator() for name in found}
        for part in self.gathered(dict(found)):
            for name, accumulator in whole.items():
                accumulator.merge(part[name])
        return whole

    def agree(self, provenances: Mapping[str, Any]) -> None:
        """Raise `InputError`, in all of them, unless all compare the same, on any devices."""
        first, *others = self.gathered(_without_devices(provenances))
        for rank, theirs in enumerate(others, start=1):
            if theirs != first:
                found = in_words(differences(first, theirs), "in process 0", f"in process {rank}")
                raise InputError(
                    f"process {rank} compares something else than process 0: they differ in "
                    f"{found}; give all of them the same command and the same files"
                )

    def failure(self, error: Exception) -> Exception:
        """What this process ends with, and the others are told of, after `error`."""
        who = f"process {self.rank} of {self.size}"
        if self._is_first_to_fail():
            return ComparisonError(f"{who}: {error}") if isinstance(error, KullbackError) else error
        # The launcher ends all of them once the first has: that one should get to speak.
        time.sleep(_LAST_WORDS_SECONDS)
        return ComparisonError(f"{who} stopped, since another failed and says why")

    def _is_first_to_fail(self) -> bool:
        try:
            return self._count("failures", 1) == 1
        except RuntimeError:
            # The counters went with the process that held them.
            return False

    def _meet(self) -> None:
        """Wait until all are here."""
        self._meetings += 1
        here, last, since = f"meeting/{self._meetings}", (-1, -1), time.monotonic()
        self._count(here, 1)
        while (seen := (self._count(here), self._count("moves")))[0] < self.size:
            if self._count("failures"):
                raise ComparisonError("another process failed")
            if seen != last:
                last, since = seen, time.monotonic()
            if time.monotonic() - since > _PATIENCE.total_seconds():
                raise ComparisonError(
                    f"{self.size - seen[0]} of {self.size} processes did not move for "
                    f"{_PATIENCE}: look whether they hang, and start again"
                )
            time.sleep(_POLL_SECONDS)

    def _count(self, name: str, more: int = 0) -> int:
        return self.store.add(f"kullback/{name}", more)


@contextmanager
def group() -> Iterator[Processes]:
    """The processes that the launcher started with this one, as long as the context lasts.

    Alone, where the environment names no others, or where the caller has `torch.distributed` in
    use for something else. The first to fail raises its own error with its rank, the others one
    that says so; being terminated is an exit that writes what is held.

    Raises:
        InputError: the environment is none of a launcher's.
        ComparisonError: the others do not arrive, fail, or no longer move.

    Example:
        >>> with group() as processes:
        ...     processes.gathered("alone")
        ['alone']
    """
    size = number("WORLD_SIZE", 1)
    if size == 1 or "RANK" not in os.environ:
        yield Processes()
        return
    if not torch.distributed.is_available():
        raise InputError(f"WORLD_SIZE={size}, but this torch has no torch.distributed: unset it")
    if torch.distributed.is_initialized():
        yield Processes()
        return
    rank = number("RANK", 0)
    store = counters(rank, size, _PATIENCE)
    processes = Processes(rank, size, number("LOCAL_RANK", rank), store)
    with terminated_by_exit():
        try:
            yield processes
            # A launcher ends all once one ends badly: the first has printed by then.
            processes.gathered(None)
        except Exception as error:
            raise processes.failure(error) from error
        finally:
            torch.distributed.destroy_process_group()


def _without_devices(thing: Any) -> Any:
    """Where it ran is the one thing that may differ."""
    if isinstance(thing, Mapping):
        return {key: _without_devices(value) for key, value in thing.items() if key != "device"}
    return thing
