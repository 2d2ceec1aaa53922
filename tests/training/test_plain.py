"""Options that are plain numbers: what passes, as what, and what never does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kullback.errors import InputError, NonFiniteError
from kullback.training.plain import finite_number, plain_bool, plain_int, plain_number


@pytest.mark.parametrize("door", [plain_number, finite_number, plain_int, plain_bool])
@pytest.mark.parametrize("value", ["1", b"1", None, 1j, [1], torch.tensor(1), np.bool_(True)])
def test_what_is_no_plain_number(door: Callable[[Any, str], object], value: Any) -> None:
    with pytest.raises(InputError, match=rf"(?s)x=.* is of type {type(value).__name__}"):
        door(value, "x")


@pytest.mark.parametrize("door", [plain_number, finite_number, plain_int])
def test_true_is_no_number(door: Callable[[Any, str], object]) -> None:
    with pytest.raises(InputError, match="x=True is of type bool"):
        door(True, "x")


@pytest.mark.parametrize(
    ("door", "value", "plain"),
    [
        (plain_number, np.float32(0.5), 0.5),
        (plain_number, 2, 2.0),
        (plain_number, math.inf, math.inf),
        (finite_number, np.float64(0.5), 0.5),
        (finite_number, np.int64(2), 2.0),
        (plain_int, np.int64(2), 2),
        (plain_bool, False, False),
    ],
)
def test_numbers_come_out_plain(door: Callable[[Any, str], Any], value: Any, plain: Any) -> None:
    found = door(value, "x")
    assert found == plain
    assert type(found) is type(plain)


def test_ranges() -> None:
    assert math.isnan(plain_number(math.nan, "x"))
    with pytest.raises(NonFiniteError, match="x=nan: pass a number, such as 1"):
        finite_number(math.nan, "x", advice=", such as 1")
    with pytest.raises(InputError, match="x=inf: it must be finite and at least 0"):
        finite_number(math.inf, "x", least=0)
    with pytest.raises(InputError, match="x=-1: it must be finite and at least 0"):
        finite_number(-1, "x", least=0)
    with pytest.raises(InputError, match="x=0: it must be a whole number, at least 1; or None"):
        plain_int(0, "x", least=1, advice="; or None")
    with pytest.raises(InputError, match=r"x=2\.0 is of type float: it must be a whole number"):
        plain_int(2.0, "x")
