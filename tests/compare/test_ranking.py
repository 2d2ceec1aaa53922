"""Several candidates: one reading of the reference, in order, and the paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kullback.compare import compare
from kullback.compare.accumulate import Accumulator, comparison_from
from kullback.compare.positions import PositionBatch
from kullback.compare.ranking import ranking_from
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.results import Ranking
from synthetic import positions

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]


def ranked(batches: dict[str, PositionBatch]) -> Ranking:
    found = {}
    for name, batch in batches.items():
        found[name] = Accumulator()
        found[name].update(batch)
    comparisons = {name: comparison_from(x, convention="careful") for name, x in found.items()}
    return ranking_from(comparisons, found, {}, confidence=0.95)


def scaled(batch: PositionBatch, factor: np.ndarray | float) -> PositionBatch:
    return replace(batch, statistics={**batch.statistics, "kl": batch.statistics["kl"] * factor})


def test_the_reference_runs_once(make_model: MakeModel) -> None:
    p, calls = make_model(), []

    def rows(windows, rows=p.rows):
        calls.append(len(windows))
        return rows(windows)

    object.__setattr__(p, "rows", rows)
    others = [make_model(seed=seed) for seed in (1, 2)]
    texts = [TEXT[i:] for i in range(0, 60, 10)]
    found = compare(p, others, text=texts, context=32, warmup=8)
    assert isinstance(found, Ranking)
    once = len(calls)
    for name, candidate in zip(("LlamaForCausalLM", "LlamaForCausalLM (2)"), others, strict=True):
        alone = compare(p, candidate, text=texts, context=32, warmup=8)
        assert found.comparisons[name].kl == alone.kl
    assert len(calls) == 3 * once
    kls = [comparison.kl.value for comparison in found.comparisons.values()]
    assert kls == sorted(kls)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_paired_difference_is_told_apart_where_two_intervals_overlap() -> None:
    batch = positions(documents=12)
    found = ranked({"b": scaled(batch, 1.05), "a": batch})
    a, b = (found.comparisons[name].kl for name in ("a", "b"))
    assert a.high > b.low
    (difference,) = found.differences
    assert (difference.less, difference.more) == ("a", "b")
    assert difference.distinguishable
    # The second side is 1.05 of the first at every position.
    assert difference.kl.value == pytest.approx(0.05 * a.value, rel=1e-12)


def test_noise_cannot_be_told_apart() -> None:
    batch = positions(documents=12)
    noise = np.random.default_rng(1).lognormal(0, 0.5, len(batch))
    noise /= (noise * batch.statistics["kl"]).sum() / batch.statistics["kl"].sum()
    (difference,) = ranked({"a": batch, "b": scaled(batch, noise)}).differences
    assert not difference.distinguishable
    assert "cannot be told apart" in str(difference)


def test_an_infinity_is_last_and_two_have_no_difference() -> None:
    batch = positions(documents=6)
    infinite = batch.statistics["kl"].copy()
    infinite[3] = math.inf
    worse = replace(batch, statistics={**batch.statistics, "kl": infinite})
    found = ranked({"x": worse, "a": batch, "y": worse})
    assert next(iter(found.comparisons)) == "a"
    by_pair = {(d.less, d.more): d for d in found.differences}
    assert by_pair["a", "x"].kl.value == math.inf
    assert math.isnan(by_pair["x", "y"].kl.value)
    assert not by_pair["x", "y"].distinguishable


def test_a_note_that_is_not_true_of_all_says_whose_it_is(make_model: MakeModel) -> None:
    p, sides = make_model(), [make_model(seed=seed) for seed in (1, 2, 3)]
    notes = (["of all", "of two"], ["of all", "of two"], ["of all", "of one"])
    named = [
        replace(side, name=name, notes=list(said))
        for name, side, said in zip("abc", sides, notes, strict=True)
    ]
    found = compare(p, named, text=[TEXT, TEXT[40:]], context=32, warmup=8)
    told = {name: set(comparison.notes) for name, comparison in found.comparisons.items()}
    assert told["a"] == told["b"] >= {"of all", "For a, b: of two"}
    assert told["c"] >= {"of all", "For c: of one"}
    # Those of the text are of all.
    assert any(note.startswith("Intervals are clustered") for note in told["a"] & told["c"])
