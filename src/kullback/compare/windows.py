"""Where the positions of a comparison come from: tokens of documents, cut into windows.

A position counts when the model has seen enough context before it, so every window gives up
its first `warmup` positions and scores the rest: logits at index j predict token j + 1, for
j from `warmup` to the last but one. Documents are cut one by one, because a
window that straddles two of them scores neither, and because intervals are clustered by
document later. llama.cpp runs the documents together instead; that cut is here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kullback.compare.slices import Slices
from kullback.errors import InputError, TextError

__all__ = [
    "Window",
    "Windows",
    "batches",
    "check_sizes",
    "cut",
    "cut_as_llama_cpp",
    "first_tokens",
]


@dataclass(frozen=True, eq=False)
class Window:
    """Tokens that a model reads at once, and the positions of them that count.

    `tokens` (int64 [n]) is empty where a source has logits but no context to run again.
    `targets` (int64 [m]) are the tokens that really came next, −1 where unknown;
    `first_position` is the place of the first of them within the window, and `offset` the
    number of positions in all the windows before this one.
    """

    chunk: int
    document: int
    tokens: np.ndarray
    targets: np.ndarray
    first_position: int
    offset: int

    @property
    def scored(self) -> int:
        """How many positions count."""
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a whole text, the names of its documents, and what to know about the cut.

    `context` and `warmup` are those of the cut, None where rows were saved without saying.
    `known_documents` is False where a file stands for one document for want of ids. `slices` are
    the classes and groups of saved rows, numbered as the `offset` of windows counts them.
    """

    items: list[Window]
    documents: list[str]
    notes: list[str] = field(default_factory=list)
    context: int | None = None
    warmup: int | None = None
    known_documents: bool = True
    slices: Slices | None = None

    @property
    def scored(self) -> int:
        """How many positions count, over all windows."""
        return sum(window.scored for window in self.items)


def cut(
    token_lists: Iterable[np.ndarray],
    names: Sequence[str],
    *,
    context: int,
    warmup: int,
    bos: int | None = None,
) -> Windows:
    """Each document by itself, into windows of `context` tokens; a last shorter one counts too.

    With `bos`, every window starts with it (inside its `context` tokens). Documents too short
    to have a scored position are dropped and counted in the notes; `TextError` when none is left.

    >>> import numpy as np
    >>> windows = cut([np.arange(10)], ["a"], context=4, warmup=2)
    >>> [window.targets.tolist() for window in windows.items]
    [[3], [7]]
    """
    check_sizes(context, warmup)
    items: list[Window] = []
    start = np.array([] if bos is None else [bos], dtype=np.int64)
    step, offset, dropped, longest = context - len(start), 0, 0, 0
    for document, ids in enumerate(token_lists):
        before = len(items)
        longest = max(longest, len(ids))
        for first in range(0, len(ids), step):
            tokens = np.concatenate([start, ids[first : first + step]]).astype(np.int64)
            targets = tokens[warmup + 1 :]
            if len(targets):
                items.append(Window(len(items), document, tokens, targets, warmup + 1, offset))
                offset += len(targets)
        dropped += len(items) == before
    if not items:
        raise TextError(
            f"the text is too short: a document must be longer than warmup + 1 = {warmup + 1} "
            f"tokens, and the longest of {len(names)} has {longest}; lower --warmup, or give "
            "more text"
        )
    notes = []
    if dropped:
        notes.append(
            f"{dropped} of {len(names)} documents are too short for a warmup of {warmup} tokens "
            "and were left out"
        )
    return Windows(items, list(names), notes, context=context, warmup=warmup)


def cut_as_llama_cpp(
    tokens: np.ndarray, name: str, *, context: int, bos: int | None = None
) -> Windows:
    """One stream of tokens the way llama.cpp cuts it: full chunks, the second half scored.

    Where the model wants a beginning-of-sequence token, llama.cpp writes it over the first
    token of every chunk. Raises `TextError` where there is not one full chunk.
    """
    warmup = context // 2
    check_sizes(context, warmup)
    chunks = len(tokens) // context
    if not chunks:
        raise TextError(
            f"the text has {len(tokens)} tokens, less than one chunk of {context}: lower "
            "--context, or give more text"
        )
    rows = np.array(tokens[: chunks * context], dtype=np.int64).reshape(chunks, context)
    if bos is not None:
        rows[:, 0] = bos
    scored = context - 1 - warmup
    items = [
        Window(i, 0, row, row[warmup + 1 :], warmup + 1, i * scored) for i, row in enumerate(rows)
    ]
    return Windows(items, [name], context=context, warmup=warmup, known_documents=False)


def check_sizes(context: int, warmup: int) -> None:
    """Raise `InputError` where windows of `context` tokens have nothing to score."""
    if warmup < 0:
        raise InputError(f"warmup={warmup} is negative: give 0 to score from the second token on")
    if context < warmup + 2:
        raise InputError(
            f"context={context} leaves nothing to score after warmup={warmup}: a window needs at "
            f"least {warmup + 2} tokens; lower --warmup or raise --context"
        )


def first_tokens(windows: Windows, max_tokens: int | None) -> Windows:
    """The first whole windows that hold at most `max_tokens` tokens together.

    A window without tokens (saved logits) counts its positions. Documents that are not reached
    are dropped and counted in the notes. Raises `TextError` when not even the first window fits.
    """
    if max_tokens is None:
        return windows
    sizes = [max(len(window.tokens), window.scored) for window in windows.items]
    kept = int(np.searchsorted(np.cumsum(sizes), max_tokens, side="right"))
    if not kept:
        unit = "tokens" if len(windows.items[0].tokens) else "positions"
        raise TextError(
            f"max_tokens={max_tokens} is less than the first window, which has {sizes[0]} {unit}: "
            f"give at least {sizes[0]}"
        )
    items = windows.items[:kept]
    reached = {window.document for window in items}
    lost = {window.document for window in windows.items} - reached
    if not lost:
        return replace(windows, items=items)
    left = [i for i in range(len(windows.documents)) if i not in lost]
    place = {document: i for i, document in enumerate(left)}
    note = (
        f"the text was ended after {max_tokens:,} tokens, as asked for, before {len(lost)} of its "
        "documents"
    )
    return replace(
        windows,
        items=[replace(window, document=place[window.document]) for window in items],
        documents=[windows.documents[i] for i in left],
        notes=[*windows.notes, note],
    )


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Groups of up to `size` windows that one forward pass can take without any padding."""
    waiting: dict[tuple[int, int], list[Window]] = {}
    for window in windows:
        shape = (len(window.tokens), window.scored)
        group = waiting.setdefault(shape, [])
        group.append(window)
        if len(group) == size:
            yield waiting.pop(shape)
    yield from waiting.values()
