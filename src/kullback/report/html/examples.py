"""The worst examples of a classifier: what both sides took them for, and what they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kullback.report.html.figures import number, percent
from kullback.report.html.positions import Positions
from kullback.report.html.tokens import Vocabulary

__all__ = ["Example", "worst_examples"]


@dataclass(frozen=True)
class Example:
    """One example as words; `row` is its place among the positions, `linked` if the page has it."""

    row: int
    linked: bool
    place: str
    label: str
    kl: str
    reference: str
    reference_given: str
    candidate: str
    candidate_given: str


def worst_examples(
    positions: Positions, vocabulary: Vocabulary, shown: int, count: int = 12
) -> list[Example]:
    """The `count` examples of largest KL, the largest first, of equals the first in the file.

    Those whose KL is 0 are left out; the page has the first `shown` of all.
    """
    kl = positions["kl"]
    order = np.argsort(-kl, kind="stable")[:count]
    return [_example(positions, vocabulary, int(row), shown) for row in order if kl[row] > 0]


def _example(positions: Positions, vocabulary: Vocabulary, row: int, shown: int) -> Example:
    def event(name: str) -> str:
        return vocabulary.shown(int(positions[name][row])).strip()

    place = f"example {int(positions['position'][row]):,}"
    if len(positions.documents) > 1:
        place = f"{positions.documents[int(positions['document_index'][row])]}, {place}"
    return Example(
        row,
        row < shown,
        place,
        event("token"),
        number(float(positions["kl"][row])),
        event("top_p"),
        percent(float(positions["top_prob_p"][row])),
        event("top_q"),
        percent(float(positions["top_prob_q"][row])),
    )
