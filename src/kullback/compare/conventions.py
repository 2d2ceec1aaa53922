"""Two conventions of what a divergence of two rows is: `careful`, and llama.cpp's.

They differ in what the kernel is shown. Where a side knows some events only to be small, the
careful one joins them, so that what it says is a lower bound and never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kullback import kernels
from kullback.compare.readers import Rows

__all__ = ["Scores", "careful", "llama_cpp"]

_BLOCK_ENTRIES = 1 << 18


class Scores(NamedTuple):
    """What a convention makes of two sets of rows; every value has shape [n]."""

    statistics: dict[str, Tensor]
    columns: dict[str, Tensor]


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
