"""The verdict: its rule at and around every threshold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kullback.report.verdict import verdict
from kullback.results import Comparison, Estimate, Floor
from synthetic import comparison, positions


def judged(kl: float, low: float, high: float, entropy: float = 1.0) -> Comparison:
    found = Estimate(entropy, entropy, entropy)
    return replace(comparison(), kl=Estimate(kl, low, high), entropy_p=found)


def floor(low: float, high: float) -> Floor:
    return Floor(Estimate(1e-6, 1e-6, 1e-6), Estimate((low + high) / 2, low, high))


@pytest.mark.parametrize(
    ("kl", "entropy", "level"),
    [
        (0.00999, 1.0, "small"),
        (0.01, 1.0, "noticeable"),
        (0.0999, 1.0, "noticeable"),
        (0.1, 1.0, "large"),
        (0.1, 100.0, "small"),
        (0.1, 0.0, "large"),
        (math.inf, 1.0, "infinite"),
    ],
)
def test_the_share_of_the_entropy_decides(kl: float, entropy: float, level: str) -> None:
    assert verdict(judged(kl, kl, kl, entropy)).level == level


def test_what_it_was_judged_by_is_said() -> None:
    found = verdict(judged(0.05, 0.005, 0.15, 2.0))
    assert found.title == "Noticeable loss"
    assert found.reason == (
        "The KL is 2.5 % of the entropy of the reference, which is 2 nats per token. From 1 % to "
        "10 % is called noticeable. The interval reaches into small. No noise floor was measured."
    )
    wide = verdict(judged(0.05, 0.005, 0.2)).reason
    assert "The interval reaches into small and large." in wide
    assert "too little text for an interval" in verdict(judged(0.05, math.nan, math.nan)).reason


@pytest.mark.parametrize("ends", [(-1e-7, 1e-7), (-2e-7, -1e-7), (0.0, 1e-7)])
def test_what_the_floor_does_not_rule_out_is_rounding(ends: tuple[float, float]) -> None:
    found = verdict(judged(0.5, 0.4, 0.6), floor(*ends))
    assert found.level == "rounding"
    assert "1e-06 nats" in found.reason


def test_above_the_floor_the_share_decides() -> None:
    found = verdict(judged(0.05, 0.04, 0.06), floor(0.04, 0.06))
    assert found.level == "noticeable"
    assert found.reason.endswith("It is above the noise floor of 1e-06 nats.")
    unknown = verdict(judged(0.05, 0.04, 0.06), floor(math.nan, math.nan))
    assert unknown.level == "noticeable"
    assert "too little text to judge by" in unknown.reason


def test_no_difference_at_all_is_no_loss() -> None:
    batch = positions()
    zero = np.zeros(len(batch))
    same = comparison(replace(batch, statistics=batch.statistics | {"kl": zero}))
    assert verdict(same).level == "nothing"


def test_an_infinite_loss_says_where() -> None:
    batch = positions()
    kl = batch.statistics["kl"].copy()
    kl[3] = math.inf
    found = verdict(comparison(replace(batch, statistics=batch.statistics | {"kl": kl})))
    assert found.level == "infinite"
    assert f"at 1 of {len(batch):,} positions" in found.reason


def test_what_examples_lose_is_told_by_the_example() -> None:
    example = replace(judged(0.05, math.nan, math.nan), unit="example")
    reason = verdict(example, floor(math.nan, math.nan)).reason
    assert "1 nats per example." in reason
    assert "There are too few examples for an interval" in reason
    assert "measured on too few examples to judge by" in reason
    infinite = replace(judged(math.inf, math.inf, math.inf), unit="example")
    assert "of 1,480 examples." in verdict(replace(infinite, positions=1480)).reason
    same = replace(judged(0.0, 0.0, 0.0), unit="example")
    nothing = verdict(replace(same, percentiles={**same.percentiles, "max": 0.0}))
    assert nothing.reason == "The KL is exactly 0 at every example."
    for found in (reason, nothing.reason):
        assert "token" not in found
        assert "position" not in found
        assert "text" not in found
