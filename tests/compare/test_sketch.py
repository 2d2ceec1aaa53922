"""The quantile sketch against sorted values: its error, merging, zeros and infinities."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kullback.compare.sketch import QuantileSketch
from kullback.errors import InputError

QUANTILES = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
numbers = st.floats(allow_nan=False, width=64) | st.floats(1e-12, 1e3)


def sketch_of(values: object, relative_error: float = 0.005) -> QuantileSketch:
    sketch = QuantileSketch(relative_error)
    sketch.update(np.asarray(values, np.float64))
    return sketch


def exact(values: object, q: float) -> float:
    ordered = np.sort(np.asarray(values, np.float64))
    return float(ordered[math.floor(q * (len(ordered) - 1))])


@pytest.mark.parametrize("relative_error", [0.05, 0.005])
def test_within_the_stated_error_on_skewed_values(relative_error: float) -> None:
    values = np.random.default_rng(0).lognormal(-5, 3, 100_000)
    sketch = sketch_of(values, relative_error)
    for q in QUANTILES:
        # 1e-9 is rounding of the logarithms, far below the error that is promised.
        assert sketch.quantile(q) == pytest.approx(exact(values, q), rel=relative_error + 1e-9)


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=60), st.sampled_from(QUANTILES))
def test_within_the_stated_error_on_anything(values: list[float], q: float) -> None:
    true, found = exact(values, q), sketch_of(values).quantile(q)
    if math.isinf(true) or abs(true) < sys.float_info.min:
        # Below the smallest normal number a float has no relative precision left.
        assert found == true or abs(found) < sys.float_info.min
    else:
        assert found == pytest.approx(true, rel=0.005 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(numbers, max_size=20), min_size=1, max_size=5))
def test_merging_parts_is_sketching_the_whole(parts: list[list[float]]) -> None:
    whole = sketch_of([value for part in parts for value in part])
    merged = QuantileSketch()
    for part in parts:
        merged.merge(sketch_of(part))
    assert len(merged) == len(whole) == sum(map(len, parts))
    for q in QUANTILES:
        assert repr(merged.quantile(q)) == repr(whole.quantile(q))


def test_zeros_and_infinities_are_counted_apart() -> None:
    sketch = sketch_of([0.0] * 50 + [1.0] * 49 + [math.inf])
    assert sketch.infinities == 1
    assert sketch.quantile(0.4) == 0.0
    assert sketch.quantile(0.9) == pytest.approx(1.0, rel=0.005 + 1e-9)
    assert sketch.quantile(1.0) == math.inf


def test_extremes_are_exact() -> None:
    sketch = sketch_of([0.1234567, 0.2, 7.654321])
    assert (sketch.quantile(0), sketch.quantile(1)) == (0.1234567, 7.654321)


def test_memory_depends_on_the_range_and_not_on_the_number() -> None:
    rng = np.random.default_rng(0)
    sketch = QuantileSketch()
    for _ in range(20):
        sketch.update(rng.uniform(1e-3, 1.0, 50_000))
    # Three factors of ten at about 230 buckets each.
    assert len(sketch._keys) <= 3 * 231
    assert len(sketch) == 1_000_000


def test_nothing_has_no_quantile() -> None:
    assert math.isnan(QuantileSketch().quantile(0.5))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="value 1 is NaN"):
        sketch_of([0.0, math.nan])
    with pytest.raises(InputError, match="between 0 and 1"):
        sketch_of([1.0]).quantile(1.1)
    with pytest.raises(InputError, match="do not merge"):
        sketch_of([1.0]).merge(QuantileSketch(0.01))
    with pytest.raises(InputError, match="relative_error"):
        QuantileSketch(0.0)
