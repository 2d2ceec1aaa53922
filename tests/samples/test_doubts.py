"""Each doubt is raised where it should be, none on clean pairs, and a doubt takes the upper end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.distributions.targets import target_of
from kullback.samples.classifier import Reading, estimate_of
from kullback.samples.doubts import doubts_of, share_beyond, unseen
from kullback.samples.draws import DrawsPair, draws_of

KL = target_of("kl")
CLEAN = Reading(value=0.11, missing=0.002, stderr=0.01, models=("quadratic",))


def _pair(shift: float, spread: float = 1.0, n: int = 1000, d: int = 1) -> DrawsPair:
    rng = np.random.default_rng(0)
    return draws_of(rng.normal(0, 1, (n, d)), rng.normal(shift, spread, (n, d)))


def test_share_beyond_counts_what_lies_outside_the_third_draws() -> None:
    b = np.arange(100.0)
    a = np.array([1.9, 2.0, 50.0, 97.0, 97.1, 200.0, -3.0, 60.0])
    assert share_beyond(a, b) == 4 / 8
    assert share_beyond(b, b) == 4 / 100
    assert share_beyond(a, b[:6]) == 0.0  # no ends to speak of


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "js", "total_variation", "jeffreys"])
def test_a_clean_pair_has_none(name: str) -> None:
    assert doubts_of(CLEAN, _pair(0.3, 1.1, d=3), target_of(name)) == []


def test_far_apart_is_out_of_reach_for_what_is_unbounded_only() -> None:
    pair = _pair(4.0)
    assert "lie where Q has next to none" in doubts_of(CLEAN, pair, KL)[0]
    for name in ("js", "squared_hellinger", "total_variation"):
        assert doubts_of(CLEAN, pair, target_of(name)) == []


def test_reach_goes_by_the_direction() -> None:
    """A narrow P lies within a wide Q: KL is well, reverse KL is not, Jeffreys is neither."""
    rng = np.random.default_rng(1)
    pair = draws_of(rng.uniform(-0.5, 0.5, 2000), rng.normal(0, 1, 2000))
    assert doubts_of(CLEAN, pair, KL) == []
    for name in ("reverse_kl", "jeffreys"):
        assert (
            "draws of Q lie where P has next to none" in doubts_of(CLEAN, pair, target_of(name))[0]
        )


def test_a_label_that_q_never_drew_is_out_of_reach() -> None:
    words = np.random.default_rng(0).choice(["a", "b"], 1000)
    missing = words.copy()
    missing[:200] = "c"
    assert "column 0 of the labels" in doubts_of(CLEAN, draws_of(missing, words), KL)[0]
    assert doubts_of(CLEAN, draws_of(words, missing), KL) == []


@pytest.mark.parametrize("stderr", [3.0, math.inf])
def test_an_error_as_large_as_the_value_is_a_doubt(stderr: float) -> None:
    reading = Reading(value=4.0, missing=0.1, stderr=stderr, models=("trees",))
    assert "too large for 1000 and 1000 draws" in doubts_of(reading, _pair(0.0), KL)[0]
    narrow = Reading(value=4.0, missing=0.1, stderr=0.3, models=("trees",))
    assert doubts_of(narrow, _pair(0.0), KL) == []


def test_what_half_of_the_draws_did_not_see_is_a_doubt() -> None:
    reading = Reading(value=0.4, missing=0.3, stderr=0.02, models=("trees",))
    words = doubts_of(reading, _pair(0.0, d=7), KL)
    assert words == [
        "half of the draws gave 0.1, all of them 0.4: 7 dimensions are too many for 1000 and "
        "1000 draws"
    ]
    noise = Reading(value=0.004, missing=0.003, stderr=0.002, models=("trees",))
    assert doubts_of(noise, _pair(0.0, d=7), KL) == []


@pytest.mark.parametrize("name", ["kl", "js", "hellinger", "renyi"])
def test_a_doubt_leaves_a_lower_bound_and_no_upper_end(name: str) -> None:
    target = target_of(name, alpha_order=0.5 if name == "renyi" else None)
    reading = Reading(value=0.3, missing=0.2, stderr=0.01, models=("trees",))
    found = estimate_of(reading, _pair(3.0, n=600), target, 0.95, 0)
    assert not found.trusted
    assert "dimensions are too many" in found.diagnosis
    assert found.high == pytest.approx({"js": math.log(2), "hellinger": 1.0}.get(name, math.inf))
    truth = {"kl": 4.5, "js": 0.5387, "hellinger": 0.8219, "renyi": 2.25}[name]
    assert 0 < found.low < truth


def test_without_doubts_the_interval_is_the_normal_one_and_reaches_for_what_is_missing() -> None:
    pair = _pair(0.3, 1.1, d=3)
    found = estimate_of(CLEAN, pair, KL, 0.95, 0)
    assert found.trusted
    assert found.value == pytest.approx(0.112, rel=1e-12)
    assert found.low == pytest.approx(0.11 - 1.959963984540054 * 0.01, rel=1e-9)
    # Twice what is missing, and what the few draws of P beyond Q's may add.
    widening = 0.004 + unseen(pair, KL)
    assert found.high == pytest.approx(0.11 + 1.959963984540054 * 0.01 + widening, rel=1e-9)
