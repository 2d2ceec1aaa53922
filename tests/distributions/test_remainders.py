"""Binet's function and the remainders against 60 digits, over eighteen orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor

from kullback.numerics.binet import binet, binet_curvature, binet_slope
from kullback.numerics.cases import by_case
from kullback.numerics.remainders import (
    lgamma_difference,
    lgamma_remainder,
    log_quotient,
    rate_divergence,
    shape_divergence,
)

POINTS = [10.0**n * factor for n in range(-8, 10) for factor in (1.0, 2.3, 7.9, 8.1)]
STEPS = [1e-13, -1e-13, 1e-5, -1e-5, 0.2, -0.2, 0.3, -0.3, 5.0, -0.999, 1e5]


def number(x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


BINET: list[tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = [
    (
        binet,
        lambda x: mp.loggamma(x) - (x - mp.mpf("0.5")) * mp.log(x) + x - mp.log(2 * mp.pi) / 2,
    ),
    (binet_slope, lambda x: mp.digamma(x) - mp.log(x) + 1 / (2 * x)),
    (binet_curvature, lambda x: mp.psi(1, x) - 1 / x - 1 / (2 * x**2)),
]


@pytest.mark.parametrize(("function", "truth"), BINET)
def test_binet(function: Callable[[Tensor], Tensor], truth: Callable[[Any], Any]) -> None:
    """Where the series takes over, at 12, lgamma is 2,500 times what is left: 1e-12."""
    values = function(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    with mp.workdps(60):
        for x, value in zip(POINTS, values, strict=True):
            assert float(abs(value / truth(mp.mpf(x)) - 1)) < 1e-12


REMAINDERS: list[tuple[Callable[[Tensor, Tensor, Tensor], Tensor], Callable[..., Any]]] = [
    (log_quotient, lambda y, x: mp.log(y / x)),
    (rate_divergence, lambda y, x: (y - x) / x - mp.log(y / x)),
    (lgamma_remainder, lambda y, x: mp.loggamma(y) - mp.loggamma(x) - mp.digamma(x) * (y - x)),
    (lgamma_difference, lambda y, x: mp.loggamma(y) - mp.loggamma(x)),
    (
        shape_divergence,
        lambda y, x: (
            mp.loggamma(y) - mp.loggamma(x) - (mp.digamma(x) - 1) * (y - x) - y * mp.log(y / x)
        ),
    ),
]


@pytest.mark.parametrize(("function", "truth"), REMAINDERS)
def test_remainders(
    function: Callable[[Tensor, Tensor, Tensor], Tensor], truth: Callable[..., Any]
) -> None:
    """The true y is x + step; the function is given y rounded, which may lose the step.

    lgamma is zero at 1 and 2, so that a difference has no digits there beyond those of 1.
    """
    with mp.workdps(60):
        for x in POINTS:
            for relative in STEPS:
                step = x * relative
                y = mp.mpf(x) + mp.mpf(step)
                expected = truth(y, mp.mpf(x))
                value = function(number(float(y)), number(x), number(step)).item()
                slack = 1e-15 if function is lgamma_difference else 0.0
                assert float(abs(value - expected)) <= 2e-13 * float(abs(expected)) + slack
                if function not in (log_quotient, lgamma_difference):
                    assert value > 0


def test_by_case_shows_each_piece_its_own_only() -> None:
    x = torch.tensor([-1.0, 4.0, 9.0, -4.0], requires_grad=True)
    y = torch.tensor([[1.0], [2.0]])

    def root(x: Tensor, y: Tensor) -> Tensor:
        assert bool((x >= 0).all())
        return y * x.sqrt()

    def square(x: Tensor, y: Tensor) -> Tensor:
        assert bool((x < 0).all())
        return y + x * x

    value = by_case(x >= 0, root, square, (x, y), ((1.0, 1.0), (-1.0, 1.0)))
    assert value.tolist() == [[2.0, 2.0, 3.0, 17.0], [3.0, 4.0, 6.0, 18.0]]
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.tolist() == [-4.0, 0.75, 0.5, -16.0]


def test_by_case_inside_vmap_keeps_gradients_finite() -> None:
    def whole(x: Tensor) -> Tensor:
        return by_case(x >= 0, torch.sqrt, torch.exp, (x,), ((1.0,), (0.0,)))

    x = torch.tensor([-1.0, 4.0, -math.inf])
    assert torch.vmap(whole)(x).tolist() == [pytest.approx(math.exp(-1)), 2.0, 0.0]
    slopes = torch.vmap(torch.func.grad(whole))(x)
    assert slopes.tolist() == [pytest.approx(math.exp(-1)), 0.25, 0.0]
