"""What is known about which pair of distributions: the table, asked of the code itself.

Every ordered pair of `examples` is put to the same functions that `kl_divergence` and `estimate`
use, so that the table in the manual cannot promise what is not there. A pair of classes may have
several answers, as the answer may depend on parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.distributions import Distribution

from kullback.distributions.answers import kl_in_full
from kullback.distributions.dispatch import CLOSED_FORMS, ClosedForm, find_closed_form
from kullback.distributions.estimation import routes
from kullback.distributions.estimation.questions import Question, check_sides
from kullback.distributions.examples import CLASSES, Example, examples
from kullback.distributions.supports import escape
from kullback.distributions.targets import target_of
from kullback.errors import MissingExtra, NoClosedForm

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["EVENTS", "MEANINGS", "SYMBOLS", "Coverage", "Entry", "coverage"]

SYMBOLS = {
    "exact": "●",
    "infinite": "∞",
    "sum": "Σ",
    "quadrature": "∫",
    "cubature": "∭",
    "monte carlo": "≈",
    "different events": "",
}
"""The answers, the best first, each with the sign that stands for it in the matrix."""

EVENTS = {0: "numbers", 1: "vectors", 2: "matrices"}
MEANINGS = {
    "exact": "a closed form, or the sum over a finite support",
    "infinite": "+∞, proven",
    "sum": "a sum over the integers, with a bound on the error",
    "quadrature": "quadrature on the line, with a bound on the error",
    "cubature": "cubature in two or three dimensions, with a bound on the error",
    "monte carlo": "Monte Carlo, with a confidence interval",
}


@dataclass(frozen=True)
class Entry:
    """What is known of KL(P‖Q) for one pair of classes and one kind of event.

    Attributes:
        p: the name of P's class.
        q: the name of Q's class.
        events: "numbers", "vectors" or "matrices".
        answers: the different answers over the examples, that of the ordinary example first.
        reason: of the first answer: where the form is from, why it is infinite; else empty.
    """

    p: str
    q: str
    events: str
    answers: tuple[str, ...]
    reason: str

    @property
    def sign(self) -> str:
        """The signs of all the answers: "●∞" is exact or infinite, as the parameters have it."""
        return "".join(SYMBOLS[answer] for answer in self.answers)


@dataclass(frozen=True)
class Coverage:
    """The matrix P×Q for KL, and the closed forms of every divergence.

    Attributes:
        classes: the names of the classes, by alphabet.
        entries: one for each pair that can be compared; pairs of different events have none.
        forms: every registered closed form, in the order of divergence, P and Q.
    """

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    forms: tuple[ClosedForm, ...]

    def counts(self) -> dict[str, int]:
        """How many ordered pairs of classes have which answer, for the ordinary example."""
        first: dict[tuple[str, str], str] = {}
        for entry in self.entries:
            first.setdefault((entry.p, entry.q), entry.answers[0])
        found = Counter(first.values())
        found["different events"] = len(self.classes) ** 2 - len(first)
        return {answer: found[answer] for answer in SYMBOLS}

    def entry(self, p: str, q: str) -> Entry | None:
        """The entry of two classes, by name; None if their events are never of one kind.

        Example:
            >>> coverage().entry("Normal", "Laplace").answers
            ('exact',)
        """
        return next((e for e in self.entries if (e.p, e.q) == (p, q)), None)

    def of(self, events: str) -> tuple[list[str], dict[tuple[str, str], Entry]]:
        """The classes over one kind of event, and their entries by (P, Q)."""
        cells = {(e.p, e.q): e for e in self.entries if e.events == events}
        return [name for name in self.classes if (name, name) in cells], cells

    def to_markdown(self) -> str:
        """A legend and one table for each kind of event: rows are P, columns Q."""
        lines = [f"- {SYMBOLS[answer]}: {meaning}" for answer, meaning in MEANINGS.items()]
        for events in EVENTS.values():
            names, cells = self.of(events)
            lines += ["", f"| {events}: P ╲ Q | " + " | ".join(names) + " |"]
            lines.append("| --- |" + " :-: |" * len(names))
            for p in names:
                signs = " | ".join(cells[p, q].sign for q in names)
                lines.append(f"| {p} | {signs} |")
        return "\n".join(lines)

    def forms_to_markdown(self) -> str:
        """The closed forms with their sources, one table for each divergence."""
        lines = []
        for divergence in dict.fromkeys(form.divergence for form in self.forms):
            own = [form for form in self.forms if form.divergence == divergence]
            sides = "P | Q" if own[0].q else "P"
            lines += ["", f"**{divergence}**, {len(own)} forms", "", f"| {sides} | source |"]
            lines.append("| --- |" + " --- |" * sides.count("|") + " --- |")
            for form in own:
                pair = [kind.__name__ for kind in (form.p, form.q) if kind is not None]
                lines.append(f"| {' | '.join(pair)} | {form.source} |")
        return "\n".join(lines[1:])

    def to_dataframe(self) -> pd.DataFrame:
        """The entries as a pandas DataFrame, one row each.

        Raises:
            MissingExtra: without pandas.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtra("pandas", "dataframe") from None
        return pd.DataFrame([vars(entry) for entry in self.entries])

    def __rich__(self) -> Table:
        from rich.table import Table

        pairs = len(self.classes) ** 2
        table = Table(title=f"KL(P‖Q) over {pairs:,} ordered pairs of classes")
        for heading in ("", "pairs", "what it is"):
            table.add_column(heading, justify="right" if heading == "pairs" else "left")
        for answer, count in self.counts().items():
            meaning = MEANINGS.get(answer, "events of different kinds: nothing to compare")
            table.add_row(SYMBOLS[answer], f"{count:,}", meaning)
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=88, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def coverage(classes: Sequence[type[Distribution]] = CLASSES) -> Coverage:
    """What answers KL(P‖Q) for every ordered pair of classes.

    Takes a few seconds: it asks.

    Args:
        classes: the classes of `torch.distributions` if left out; `Truncated` may be added.

    Example:
        >>> counts = coverage().counts()
        >>> sum(counts.values()) == len(CLASSES) ** 2, counts["exact"] > 100
        (True, True)
    """
    made = {kind.__name__: examples(kind) for kind in classes}
    entries = [entry for p in made for q in made for entry in _entries(p, made[p], q, made[q])]
    forms = sorted(
        CLOSED_FORMS.values(),
        key=lambda form: (form.divergence, form.p.__name__, form.q.__name__ if form.q else ""),
    )
    return Coverage(tuple(kind.__name__ for kind in classes), tuple(entries), tuple(forms))


