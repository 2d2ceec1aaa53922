"""Putting modules of one model into another, and taking them out again.

What hangs in a slot is exchanged, and no tensor is copied or written to, so that both models
afterwards are not only equal to what they were but the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from kullback.compare.layers.modules import Slot

__all__ = ["swapped"]


@contextmanager
def swapped(slots: Iterable[Slot]) -> Iterator[None]:
    """Inside, `here` has what `there` has in each of the slots; afterwards what it had before.

    Also where something is raised inside. `there` keeps its own all along.

    >>> from torch import nn
    >>> ours, theirs = nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())
    >>> with swapped([Slot("0", ours, theirs, "_modules", "0")]):
    ...     ours
    Sequential(
      (0): Tanh()
    )
    >>> ours
    Sequential(
      (0): ReLU()
    )
    """
    with ExitStack() as undo:
        for slot in slots:
            mine, theirs = slot.sides()
            registry = getattr(slot.here, slot.registry)
            undo.callback(registry.__setitem__, slot.name, mine)
            registry[slot.name] = theirs
        yield
