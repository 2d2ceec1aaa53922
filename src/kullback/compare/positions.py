"""The one pass: both sides produce a few rows of logits, a kernel reads them once, they are gone.

Everything later (means, intervals, percentiles, breakdowns) is folded from what is kept here
of each position, and never goes back to logits: what the kernel said, and where the position
stands. Two conventions differ only in what the kernel is shown, see `careful` and `llama_cpp`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kullback import kernels
from kullback.compare.readers import Rows, Source
from kullback.compare.windows import Window, Windows, batches
from kullback.errors import NonFiniteError

__all__ = ["PositionBatch", "Scores", "careful", "llama_cpp", "read_positions"]


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

    def __len__(self) -> int:
        return len(self.token)


_BLOCK_ENTRIES = 1 << 18


class Scores(NamedTuple):
    """What a convention makes of two sets of rows; every value has shape [n]."""

    statistics: dict[str, Tensor]
    columns: dict[str, Tensor]


def read_positions(
    reference: Source,
    candidate: Source,
    windows: Windows,
    *,
    events: int,
    batch: int = 1,
    as_llama_cpp: bool = False,
) -> Iterator[PositionBatch]:
    """The scored positions of `windows`, `batch` windows at a time, in no promised order.

    Both sides are cut to their first `events` events; where that drops some, the mass on them
    is a column. Raises `NonFiniteError` naming the side and the position of a NaN.
    """
    score = llama_cpp if as_llama_cpp else careful
    for group in batches(windows.items, batch):
        p, q = reference.rows(group), candidate.rows(group)
        token = np.concatenate([window.targets for window in group])
        target = torch.from_numpy(token).to(q.values.device)
        p = p.to(q.values.device)
        scores = score(_first(p, events), _first(q, events), target.clamp(min=0))
        if scores.statistics["kl"].isnan().any():
            sides = {"reference": (reference, p), "candidate": (candidate, q)}
            raise _not_finite(scores.statistics["kl"], sides, group, windows)
        columns = dict(scores.columns)
        for side, rows in (("p", p), ("q", q)):
            if rows.values.shape[1] > events:
                columns[f"padding_mass_{side}"] = _padding_mass(rows.values, events)
        yield _to_batch(scores.statistics, columns, group, token)


def _first(rows: Rows, events: int) -> Rows:
    censoring = rows.censoring
    if censoring is not None:
        censoring = censoring._replace(events=censoring.events[:, :events])
    return Rows(rows.values[:, :events], censoring)


def careful(p: Rows, q: Rows, target: Tensor) -> Scores:
    """The default convention: both sides normalised, what is censored joined into two events.

    One is all that the reference knows only to be small, the other what only the candidate
    does. By data processing every divergence of the joined pair is at most that of the full
    one. Where a side's mass on a joint event is known to an interval, it is taken as near to
    the other side's as the interval allows, so a truncated file gives a lower bound, up to
    the censored mass itself, and never a negative number.
    """
    if p.censoring is None and q.censoring is None:
        return Scores(_statistics(p.values, q.values, target), {})
    # A dozen temporaries of the size of a few rows stay in cache; of all rows they do not.
    step = max(1, _BLOCK_ENTRIES // p.values.shape[1])
    blocks = [
        _careful_block(p.part(rows), q.part(rows), target[rows])
        for rows in (slice(i, i + step) for i in range(0, len(target), step))
    ]
    return Scores(
        *(
            {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            for parts in zip(*blocks, strict=True)
        )
    )


def _careful_block(p: Rows, q: Rows, target: Tensor) -> Scores:
    in_p, in_q = (_censored_events(rows) for rows in (p, q))
    joint = (in_p, in_q & ~in_p)
    masses = [_nearest(_mass_within(p, cell), _mass_within(q, cell)) for cell in joint]
    cells_p = _join(p, joint, [of_p for of_p, _ in masses])
    cells_q = _join(q, joint, [of_q for _, of_q in masses])
    statistics = _statistics(cells_p, cells_q, target)
    outside = _at(in_p | in_q, target)
    columns = {"censored_token": outside}
    for index, (side, rows, cells) in enumerate((("p", p, cells_p), ("q", q, cells_q))):
        columns[f"censored_mass_{side}"] = masses[0][index] + masses[1][index]
        top = statistics[f"top_{side}"]
        normalizer = _at(cells, top) - statistics[f"top_prob_{side}"].log()
        # A joint event is no token: neither the next token nor the top one may be it.
        alone = _at(rows.values, target) - normalizer
        at_target = statistics[f"log_prob_{side}"]
        statistics[f"log_prob_{side}"] = torch.where(outside, alone, at_target)
        _replace_joint_top(statistics, side, rows.values, normalizer)
    return Scores(statistics, columns)


def llama_cpp(p: Rows, q: Rows, target: Tensor) -> Scores:
    """llama.cpp's convention: the reference as its 16-bit codes say, the sum cut at −16 nats.

    KL(p‖q) and the token's log-probabilities differ from what the kernel says, which
    normalises; llama.cpp prints none of the others.
    """
    from kullback.compare.readers.llama_cpp import decode, encode, truncated_kl

    stored = p.values if p.censoring is not None else decode(encode(p.values))
    log_p = stored.to(q.values.device)
    log_q = q.values if q.censoring is not None else torch.log_softmax(q.values.float(), -1)
    statistics = _statistics(log_p, q.values, target)
    # A NaN anywhere in the row has to stay one, whatever the truncated sum makes of it.
    kl = torch.where(statistics["kl"].isnan(), torch.nan, truncated_kl(log_p, log_q))
    at_target = {"log_prob_p": _at(log_p, target), "log_prob_q": _at(log_q, target)}
    return Scores(statistics | {"kl": kl} | at_target, {})


def _statistics(p: Tensor, q: Tensor, target: Tensor) -> dict[str, Tensor]:
    return kernels.for_device(p, q).row_statistics(p, q, target)._asdict()


def _censored_events(rows: Rows) -> Tensor:
    if rows.censoring is None:
        return torch.zeros_like(rows.values, dtype=torch.bool)
    return rows.censoring.events


def _mass_within(rows: Rows, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of the mass that one side has on the events of `cell`, float64 [n]."""
    values, censoring = rows
    if censoring is None:
        inside = values.masked_fill(~cell, -torch.inf).double().logsumexp(-1)
        mass = (inside - values.double().logsumexp(-1)).exp()
        return mass, mass
    mass = values.exp()

    def total(events: Tensor) -> Tensor:
        # Entries are finite, and a product is many times faster than a masked fill.
        return (mass * events).sum(-1).double()

    known = total(cell & ~censoring.events)
    # Entries of censored events are their upper bounds.
    most, most_elsewhere = total(cell & censoring.events), total(censoring.events & ~cell)
    least = (censoring.low - most_elsewhere).clamp(min=0)
    return known + torch.minimum(least, most), known + torch.minimum(censoring.high, most)


