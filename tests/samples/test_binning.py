"""Bins at quantiles: counts by another route, known divergences, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kullback.distributions.targets import target_of
from kullback.divergences import KL
from kullback.errors import InputError
from kullback.samples.binning import quantile_bins
from kullback.samples.binning.counts import divergence_of, joined_at
from kullback.samples.draws import draws_of


def test_the_jackknife_takes_off_the_bias_of_counts() -> None:
    rng = np.random.default_rng(0)
    p, q = np.array([0.3, 0.3, 0.2, 0.2]), np.array([0.1, 0.2, 0.3, 0.4])
    counts = np.stack([rng.multinomial(40, s, size=(3000, 10)) for s in (p, q)], axis=1)
    found = np.array([divergence_of(KL, one) for one in counts])
    truth = float((p * np.log(p / q)).sum())
    plain = counts.sum(2) / 400
    biased = (plain[:, 0] * np.log(plain[:, 0] / plain[:, 1])).sum(1).mean() - truth
    noise = found[:, 0].std() / math.sqrt(3000)
    assert abs(found[:, 0].mean() - truth) < 4 * noise < biased
    # The delta method is of first order in 1/400.
    assert found[:, 1].mean() == pytest.approx(found[:, 0].var(), rel=0.1)


def test_bare_bins_join_their_neighbours() -> None:
    counts = np.array([[0, 5, 9, 1, 0, 7, 2], [3, 4, 9, 0, 0, 9, 1]])
    assert joined_at(counts, 3).tolist() == [0, 2, 3]
    assert joined_at(counts[1:], 3).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jeffreys", "js", "squared_hellinger"])
def test_two_normals(name: str) -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(-10, 11, 20001)
    p, q = (np.exp(-0.5 * (t - m) ** 2) / math.sqrt(2 * math.pi) for m in (0, 0.7))
    forward, back = p * np.log(p / q), q * np.log(q / p)
    terms = {
        "kl": forward,
        "reverse_kl": back,
        "jeffreys": forward + back,
        "js": 0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))),
        "squared_hellinger": 0.5 * (np.sqrt(p) - np.sqrt(q)) ** 2,
    }
    truth = float(np.trapezoid(terms[name], t))
    pair = draws_of(rng.normal(0, 1, 8000), rng.normal(0.7, 1, 8000))
    found = quantile_bins(pair, target_of(name))
    assert found.low <= truth <= found.high
    assert found.value == pytest.approx(truth, rel=0.15)  # four standard errors


def test_few_bins_lose_and_never_gain() -> None:
    rng = np.random.default_rng(0)
    pair = draws_of(rng.normal(0, 1, 20_000), rng.normal(0.7, 1, 20_000))
    four, many = (quantile_bins(pair, target_of("kl"), bins=bins) for bins in (4, 64))
    assert four.value - four.high < 0
    assert four.low < many.value
    assert "4 bins" in four.method


def test_apart_is_flagged_and_bounded_from_below() -> None:
    rng = np.random.default_rng(0)
    pair = draws_of(rng.normal(0, 1, 2000), rng.normal(4, 1, 2000))
    found = quantile_bins(pair, target_of("kl"))
    assert not found.trusted
    assert 0 < found.low < 8
    assert found.high == math.inf


def test_what_bins_cannot_answer() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="one numeric column"):
        quantile_bins(draws_of(rng.normal(size=(200, 2)), rng.normal(size=(200, 2))), _kl())
    pair = draws_of(rng.normal(size=200), rng.normal(size=200))
    with pytest.raises(InputError, match="total variation"):
        quantile_bins(pair, target_of("total_variation"))
    with pytest.raises(InputError, match="power of two"):
        quantile_bins(pair, _kl(), bins=5)
    with pytest.raises(InputError, match="too few"):
        quantile_bins(draws_of(np.arange(20.0), np.arange(20.0)), _kl())


def _kl():
    return target_of("kl")


def test_intervals_cover() -> None:
    held, flagged = [], 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 5])
        pair = draws_of(rng.normal(0, 1, 1000), rng.normal(0.5, 1.1, 1000))
        found = quantile_bins(pair, _kl(), seed=seed)
        held += [found.low <= _truth() <= found.high] if found.trusted else []
        flagged += not found.trusted
    # Of 60 at 95 %, 52 or fewer has a probability of 1 %.
    assert np.mean(held) > 52 / 60
    assert flagged < 30


def _truth() -> float:
    return math.log(1.1) + (1 + 0.25) / (2 * 1.21) - 0.5
