"""The stop rule: what it reads, what it refuses, and when it is reached."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.compare.precision import Precision
from kullback.compare.sequences import sequence_interval
from kullback.errors import InputError
from kullback.results import Estimate


@pytest.mark.parametrize(
    ("text", "width", "relative", "words"),
    [
        ("0.02", 0.02, False, "0.02 nats"),
        (" .5 ", 0.5, False, "0.5 nats"),
        ("1e-3", 1e-3, False, "0.001 nats"),
        ("2", 2.0, False, "2 nats"),
        ("5%", 0.05, True, "5 %"),
        ("12.5 %", 0.125, True, "12.5 %"),
    ],
)
def test_reads_nats_and_shares(text: str, width: float, relative: bool, words: str) -> None:
    precision = Precision.parse(text)
    assert precision.width == pytest.approx(width, rel=1e-15)
    assert precision.relative is relative
    assert str(precision) == words


@pytest.mark.parametrize(
    "text",
    ["", "%", "0", "0%", "-1", "-5%", "+1", "nan", "inf", "1e999", "1e-999", "0,02", "5%%",
     "%5", "0.02 nats", "1_0", "٥", "1.2.3", "0x1", "5 % 5", "five", "\n"],
)  # fmt: skip
def test_refuses_nonsense_by_its_name(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Precision.parse(text)
    assert repr(text) in str(caught.value)
    assert '"5%"' in str(caught.value)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_refuses_widths_that_are_none(width: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        Precision(width)


def test_the_whole_width_counts() -> None:
    estimate = Estimate(0.5, 0.375, 0.625)
    assert Precision(0.25).reached(estimate)
    assert not Precision(0.2499).reached(estimate)
    assert Precision(0.5, relative=True).reached(estimate)
    assert not Precision(0.4999, relative=True).reached(estimate)


@pytest.mark.parametrize(
    "estimate",
    [
        Estimate(0.5, math.nan, math.nan),
        Estimate(0.5, 0.5, 0.5, trusted=False),
        Estimate(math.inf, math.inf, math.inf),
        Estimate(0.5, 0.4, math.inf),
        Estimate(math.nan, math.nan, math.nan, trusted=False),
    ],
)
def test_never_reached_without_an_interval_to_lean_on(estimate: Estimate) -> None:
    assert not Precision(100.0).reached(estimate)
    assert not Precision(100.0, relative=True).reached(estimate)


def test_a_share_of_a_mean_below_zero_is_never_reached() -> None:
    assert not Precision(0.5, relative=True).reached(Estimate(-1.0, -1.001, -0.999))


def test_more_documents_reach_it_and_identical_models_read_on() -> None:
    rng = np.random.default_rng(0)
    sums = rng.lognormal(sigma=0.5, size=2000)
    ten = Precision.parse("10%")
    reached = [ten.reached(sequence_interval(sums[:n], np.ones(n))) for n in (30, 100, 2000)]
    assert reached == [False, False, True]
    assert not ten.reached(sequence_interval(np.zeros(2000), np.ones(2000)))
