"""The loops give what the formulas give: value, gradient, second gradient, at any magnitude."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Dirichlet,
    Exponential,
    Gamma,
    Geometric,
    Laplace,
    Poisson,
)

import kullback
from kullback.numerics import fused as fused_module
from kullback.numerics.log_beta import log_beta_bregman
from kullback.numerics.remainders import shape_divergence
from kullback.numerics.special import generalized_kl, itakura_saito

SIZE = 2048
# Relative distances of the two sides, from equal to far.
DISTANCES = (0.0, 1e-14, 1e-8, 1e-3, 0.3, 3.0)
Formula = Callable[..., Tensor]


def positive(distance: float, seed: int, low: float = 1e-3, high: float = 1e3) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = low * (high / low) ** torch.rand(SIZE, generator=g, dtype=torch.float64)
    return [x, x * (distance * torch.randn(SIZE, generator=g, dtype=torch.float64)).exp()]


def chances(distance: float, seed: int) -> list[Tensor]:
    return [x / (1 + x) for x in positive(distance, seed)]


def log_odds(distance: float, seed: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    a = 5 * torch.randn(SIZE, generator=g, dtype=torch.float64)
    return [a, a + distance * torch.randn(SIZE, generator=g, dtype=torch.float64)]


def located(distance: float, seed: int) -> list[Tensor]:
    (b, c), (a, d) = positive(distance, seed), log_odds(distance, seed + 1)
    return [a, b, d, c]


def of(family: Callable[..., torch.distributions.Distribution], count: int) -> Formula:
    return lambda *x: kullback.kl_divergence(
        family(*x[:count], validate_args=False), family(*x[count:], validate_args=False)
    )


def with_logits(logits: Tensor, validate_args: bool) -> Bernoulli:
    return Bernoulli(logits=logits, validate_args=validate_args)


def two_positive(distance: float, seed: int) -> list[Tensor]:
    (a, b), (beta, gamma) = positive(distance, seed), positive(distance, seed + 1)
    return [a, beta, b, gamma]


def rows(distance: float, seed: int) -> list[Tensor]:
    return [x.reshape(-1, 4) for x in positive(distance, seed)]


CASES: dict[str, tuple[Formula, Callable[[float, int], Sequence[Tensor]]]] = {
    "itakura_saito": (itakura_saito, positive),
    "generalized_kl": (generalized_kl, positive),
    "shape_divergence": (lambda y, x: shape_divergence(y, x, y - x), positive),
    "log_beta_bregman": (log_beta_bregman, rows),
    "Exponential": (of(Exponential, 1), positive),
    "Poisson": (of(Poisson, 1), positive),
    "Laplace": (of(Laplace, 2), located),
    "Bernoulli of probs": (of(Bernoulli, 1), chances),
    "Bernoulli of logits": (of(with_logits, 1), log_odds),
    "Geometric": (of(Geometric, 1), chances),
    "Gamma": (of(Gamma, 2), two_positive),
    "Beta": (of(Beta, 2), two_positive),
    "Dirichlet": (of(Dirichlet, 1), rows),
}


def plainly(
    monkeypatch: pytest.MonkeyPatch, formula: Callable[[], Sequence[Tensor]]
) -> Sequence[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(fused_module, "_PAYS", math.inf)
        return formula()


def assert_close(found: Tensor, expected: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(found, expected, rtol=relative, atol=absolute, equal_nan=True)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", CASES)
def test_value(name: str, distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, make = CASES[name]
    arguments = make(distance, 0)
    found = formula(*arguments)
    (expected,) = plainly(monkeypatch, lambda: [formula(*arguments)])
    # Shapes apart by a quarter and more are differences of log-gammas, the formulas' as well:
    # concentrations of 1e-3 beside 1e3 leave 2e-11 of the truth to each.
    assert_close(found, expected, 5e-11 if name in ("Beta", "Dirichlet") else 1e-12, 1e-29)
    assert bool((found >= 0).all())
    if distance == 0:
        assert bool((found == 0).all())


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str, distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, make = CASES[name]
    leaves = [x.requires_grad_() for x in make(distance, 1)]

    def gradients() -> Sequence[Tensor]:
        return torch.autograd.grad(formula(*leaves).sum(), leaves)

    for found, expected, leaf in zip(
        gradients(), plainly(monkeypatch, gradients), leaves, strict=True
    ):
        # What is a difference of two logarithms has their rounding, per unit of the argument.
        scale = 1 / leaf.detach().abs().clamp_min(1e-3)
        assert_close(found / scale, expected / scale, 1e-9, 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_second_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, make = CASES[name]
    leaves = [x.requires_grad_() for x in make(0.3, 2)]

    def second() -> Sequence[Tensor]:
        first = torch.autograd.grad(formula(*leaves).sum(), leaves, create_graph=True)
        return torch.autograd.grad(torch.stack([x.sin().sum() for x in first]).sum(), leaves)

    for found, expected in zip(second(), plainly(monkeypatch, second), strict=True):
        assert_close(found, expected, 1e-8, 1e-8)


@pytest.mark.parametrize("name", CASES)
def test_float32_and_one_side_for_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name[0].islower():
        pytest.skip("closed forms, not primitives, say what float32 parameters give")
    formula, make = CASES[name]
    arguments = [x.float() for x in make(0.3, 3)]
    half = len(arguments) // 2
    arguments[half:] = [x[:1] for x in arguments[half:]]
    leaves = [x.requires_grad_() for x in arguments]

    def both() -> Sequence[Tensor]:
        value = formula(*leaves)
        return [value, *torch.autograd.grad(value.sum(), leaves)]

    for found, expected in zip(both(), plainly(monkeypatch, both), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        # One rounding to float32 each; gradients of one side are sums of 2,048 rounded numbers.
        assert_close(found, expected, 1e-4, 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_edges_are_the_formulas(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formula, make = CASES[name]
    arguments = [x.clone() for x in make(0.3, 4)]
    edges = [0.0, math.inf, 1e-200, 1e200, math.nan, 5e-324]
    for place, one in enumerate(edges):
        for other, value in enumerate(edges):
            at = len(edges) * place + other
            arguments[0].view(-1)[at] = one
            arguments[-1].view(-1)[at] = value
    found = formula(*arguments)
    (expected,) = plainly(monkeypatch, lambda: [formula(*arguments)])
    assert_close(found, expected, 5e-11 if name in ("Beta", "Dirichlet") else 1e-12)


def test_loop_serves_only_plain_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    values = fused_module._values
    monkeypatch.setattr(fused_module, "_values", lambda *x: (calls.append(x[0]), values(*x))[1])
    y, x = positive(0.3, 5)
    itakura_saito(y, x)
    assert calls == ["itakura_saito"]
    itakura_saito(y[:100], x[:100])
    torch.vmap(itakura_saito)(y, x)
    torch.func.jvp(itakura_saito, (y, x), (y, x))
    assert calls == ["itakura_saito"]


def test_gradients_of_many_weights_at_once() -> None:
    y, x = (z.requires_grad_() for z in positive(0.3, 6))
    value = itakura_saito(y, x)
    weights = torch.randn(3, SIZE, dtype=torch.float64)
    (batched,) = torch.autograd.grad(value, y, weights, is_grads_batched=True, retain_graph=True)
    for found, weight in zip(batched, weights, strict=True):
        (expected,) = torch.autograd.grad(value, y, weight, retain_graph=True)
        assert_close(found, expected, 1e-14)
