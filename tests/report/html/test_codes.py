"""Two bytes a number, and never off in a digit that is shown."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kullback.report.html.codes import NEGATIVE, decode, encode, encode_probabilities


@given(st.floats(1e-55, 9e5))
def test_a_code_is_the_number_to_three_digits(value: float) -> None:
    found = float(decode(encode(np.array([value])))[0])
    # Scaling by a power of ten rounds, which may turn a tie; nothing else may differ.
    assert found == float(f"{value:.2e}") or math.isclose(
        abs(found - value), 0.5e-2 * 10.0 ** math.floor(math.log10(value)), rel_tol=1e-9
    )


@given(st.floats(0, 1))
def test_probabilities_have_four_decimals_above_a_tenth(value: float) -> None:
    found = float(decode(encode_probabilities(np.array([value])))[0])
    if value > 0.1001:
        assert abs(found - value) <= 0.5e-4 * (1 + 1e-9)
    elif value > 1e-56:
        assert abs(found - value) <= 0.5e-2 * value * (1 + 1e-9)


def test_codes_rise_with_what_they_stand_for() -> None:
    values = np.concatenate([[0.0], np.geomspace(1e-56, 0.0999, 5000), np.linspace(0.1, 1, 5000)])
    codes = encode_probabilities(values).astype(int)
    assert (np.diff(codes) >= 0).all()
    assert codes[0] == 0


def test_what_is_no_finite_number_has_codes_of_its_own() -> None:
    codes = encode(np.array([0.0, math.inf, math.nan, -1e-9, 5e-324, 1e300]))
    assert codes[3] == NEGATIVE
    assert decode(codes).tolist()[:2] == [0.0, math.inf]
    assert np.isnan(decode(codes)[2:4]).all()
    assert decode(codes)[4:].tolist() == [1e-56, 999e3]
    assert len(set(codes.tolist())) == 6
