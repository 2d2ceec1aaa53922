"""Where a divergence comes from: the table of events behind one number.

Each event is credited with its term p log(p/q) − p + q, which is never negative, so that shares
are shares: the terms add up to KL(p‖q), and an event where P and Q agree is credited with
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kullback.divergences import KL, REVERSE_KL
from kullback.errors import MissingExtra, ShapeError
from kullback.numerics import Pair, make_pair, total
from kullback.tensors.guard import checked
from kullback.tensors.inputs import Array, SpacePair, open_pair

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["Event", "Explanation", "explain"]

# Q has "almost nothing" of an event when P gives it a thousand times as much.
_ALMOST_NONE = 1e-3


@dataclass(frozen=True)
class Event:
    """One row of the table; log-ratio and contribution in nats.

    Attributes:
        index: position of the event along the axis.
        label: its name, or its index as text.
        p: its probability under P.
        q: its probability under Q.
        log_ratio: log(p/q).
        contribution: its non-negative term of KL(p‖q).
        share: contribution / KL(p‖q); NaN when the divergence is 0 or infinite.
    """

    index: int
    label: str
    p: float
    q: float
    log_ratio: float
    contribution: float
    share: float


@dataclass(frozen=True)
class Explanation:
    """What `explain` found. Prints as a table; `to_dict` and `to_dataframe` hand it on.

    Attributes:
        kl: KL(p‖q) in nats.
        reverse_kl: KL(q‖p) in nats.
        events: the largest contributions, largest first.
        rest: the sum of all contributions not shown.
        contributions: the contribution of every event, in their order.
        missed: the mass of P on events that Q excludes (q = 0).
        nearly_missed: the mass of P on events with 0 < q ≤ p/1000.
        invented: the mass of Q on events that P excludes.
        verdict: the above in words, with the direction that blows up and why.
    """

    kl: float
    reverse_kl: float
    events: tuple[Event, ...]
    rest: float
    contributions: Tensor
    missed: float
    nearly_missed: float
    invented: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, text and lists, ready for JSON apart from infinities."""
        plain = {
            name: getattr(self, name)
            for name in ("kl", "reverse_kl", "rest", "missed", "nearly_missed", "invented")
        }
        events = [dict(vars(event)) for event in self.events]
        return {**plain, "verdict": self.verdict, "events": events}

    def to_dataframe(self) -> pd.DataFrame:
        """The events as a pandas DataFrame, one row each."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtra("pandas", "dataframe") from None
        return pd.DataFrame([vars(event) for event in self.events]).set_index("index")

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        # As Text, so that a label such as [/INST] is not read as markup.
        table = Table(title=f"KL(p‖q) = {self.kl:.6g} nats", caption=Text(self.verdict))
        table.add_column("event")
        for heading in ("p", "q", "log p/q", "contribution", "share"):
            table.add_column(heading, justify="right")
        for event in self.events:
            numbers = (event.p, event.q, event.log_ratio, event.contribution)
            share = "" if event.share != event.share else f"{event.share:.1%}"
            table.add_row(Text(event.label), *(f"{number:.4g}" for number in numbers), share)
        hidden = len(self.contributions) - len(self.events)
        if hidden:
            table.add_row(f"{hidden} more", "", "", "", f"{self.rest:.4g}", "", style="dim")
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=88, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def explain(
    p: Array,
    q: Array,
    *,
    labels: Sequence[str] | None = None,
    top: int = 10,
    space: SpacePair = "probs",
    validate: bool = True,
) -> Explanation:
    """Where KL(p‖q) comes from: the events in order of their contribution, in nats.

    Args:
        p: the reference distribution, one row of shape [events].
        q: what stands in for it, of the same shape.
        labels: a name per event; their indices when left out.
        top: how many events to list.
        space: what the entries are, as in `kl_divergence`; "samples" for draws of P and of Q,
            which `kullback.samples.explain` answers for.
        validate: check the rows.

    Raises:
        InputError: as `kl_divergence`; also for more than one row, or labels of another number.

    Source: the terms are those of the generalised divergence of Csiszár (1991), Why Least Squares
    and Maximum Entropy?, eq. 1.3.

    Example:
        >>> import torch
        >>> p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.2, 0.6])
        >>> found = explain(p, q, labels=["yes", "no", "maybe"])
        >>> [(event.label, round(event.share, 2)) for event in found.events]
        [('yes', 0.54), ('maybe', 0.46), ('no', 0.0)]
        >>> bool(torch.isclose(found.contributions.sum(), torch.tensor(found.kl)))
        True
    """
    opened = open_pair(p, q, space, -1)
    if opened.p.ndim != 1:
        raise ShapeError(
            f"explain takes one row of events, and these have shape {tuple(opened.p.shape)}: "
            "pass one of them, such as p[0], q[0]"
        )
    if labels is not None and len(labels) != len(opened.p):
        raise ShapeError(f"there are {len(labels)} labels for {len(opened.p)} events")
    side_p, side_q = opened.p.detach(), opened.q.detach()
    if validate:
        side_p = checked(side_p, opened.space_p, "p")
        side_q = checked(side_q, opened.space_q, "q")
    pair = make_pair(side_p, side_q, opened.space_p, opened.space_q)
    terms = KL.terms(pair)
    kl, reverse = float(total(terms)), float(total(REVERSE_KL.terms(pair)))
    # A stable sort lists events of equal contribution in their own order.
    order = terms.sort(descending=True, stable=True).indices[: max(0, top)].tolist()
    events = tuple(_event(pair, terms, index, kl, labels) for index in order)
    shown = torch.zeros_like(terms, dtype=torch.bool)
    shown[order] = True
    return Explanation(
        kl=kl,
        reverse_kl=reverse,
        events=events,
        rest=float(terms[~shown].sum()),
        contributions=terms,
        missed=float(pair.p[pair.q == 0].sum()),
        nearly_missed=float(pair.p[(pair.q > 0) & (pair.q <= _ALMOST_NONE * pair.p)].sum()),
        invented=float(pair.q[pair.p == 0].sum()),
        verdict=_verdict(pair, kl, reverse, labels),
    )


def _event(pair: Pair, terms: Tensor, index: int, kl: float, labels: Sequence[str] | None) -> Event:
    term = float(terms[index])
    defined = 0 < kl < torch.inf
    return Event(
        index=index,
        label=_label(index, labels),
        p=float(pair.p[index]),
        q=float(pair.q[index]),
        log_ratio=0.0 - float(pair.d[index]),
        contribution=term,
        share=term / kl if defined else torch.nan,
    )


def _label(index: int, labels: Sequence[str] | None) -> str:
    return str(index) if labels is None else str(labels[index])


def _verdict(pair: Pair, kl: float, reverse: float, labels: Sequence[str] | None) -> str:
    if kl == reverse == 0:
        return "p and q are equal."
    said = [
        _blow_up("KL(p‖q)", "q", "p", pair, kl, labels),
        _blow_up("KL(q‖p)", "p", "q", pair.swapped(), reverse, labels),
    ]
    nearly = (pair.q > 0) & (pair.q <= _ALMOST_NONE * pair.p)
    if bool(nearly.any()):
        mass, count = float(pair.p[nearly].sum()), int(nearly.sum())
        said.append(
            f"q has almost nothing (p/q ≥ 1000) on {count} event(s) with p-mass {mass:.3g}."
        )
    return " ".join(said)


def _blow_up(
    name: str, thin: str, full: str, pair: Pair, value: float, labels: Sequence[str] | None
) -> str:
    """Whether D(full‖thin) is finite, and the event that decides it when not."""
    if value < torch.inf:
        return f"{name} = {value:.4g} is finite: {thin} covers all that {full} has."
    lost = torch.where(pair.q == 0, pair.p, 0.0)
    index, count = int(lost.argmax()), int(((pair.q == 0) & (pair.p > 0)).sum())
    return (
        f"{name} is infinite: {thin} excludes {count} event(s) on which {full} has mass "
        f"{float(lost.sum()):.3g}, the largest {_label(index, labels)!r} ({full} = "
        f"{float(lost[index]):.3g})."
    )
