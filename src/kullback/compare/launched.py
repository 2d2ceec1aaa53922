"""What a launcher such as `torchrun` says of this process, and how it ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import torch

from kullback.errors import ComparisonError, InputError

__all__ = ["counters", "number", "terminated_by_exit"]

_ARRIVAL = timedelta(minutes=5)


def number(name: str, default: int) -> int:
    """The variable `name` of the environment. Raises `InputError` where it is no count."""
    value = os.environ.get(name, str(default))
    if not value.isascii() or not value.isdigit():
        raise InputError(f"{name}={value!r} in the environment is no number: unset it")
    return int(value)


def counters(rank: int, size: int, patience: timedelta) -> Any:
    """The counters that all processes see, once `torch.distributed` has all of them, over Gloo.

    Raises `ComparisonError` where they do not arrive.
    """
    from torch.distributed.rendezvous import rendezvous

    if rank >= size:
        raise InputError(f"RANK={rank} is no process of WORLD_SIZE={size}: they count from 0")
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=_ARRIVAL))
        torch.distributed.init_process_group(
            "gloo", store=store, rank=rank, world_size=size, timeout=patience
        )
    except (RuntimeError, ValueError) as error:
        raise ComparisonError(
            f"process {rank} of {size} does not find the others ({error}): start them with "
            "torchrun, or unset WORLD_SIZE to compare with this one alone"
        ) from error
    return store


@contextmanager
def terminated_by_exit() -> Iterator[None]:
    """A launcher that terminates this process makes it unwind, so that it keeps what it has."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(which: int, frame: FrameType | None) -> None:
    # What a shell would say of it.
    raise SystemExit(128 + which)
