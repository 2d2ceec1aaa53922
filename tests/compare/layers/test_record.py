"""What the record says of sums, in words and in numbers, and what it makes of infinities."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kullback.compare.layers.fold import Fold
from kullback.compare.layers.record import LayerEffects
from kullback.compare.layers.units import Unit
from kullback.compare.windows import Window


class Different:
    """A part that differs and holds ten weights."""

    layer, kind, weights, differs, slots = 0, "MLP", 10, True, ()


def units(number: int) -> list[Unit]:
    return [Unit(f"layer {i} MLP", i, "MLP", (Different(),), i) for i in range(number)]  # type: ignore[arg-type]


def folded(draw: Callable[[np.random.Generator], dict[Any, np.ndarray]], **rest: Any):
    """The record of twelve documents of one window with eight positions."""
    rng, fold = np.random.default_rng(0), Fold()
    for index in range(12):
        window = Window(index, index, np.arange(9), np.arange(8), 1, 8 * index)
        fold.update([window], draw(rng))
    return fold.record(
        units(2),
        confidence=0.95,
        **({"leave_one_out": False} | rest),
        by="modules",
        layers=2,
        evaluations=5,
        naive=10,
    )


def mixture(whole: float, *, noise: float = 0.1) -> LayerEffects:
    """Two modules that lose 1 and 2 nats alone, and `whole` together."""

    def draw(rng: np.random.Generator) -> dict[Any, np.ndarray]:
        base = 1 + noise * rng.random(8)
        return {"whole": whole * base, ("single", 0): base, ("single", 1): 2 * base}

    return folded(draw)


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (3.0, "Single effects add up: their sum is 1 of"),
        (3.1, "Single effects add up: their sum is 0.968 of"),
        (2.0, "do not add up: the single effects sum to 1.5 times"),
        (6.0, "do not add up: the single effects sum to 0.5 times"),
        (0.0, "The whole candidate loses nothing, though single modules do"),
    ],
)
def test_sums_in_words(whole: float, words: str) -> None:
    found = mixture(whole)
    assert words in found.adding_up
    assert found.total.value == pytest.approx(sum(e.kl.value for e in found.effects))
    assert found.gap is not None
    assert found.gap.value == pytest.approx(found.total.value - found.whole.value)
    assert found.gap.low <= found.gap.value <= found.gap.high
    assert ("worse" in found.adding_up) == (whole == 6.0)


def test_too_little_text_says_nothing_of_sums() -> None:
    signs = itertools.cycle([1, -1])

    def draw(rng: np.random.Generator) -> dict[Any, np.ndarray]:
        ones = np.ones(8)
        sign = next(signs)
        return {"whole": (2 + 1.9 * sign) * ones, ("single", 0): ones, ("single", 1): 1.5 * ones}

    found = folded(draw)
    assert "so little text that says nothing yet" in found.adding_up


def test_the_gap_is_paired() -> None:
    found = mixture(2.5, noise=3.0)
    assert found.gap is not None
    # Documents differ greatly, but the gap is a fifth of the whole in each of them.
    assert found.gap.high - found.gap.low < 0.4 * (found.whole.high - found.whole.low)
    assert found.gap.value == pytest.approx(0.2 * found.whole.value)


def test_intervals_cluster_by_document_and_have_its_jackknife() -> None:
    rng = np.random.default_rng(3)
    means: list[float] = []

    def draw(_: np.random.Generator) -> dict[Any, np.ndarray]:
        means.append(float(rng.exponential()))
        values = np.full(8, means[-1])
        return {"whole": values, ("single", 0): values, ("single", 1): values}

    found = folded(draw)
    assert found.clustered_by == "document"
    # For documents of one length the jackknife is the standard error of the documents' means.
    expected = np.std(means, ddof=1) / math.sqrt(12)
    assert found.effects[0].kl.stderr == pytest.approx(expected, rel=1e-12)


def test_an_infinite_effect_is_infinite_and_makes_no_gap() -> None:
    def draw(rng: np.random.Generator) -> dict[Any, np.ndarray]:
        ones = np.ones(8)
        endless = np.where(np.arange(8) == 3, np.inf, 1.0)
        return {
            "whole": endless,
            ("single", 0): endless,
            ("single", 1): ones,
            ("without", 0): ones,
            ("without", 1): endless,
        }

    found = folded(draw, leave_one_out=True)
    assert found.effects[0].kl.value == found.whole.value == found.total.value == math.inf
    assert found.effects[1].kl.value == 1.0
    assert found.gap is None
    assert found.effects[0].saved is None
    assert "nothing can be said of sums" in found.adding_up
    assert found.ranked()[0].name == "layer 0 MLP"
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["whole"]["mean"] == "inf"
    assert written["gap"] is None


def test_what_is_written_is_what_was_found() -> None:
    found = mixture(2.0)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["ranking"] == ["layer 1 MLP", "layer 0 MLP"]
    assert written["effects"][0]["kl"]["mean"] == found.effects[0].kl.value
    assert written["effects"][0]["weights"] == 10
    assert written["layer_evaluations"] == 5
    assert written["naive_layer_evaluations"] == 10
    assert written["adding_up"] == found.adding_up
