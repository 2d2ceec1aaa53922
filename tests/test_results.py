"""The records: what they say as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from kullback.results import PERCENTILES, Estimate, json_number


def test_an_estimate_reads_as_value_interval_and_confidence() -> None:
    assert str(Estimate(0.00737, 0.0051, 0.0096)) == "0.00737 [0.00510, 0.00960] (95 %)"
    assert str(Estimate(0.0, 0.0, 0.0, confidence=0.9)) == "0 [0, 0] (90 %)"


def test_an_estimate_without_interval_says_why() -> None:
    estimate = Estimate(0.5, math.nan, math.nan, trusted=False, diagnosis="one cluster only")
    assert str(estimate) == "0.500 (no interval: one cluster only)"


def test_an_untrusted_estimate_says_so() -> None:
    estimate = Estimate(1.0, 0.9, 1.0, trusted=False, diagnosis="all of 20 positions")
    assert str(estimate) == "1.00 [0.900, 1.00] (95 %, not to be trusted: all of 20 positions)"


def test_an_estimate_is_a_float_and_frozen() -> None:
    estimate = Estimate(0.25, 0.2, 0.3)
    assert float(estimate) == 0.25
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimate.value = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0.5), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, None), (3, 3.0)],
)
def test_json_numbers(value: float, expected: object) -> None:
    assert json_number(value) == expected


def test_an_estimate_as_json_is_valid_and_reads_back() -> None:
    row = Estimate(math.inf, math.inf, math.inf, diagnosis="infinite at 1 of 2").to_dict()
    read = json.loads(json.dumps(row, allow_nan=False))
    assert float(read["mean"]) == math.inf
    assert read["stderr"] is None
    assert set(read) == {"mean", "low", "high", "stderr", "trusted", "diagnosis"}


def test_percentiles_are_ascending_and_named_as_documented() -> None:
    assert " ".join(PERCENTILES) == "min p1 p5 p10 p50 p90 p95 p99 p99_9 max"
    assert list(PERCENTILES.values()) == sorted(PERCENTILES.values())