def _entries(
    name_p: str, examples_p: Iterable[Example], name_q: str, examples_q: Iterable[Example]
) -> Iterator[Entry]:
    found: dict[str, dict[str, str]] = {}
    for of_p in examples_p:
        for of_q in examples_q:
            if of_p.p.event_shape == of_q.q.event_shape:
                answer, reason = _answer(of_p.p, of_q.q)
                events = EVENTS[len(of_p.p.event_shape)]
                found.setdefault(events, {}).setdefault(answer, reason)
    for events, answers in found.items():
        reason = next(iter(answers.values()))
        yield Entry(name_p, name_q, events, tuple(answers), reason)


def _answer(p: Distribution, q: Distribution) -> tuple[str, str]:
    """What `estimate` would do, and why."""
    try:
        value = kl_in_full(p, q)
    except NoClosedForm:
        return _route(p, q), ""
    form = find_closed_form("kl", type(p), type(q))
    proof = escape(p, q)
    if float(value) == math.inf:
        proven = proof is not None and bool(proof.where.all())
        return "infinite", proof.reason if proven and proof else "the integral diverges"
    return "exact", form.source if form else "the sum over the support"


def _route(p: Distribution, q: Distribution) -> str:
    """The way that `estimate` takes for KL(P‖Q) when there is no closed form."""
    side_p, side_q, batch = check_sides(p, q)
    question = Question(
        p=p,
        q=q,
        side_p=side_p,
        side_q=side_q,
        target=target_of("kl"),
        by_name=True,
        alpha=None,
        weight=None,
        rtol=None,
        confidence=0.95,
        budget=None,
        batch=batch,
    )
    method = routes.suitable(question)
    if method == "quadrature" and not question.is_scalar:
        return "cubature"
    return method or "monte carlo"
