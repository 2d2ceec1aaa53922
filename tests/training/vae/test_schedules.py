"""Schedules: where they begin and end, that they can be put away, and the papers' formulas."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kullback.errors import InputError
from kullback.training.vae import (
    CosineSchedule,
    CyclicalSchedule,
    LinearSchedule,
    Schedule,
    SigmoidSchedule,
)

EVERY = pytest.mark.parametrize(
    "kind", [LinearSchedule, CosineSchedule, SigmoidSchedule, CyclicalSchedule]
)
STEPS = 12


def run(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.value] + [schedule.step() for _ in range(steps)]


@EVERY
class TestEvery:
    @pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.3, 25.0), (1.0, 0.1), (2.0, 2.0)])
    def test_begins_and_ends_exactly(self, kind: Any, start: float, end: float) -> None:
        values = run(kind(start, end, steps=STEPS), STEPS + 3)
        assert values[0] == start
        assert values[STEPS:] == [end] * 4
        low, high = sorted((start, end))
        assert all(low * (1 - 1e-15) <= value <= high * (1 + 1e-15) for value in values)

    def test_goes_on_from_a_checkpoint(self, kind: Any) -> None:
        schedule = kind(steps=STEPS)
        run(schedule, 5)
        state = json.loads(json.dumps(schedule.state_dict()))
        again = kind(steps=STEPS)
        again.load_state_dict(state)
        assert run(again, 9) == run(schedule, 9)

    def test_only_a_step_changes_it(self, kind: Any) -> None:
        schedule = kind(steps=STEPS)
        schedule.step()
        assert schedule.value == schedule.value
        assert schedule.step() != schedule.state_dict()["count"] == 2

    def test_says_where_it_is(self, kind: Any) -> None:
        schedule = kind(steps=STEPS)
        schedule.step()
        assert repr(schedule).startswith(f"{kind.__name__}(0.0, 1.0, steps=12")
        assert repr(schedule).endswith(f"at 1: {schedule.value:.6g}")

    def test_numbers_of_numpy_are_plain_ones(self, kind: Any) -> None:
        schedule, plain = (
            kind(np.float32(1.0), np.int64(3), steps=np.int64(STEPS)),
            kind(1, 3, steps=STEPS),
        )
        assert repr(schedule) == repr(plain)
        assert {type(value) for value in run(schedule, STEPS)} == {float}

    @pytest.mark.parametrize("state", [{}, None, 3, {"count": -1}, {"count": 1.5}, {"count": True}])
    def test_no_such_state(self, kind: Any, state: dict[str, Any]) -> None:
        schedule = kind(steps=STEPS)
        with pytest.raises(InputError, match="is none of a schedule"):
            schedule.load_state_dict(state)
        assert schedule.count == 0

    @pytest.mark.parametrize(
        "options",
        [
            {"steps": 0},
            {"steps": 2.5},
            {"steps": 16.0},
            {"steps": math.nan},
            {"steps": "9"},
            {"steps": True},
            {"steps": 16, "end": math.inf},
            {"steps": 16, "start": math.nan},
            {"steps": 16, "start": "a"},
        ],
    )
    def test_refusals(self, kind: Any, options: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            kind(**options)


class TestFormulas:
    def test_linear(self) -> None:
        values = run(LinearSchedule(1.0, 3.0, steps=STEPS), STEPS)
        assert values == pytest.approx([1 + 2 * t / STEPS for t in range(STEPS + 1)], rel=1e-15)

    def test_cosine(self) -> None:
        expected = [(1 - math.cos(math.pi * t / STEPS)) / 2 for t in range(STEPS + 1)]
        assert run(CosineSchedule(steps=STEPS), STEPS) == pytest.approx(expected, abs=1e-15)

    @pytest.mark.parametrize("steepness", [0.1, 12.0, 5000.0])
    def test_sigmoid(self, steepness: float) -> None:
        def logistic(t: int) -> float:
            return 1 / (1 + math.exp(min(steepness * (0.5 - t / STEPS), 700.0)))

        first, last = logistic(0), logistic(STEPS)
        expected = [(logistic(t) - first) / (last - first) for t in range(STEPS + 1)]
        found = run(SigmoidSchedule(steps=STEPS, steepness=steepness), STEPS)
        # The stretch divides by a difference of 0.05 for the flattest.
        assert found == pytest.approx(expected, abs=1e-14)

    @pytest.mark.parametrize(("cycles", "rise"), [(1, 1.0), (3, 0.5), (4, 0.25), (5, 0.7)])
    def test_cyclical(self, cycles: int, rise: float) -> None:
        """Fu et al.: τ = mod(t, T/M)/(T/M), and min(1, τ/R)."""
        steps = 60
        period = steps // cycles
        expected = [min(1.0, t % period / period / rise) for t in range(steps)] + [1.0]
        found = run(CyclicalSchedule(steps=steps, cycles=cycles, rise=rise), steps)
        assert found == pytest.approx(expected, abs=1e-14)
        assert found.count(0.0) == cycles

    @pytest.mark.parametrize(("steps", "cycles"), [(10, 3), (11, 4), (7, 3), (101, 7), (9, 4)])
    def test_each_cycle_begins_at_the_start(self, steps: int, cycles: int) -> None:
        """Also where the cycles do not divide the steps: at the ceiling of k·steps/cycles."""
        found = run(CyclicalSchedule(0.25, 2.0, steps=steps, cycles=cycles), steps)
        begins = [math.ceil(Fraction(k * steps, cycles)) for k in range(cycles)]
        assert [t for t, value in enumerate(found) if value == 0.25] == begins
        for first, following in itertools.pairwise([*begins, steps]):
            cycle = found[first:following]
            assert len(cycle) >= 2
            assert cycle == sorted(cycle)
            # A rise over half of the cycle: at the end from there on.
            assert cycle[-(len(cycle) // 2) :] == [2.0] * (len(cycle) // 2)

    @pytest.mark.parametrize(
        "options",
        [
            {"cycles": 0},
            {"cycles": 7},
            {"cycles": 12},
            {"cycles": 2.5},
            {"cycles": math.nan},
            {"rise": 0.0},
            {"rise": 2},
            {"rise": math.nan},
        ],
    )
    def test_cycles_there_can_be(self, options: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            CyclicalSchedule(steps=STEPS, **options)

    @pytest.mark.parametrize("steepness", [0.0, -1.0, math.inf])
    def test_steepness(self, steepness: float) -> None:
        with pytest.raises(InputError, match="steepness"):
            SigmoidSchedule(steps=STEPS, steepness=steepness)