def _nearest(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The two values as near to each other as their intervals allow."""
    middle = (torch.maximum(a[0], b[0]) + torch.minimum(a[1], b[1])) / 2
    return middle.clamp(*a), middle.clamp(*b)


def _join(rows: Rows, joint: Sequence[Tensor], masses: Sequence[Tensor]) -> Tensor:
    """Rows in which the joint events stand at the end, and those they are made of are gone."""
    values, censoring = rows
    rest, ends = values.masked_fill(joint[0] | joint[1], -torch.inf), list[Tensor]()
    for cell, mass in zip(joint, masses, strict=True):
        if censoring is None:
            ends.append(values.masked_fill(~cell, -torch.inf).logsumexp(-1))
        else:
            ends.append(mass.log().to(values.dtype))
    return torch.cat([rest, torch.stack(ends, dim=-1)], dim=-1)


def _replace_joint_top(
    statistics: dict[str, Tensor], side: str, values: Tensor, normalizer: Tensor
) -> None:
    joint = statistics[f"top_{side}"] >= values.shape[1]
    if joint.any():
        top = values.argmax(-1)
        probability = (_at(values, top) - normalizer).exp()
        key, prob_key = f"top_{side}", f"top_prob_{side}"
        statistics[key] = torch.where(joint, top, statistics[key])
        statistics[prob_key] = torch.where(joint, probability, statistics[prob_key])


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(-1, index.unsqueeze(-1)).squeeze(-1)


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
                f"{float(values[event])}; {_remedy(source, values)}"
            )
    return NonFiniteError(
        f"the comparison is not a number at {where}, though both sides are finite"
    )


def _remedy(source: Source, values: Tensor) -> str:
    if source.windows is not None:
        return "the file was saved so: find out where they came from, and save them again"
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
