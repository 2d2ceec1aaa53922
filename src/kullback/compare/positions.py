"""The one pass: both sides produce a few rows of logits, a kernel reads them once, they are gone.

Everything later (means, intervals, percentiles, breakdowns) is folded from what is kept here
of each position, and never goes back to logits: what the kernel said, and where the position
stands. What the kernel is shown is a matter of `kullback.compare.conventions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from kullback.compare.conventions import careful, llama_cpp
from kullback.compare.readers import Rows, Source
from kullback.compare.slices import with_columns
from kullback.compare.top_events import TopEvents, top_events
from kullback.compare.windows import Window, Windows, batches
from kullback.errors import NonFiniteError

__all__ = ["PositionBatch", "Reading", "Side", "read_group", "read_positions"]


@dataclass(frozen=True)
class PositionBatch:
    """Statistics of n scored positions, and where each stands.

    `statistics` holds the fields of `kullback.kernels.RowStatistics` as arrays of shape [n]:
    float64 in nats (int64 for `top_p` and `top_q`), with NaN for the log-probabilities of an
    unknown token. `columns` holds further float64 values of shape [n] that only some readers
    or conventions have: `padding_mass_p`, `censored_mass_p`, `censored_token`, ….
    """

    statistics: dict[str, np.ndarray]
    document: np.ndarray
    """int64 [n], index into the names of the documents."""
    chunk: np.ndarray
    """int64 [n], index of the window, counted over the whole text."""
    position: np.ndarray
    """int64 [n], index of the predicted token within its window."""
    token: np.ndarray
    """int64 [n], the token that really came next, −1 where unknown."""
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    top: TopEvents | None = None
    """The most probable events of both sides, where they were asked for."""

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class Side:
    """A candidate, and how many events of each row it is compared on, counted from the first."""

    source: Source
    events: int


@dataclass(frozen=True)
class Reading:
    """How a group of windows is read: by which convention, with how many top events kept."""

    as_llama_cpp: bool = False
    top: int = 0


def read_positions(
    reference: Source,
    candidate: Source,
    windows: Windows,
    *,
    events: int,
    batch: int = 1,
    as_llama_cpp: bool = False,
) -> Iterator[PositionBatch]:
    """The scored positions of `windows`, `batch` windows at a time, in no promised order."""
    sides, reading = [Side(candidate, events)], Reading(as_llama_cpp)
    for group in batches(windows.items, batch):
        yield from read_group(reference, sides, group, windows, reading)


def read_group(
    reference: Source,
    candidates: Sequence[Side],
    group: Sequence[Window],
    windows: Windows,
    reading: Reading,
) -> Iterator[PositionBatch]:
    """The scored positions of a few of `windows`, for one candidate after another.

    The reference runs once. Both sides are cut to the first events that they share; where that
    drops some, the mass on them is a column. Raises `NonFiniteError` naming the side and the
    position of a NaN.
    """
    score = llama_cpp if reading.as_llama_cpp else careful
    token = np.concatenate([window.targets for window in group])
    read = reference.rows(group)
    for candidate, events in ((side.source, side.events) for side in candidates):
        q = candidate.rows(group)
        p = read.to(q.values.device)
        target = torch.from_numpy(token).to(q.values.device)
        shown = _first(p, events), _first(q, events)
        scores = score(*shown, target.clamp(min=0))
        if scores.statistics["kl"].isnan().any():
            sides = {"reference": (reference, p), "candidate": (candidate, q)}
            raise _not_finite(scores.statistics["kl"], sides, group, windows)
        columns = dict(scores.columns)
        for side, rows in (("p", p), ("q", q)):
            if rows.values.shape[1] > events:
                columns[f"padding_mass_{side}"] = _padding_mass(rows.values, events)
        found = _to_batch(scores.statistics, columns, group, token)
        found = with_columns(found, group, windows.slices)
        if reading.top:
            found = replace(found, top=top_events(*shown, scores.statistics, reading.top))
        yield found


def _first(rows: Rows, events: int) -> Rows:
    censoring = rows.censoring
    if censoring is not None:
        censoring = censoring._replace(events=censoring.events[:, :events])
    return Rows(rows.values[:, :events], censoring)


def _padding_mass(values: Tensor, events: int) -> Tensor:
    """The share of each row's probability that lies beyond the first `events` events."""
    inside = values[:, :events].logsumexp(-1)
    return torch.sigmoid(values[:, events:].logsumexp(-1) - inside)


def _not_finite(
    kl: Tensor, sides: dict[str, tuple[Source, Rows]], group: Sequence[Window], text: Windows
) -> NonFiniteError:
    """The error that names the side, the place and the event of the first NaN in `kl`."""
    row = int(kl.isnan().nonzero()[0, 0])
    ends = np.cumsum([window.scored for window in group])
    index = int(np.searchsorted(ends, row, side="right"))
    window = group[index]
    stored = window.offset + row - int(ends[index]) + window.scored
    where = (
        f"window {window.chunk} (document {text.documents[window.document]!r}), position "
        f"{window.first_position + row - int(ends[index]) + window.scored}"
    )
    for side, (source, rows) in sides.items():
        values = rows.values[row]
        broken = (values.isnan() | values.isposinf()).nonzero()
        if len(broken) or values.isneginf().all():
            event = int(broken[0, 0]) if len(broken) else 0
            return NonFiniteError(
                f"the {side}'s logits are not finite at {where}: event {event} is "
                f"{float(values[event])}; {_remedy(source, values, stored)}"
            )
    return NonFiniteError(
        f"the comparison is not a number at {where}, though both sides are finite"
    )


def _remedy(source: Source, values: Tensor, row: int) -> str:
    if source.windows is not None:
        return (
            f"the file was saved so, in row {row}: find out where they came from, and save them "
            "again"
        )
    if values.dtype in (torch.float16, torch.bfloat16):
        return "half precision overflows, try --dtype float32"
    return "the checkpoint is damaged, or its layers overflow"


def _to_batch(
    statistics: dict[str, Tensor],
    columns: dict[str, Tensor],
    group: Sequence[Window],
    token: np.ndarray,
) -> PositionBatch:
    sizes = [window.scored for window in group]
    arrays = {
        name: values.cpu().numpy().astype(np.int64 if name in ("top_p", "top_q") else np.float64)
        for name, values in statistics.items()
    }
    for name in ("log_prob_p", "log_prob_q"):
        arrays[name] = np.where(token < 0, np.nan, arrays[name])
    return PositionBatch(
        statistics=arrays,
        document=np.repeat([window.document for window in group], sizes),
        chunk=np.repeat([window.chunk for window in group], sizes),
        position=np.concatenate([w.first_position + np.arange(w.scored) for w in group]),
        token=token,
        columns={name: values.double().cpu().numpy() for name, values in columns.items()},
    )
