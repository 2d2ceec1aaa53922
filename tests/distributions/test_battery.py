"""What every closed form inherits: its value by mpmath, broadcasting, gradients, transforms.

The rows come from `distribution_cases`; a form that is registered and has no row fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

import kullback
from distribution_cases import DistributionCase, all_cases, tensors
from kullback.distributions.dispatch import CLOSED_FORMS, find_closed_form

CASES = all_cases()
DIFFERENTIABLE = [case for case in CASES if case.differentiable]


def divergence(case: DistributionCase, p: Distribution, q: Distribution) -> Tensor:
    answers: dict[str, Any] = {
        "entropy": lambda: kullback.entropy(p),
        "js": lambda: kullback.js_divergence(p, q),
        "kl": lambda: kullback.kl_divergence(p, q),
        "renyi": lambda: kullback.renyi_divergence(p, q, alpha=case.alpha),
        "total_variation": lambda: kullback.total_variation(p, q),
        "wasserstein": lambda: kullback.wasserstein_distance(p, q, order=2.0),
    }
    return answers[case.divergence]()


def evaluate(case: DistributionCase, p: list[Tensor], q: list[Tensor]) -> Tensor:
    return divergence(case, case.make_p(*p), case.make_q(*q))


@contextmanager
def unchecked() -> Iterator[None]:
    """torch's own checks of arguments look at values, which nothing can do inside vmap."""
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(True)


def name_of(case: DistributionCase) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_value(case: DistributionCase) -> None:
    expected = float(case.truth(case.p, case.q))
    value = evaluate(case, tensors(case.p), tensors(case.q))
    assert value.dtype == torch.float64
    torch.testing.assert_close(value.item(), expected, rtol=case.rtol, atol=1e-300)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_float32_is_rounded_once(case: DistributionCase) -> None:
    """The parameters are exact in float32, and the rest is computed wide: a few roundings."""
    exact = evaluate(case, tensors(case.p), tensors(case.q)).item()
    narrow = evaluate(case, *(tensors(side, torch.float32) for side in (case.p, case.q)))
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(exact, rel=max(2e-6, case.rtol))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_batches_broadcast(case: DistributionCase) -> None:
    value = evaluate(case, tensors(case.p), tensors(case.q))
    p = [x.expand(3, 1, *x.shape) for x in tensors(case.p)]
    q = [x.expand(2, *x.shape) for x in tensors(case.q)]
    batched = evaluate(case, p, q)
    assert batched.shape == ((3, 1) if case.divergence == "entropy" else (3, 2))
    torch.testing.assert_close(batched, value.expand_as(batched), rtol=1e-13, atol=0)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=name_of)
def test_gradients(case: DistributionCase) -> None:
    """Against central differences, in every parameter of both sides."""
    sides = [[x.requires_grad_() for x in tensors(side)] for side in (case.p, case.q)]
    split = len(sides[0])
    inputs = sides[0] if case.divergence == "entropy" else sides[0] + sides[1]

    def function(*parameters: Tensor) -> Tensor:
        q = list(parameters[split:]) or sides[1]
        return evaluate(case, list(parameters[:split]), q)

    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_vmap(case: DistributionCase) -> None:
    value = evaluate(case, tensors(case.p), tensors(case.q))
    split = len(case.p)
    stacked = [torch.stack([x, x]) for side in (case.p, case.q) for x in tensors(side)]

    def function(*parameters: Tensor) -> Tensor:
        return evaluate(case, list(parameters[:split]), list(parameters[split:]))

    with unchecked():
        mapped = torch.vmap(function)(*stacked)
    torch.testing.assert_close(mapped, value.expand(2), rtol=1e-13, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_compiled(case: DistributionCase) -> None:
    """A few roundings apart: the compiler's logarithms and sums are its own.

    KL within a family goes down to machine code; the others, made of the same functions, are
    traced and run as traced.
    """
    torch._dynamo.reset()
    within = case.divergence == "kl" and case.make_p is case.make_q
    backend = "inductor" if within else "aot_eager"
    value = evaluate(case, tensors(case.p), tensors(case.q))
    split = len(case.p)

    def function(*parameters: Tensor) -> Tensor:
        return evaluate(case, list(parameters[:split]), list(parameters[split:]))

    compiled = torch.compile(function, backend=backend)(*tensors(case.p), *tensors(case.q))
    torch.testing.assert_close(compiled, value, rtol=1e-9, atol=0)


def test_every_form_has_a_row() -> None:
    answered = set()
    for case in CASES:
        p, q = (type(make(*tensors(numbers))) for make, numbers in case.sides())
        form = find_closed_form(case.divergence, p, None if case.divergence == "entropy" else q)
        if form is not None:
            answered.add((form.divergence, form.p, form.q))
    missing = [key for key in CLOSED_FORMS if key not in answered]
    assert missing == [], "these closed forms have no row in distribution_cases"
