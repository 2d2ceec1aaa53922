"""What a log leaves open is said in words: above, beyond this text, or not at all."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from kullback.compare.incomplete import IncompleteComparison
from kullback.report.incomplete import print_incomplete
from kullback.results import Estimate

FEW = "one cluster of positions only: no interval can be formed, use more text"


def bounded(value: float, interval: bool = True) -> Estimate:
    if interval:
        return Estimate(value, 0.9 * value, 1.1 * value)
    return Estimate(value, math.nan, math.nan, diagnosis=FEW)


def printed(low: Estimate, high: Estimate, unbounded: int = 0, bits: bool = False) -> str:
    mass = Estimate(0.1, 0.09, 0.11)
    found = IncompleteComparison(
        low, high, low, low, mass, mass, 40, unbounded, 0, 1, "chunk", 0.95
    )
    console = Console(file=io.StringIO(), width=100)
    print_incomplete(found, console, bits=bits)
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_both_ends_are_told() -> None:
    text = printed(bounded(0.02), bounded(0.5))
    assert text.startswith(
        "On 40 positions of 1 document the candidate loses between 0.018 and 0.551 nats per token. "
    )


def test_what_nothing_bounds_from_above_is_said_to_be_unknown() -> None:
    text = printed(bounded(0.02), bounded(math.inf), unbounded=3)
    assert "the candidate loses at least 0.018 nats per token. How much it loses at most" in text
    assert "is not known: at 3 positions the logs leave open" in text
    assert "and ∞" not in text
    assert re.search(r"at most ∞ nats not bounded", text)
    (one,) = re.findall(r"at 1 position\b", printed(bounded(0.02), bounded(math.inf), 1))
    assert one


def test_without_an_interval_the_ends_hold_for_this_text_alone() -> None:
    text = printed(bounded(0.02, False), bounded(0.5, False))
    assert "loses between 0.02 and 0.5 nats per token here. What it would lose on more" in text
    assert f"is not known ({FEW})." in text
    assert "–" not in text.partition("Mean per")[0]
    assert "nats none" in text


def test_neither_interval_nor_upper_end() -> None:
    text = printed(bounded(0.02, False), Estimate(math.inf, math.inf, math.inf), 2)
    head = text.partition("Mean per")[0]
    assert "loses at least 0.02 nats per token here. What it would lose on more text" in head
    assert "How much it loses at most is not known: at 2 positions" in head
    assert "–" not in head
    assert "∞" not in head


def test_an_infinite_lower_end_is_an_infinite_loss() -> None:
    infinite = Estimate(math.inf, math.inf, math.inf)
    assert "the loss is infinite, whatever" in printed(infinite, infinite, 1)


@pytest.mark.parametrize("value", [0.0236, 0.02354, 0.00999949, 1234.5])
def test_a_bound_is_never_rounded_inwards(value: float) -> None:
    text = printed(Estimate(value, value, value), Estimate(value, value, value))
    (ends,) = re.findall(r"between (\S+) and (\S+) nats", text)
    low, high = map(float, ends)
    # Three digits: no further out than one of the last.
    assert value * 0.99 < low <= value <= high < value * 1.01
