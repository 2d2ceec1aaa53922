"""The positive half-line beyond single values: near equality, at extremes, where E Xᵐ diverges."""

from __future__ import annotations

import itertools
import math

import mpmath as mp
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import (
    Chi2,
    Distribution,
    Exponential,
    FisherSnedecor,
    Gamma,
    GeneralizedPareto,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    LogNormal,
    Pareto,
    Weibull,
)

import kullback
from half_line_truth import ARITY, Numbers, make, relative_error, true_kl

INF = math.inf


def kl(p: Distribution, q: Distribution) -> float:
    return kullback.kl_divergence(p, q).item()


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("kind", ARITY)
@pytest.mark.parametrize("size", [1e-3, 1.0, 7.5, 1e3, 1e7])
def test_near_equality(kind: type[Distribution], size: float, distance: float) -> None:
    """Each sum is of parts ≥ 0 of a few roundings each, however near the parameters are."""
    p = (size,) * ARITY[kind]
    for signs in itertools.product((-0.7, 0.3, 1.0), repeat=ARITY[kind]):
        q = tuple(x * (1 + sign * distance) for x, sign in zip(p, signs, strict=True))
        truth = true_kl(kind, p, kind, q)
        # A Weibull of concentration 1e7 is so narrow that 1e-2 is beyond all floats.
        if truth < 1e300:
            assert relative_error(kl(make(kind, p), make(kind, q)), truth) < 1e-12


@pytest.mark.parametrize("kind", ARITY)
def test_near_equality_in_float32(kind: type[Distribution]) -> None:
    """From neighbouring numbers on, at values down to 1e-15; float32 keeps seven digits."""
    for size, steps in itertools.product((0.3, 1.7, 40.0, 3e4), (1, 3, 100, 10_000)):
        p = torch.full((ARITY[kind],), size)
        q = (p.double() + steps * (torch.nextafter(p, torch.tensor(INF)) - p).double()).float()
        value = kl(kind(*p), kind(*q))
        truth = true_kl(kind, tuple(p.tolist()), kind, tuple(q.tolist()))
        assert relative_error(value, truth) < 1e-6


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize(
    "kinds", [(Gamma, Weibull), (Weibull, Gamma), (Exponential, Weibull), (Weibull, Exponential)]
)
def test_families_that_share_the_exponential(
    kinds: tuple[type[Distribution], type[Distribution]], distance: float
) -> None:
    """Near it both the shapes' deviations matter, and the parts nearly cancel along one line.

    The scale enters as log s − log t, which is known to 1e-16 where it is of the size of the
    distance: hence the tolerance.
    """
    for signs in itertools.product((-0.8, -0.3, 0.5, 1.0), repeat=2):
        near_one = [1 + sign * distance for sign in signs]
        numbers = {Gamma: (near_one[0], 2.0), Weibull: (0.5, near_one[1]), Exponential: (2.0,)}
        p, q = kinds
        value = kl(make(p, numbers[p]), make(q, numbers[q]))
        truth = true_kl(p, numbers[p], q, numbers[q])
        assert value > 0
        assert relative_error(value, truth) < 1e-14 / distance


def test_large_shapes() -> None:
    """In float32 torch's own answers 510 for the first; the others lose their digits as written."""
    p, q = (1e7, 1.0), (1.01e7, 1.0)
    value = kl(make(Gamma, p, torch.float32), make(Gamma, q, torch.float32))
    assert value == pytest.approx(498.34, abs=0.005)
    for p, q in [((1e7, 1e7), (1.01e7, 1.01e7)), ((1e12, 3.0), (1.0001e12, 3.0003))]:
        assert (
            relative_error(kl(make(Gamma, p), make(Gamma, q)), true_kl(Gamma, p, Gamma, q)) < 1e-9
        )
    # Both are nearly LogNormal, with which they share the two first moments of log X.
    p, q = (1e9, 1e9), (1e9, 1e9)
    value = kl(make(Gamma, p), make(InverseGamma, q))
    # One part is the square of a distance of 1e-9 between logarithms of 40.
    assert relative_error(value, true_kl(Gamma, p, InverseGamma, q)) < 2e-5


def test_log_normal_against_large_shapes() -> None:
    """KL(LogNormal‖Gamma) is binet(b) ≈ 1/(12b) and a little when two moments agree."""
    b = 1e10
    p = make(LogNormal, (-0.5 / b, b**-0.5))
    q = make(Gamma, (b, b))
    assert kl(p, q) == pytest.approx(1 / (12 * b), rel=1e-6)
    assert kl(q, p) == pytest.approx(1 / (12 * b), rel=1e-6)


ALL: dict[type[Distribution], Numbers] = {
    Gamma: (2.5, 0.75),
    Exponential: (1.5,),
    InverseGamma: (0.7, 2.0),
    Weibull: (1.25, 0.3),
    HalfNormal: (1.25,),
    LogNormal: (0.3, 0.5),
    HalfCauchy: (0.9,),
    Pareto: (1.1, 1.7),
    FisherSnedecor: (3.3, 4.7),
    GeneralizedPareto: (0.1, 1.3, 0.7),
    Chi2: (3.3,),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ALL)
def test_zero_for_equal_parameters(kind: type[Distribution], dtype: torch.dtype) -> None:
    assert kl(make(kind, ALL[kind], dtype), make(kind, ALL[kind], dtype)) == 0


@pytest.mark.parametrize("rate", [3.0, 0.1])
def test_zero_across_families(rate: float) -> None:
    x = torch.tensor(rate, dtype=torch.float64)
    one, two = torch.ones_like(x), 2 * torch.ones_like(x)
    assert kl(Exponential(x), Gamma(one, x)) == kl(Gamma(one, x), Exponential(x)) == 0
    assert kl(Chi2(two), Exponential(0.5 * one)) == 0
    assert kl(Chi2(2 * x), Gamma(x, 0.5 * one)) == 0
    assert kl(Exponential(one / 4), Weibull(4 * one, one)) == 0
    assert kl(GeneralizedPareto(0 * x, 4 * one, 0 * x), Exponential(one / 4)) == 0


DIVERGENT: list[tuple[Distribution, Distribution]] = [
    (Gamma(1.0, 2.0), InverseGamma(3.0, 1.0)),
    (Gamma(0.5, 2.0), InverseGamma(3.0, 1.0)),
    (Weibull(1.0, 1.0), InverseGamma(3.0, 1.0)),
    (HalfNormal(1.0), InverseGamma(3.0, 1.0)),
    (InverseGamma(1.0, 1.0), Gamma(3.0, 1.0)),
    (InverseGamma(1.0, 1.0), Exponential(1.0)),
    (InverseGamma(2.0, 1.0), HalfNormal(1.0)),
    (InverseGamma(2.0, 1.0), Weibull(1.0, 2.5)),
    (Pareto(1.0, 1.0), Exponential(1.0)),
    (Pareto(1.0, 2.0), HalfNormal(1.0)),
    (Pareto(1.0, 2.0), Weibull(1.0, 2.0)),
    (Pareto(0.5, 2.0), Pareto(1.0, 2.0)),
    (HalfCauchy(1.0), Gamma(1.0, 2.0)),
    (HalfCauchy(1.0), Weibull(1.0, 1.0)),
    (HalfCauchy(1.0), InverseGamma(1.0, 2.0)),
    (FisherSnedecor(3.0, 4.0), HalfNormal(1.0)),
    (GeneralizedPareto(0.0, 1.0, 1.0), Exponential(1.0)),
    (GeneralizedPareto(-1.0, 1.0, 0.25), Exponential(1.0)),
]


@pytest.mark.parametrize(("p", "q"), DIVERGENT, ids=lambda d: type(d).__name__)
def test_infinite_where_the_moment_is(p: Distribution, q: Distribution) -> None:
    assert kl(p, q) == INF


FINITE_BESIDE: list[tuple[Distribution, Distribution]] = [
    (Gamma(1.0625, 2.0), InverseGamma(3.0, 1.0)),
    (Weibull(1.0, 1.0625), InverseGamma(3.0, 1.0)),
    (InverseGamma(1.0625, 1.0), Gamma(3.0, 1.0)),
    (InverseGamma(2.0625, 1.0), HalfNormal(1.0)),
    (InverseGamma(1.0, 1.0), Weibull(1.0, 0.9375)),
    (Pareto(1.0, 1.0625), Exponential(1.0)),
    (Pareto(1.0, 0.0625), InverseGamma(1.0, 1.0)),
    (HalfCauchy(1.0), Weibull(1.0, 0.9375)),
    (HalfCauchy(1.0), LogNormal(0.0, 1.0)),
    (LogNormal(0.0, 3.0), Gamma(1.0, 1.0)),
    (LogNormal(0.0, 3.0), Weibull(1.0, 3.0)),
    (FisherSnedecor(3.0, 4.0625), HalfNormal(1.0)),
    (GeneralizedPareto(0.0, 1.0, 0.9375), Exponential(1.0)),
]


@pytest.mark.parametrize(("p", "q"), FINITE_BESIDE, ids=lambda d: type(d).__name__)
def test_finite_just_inside(p: Distribution, q: Distribution) -> None:
    assert 0 < kl(p, q) < INF


def test_infinite_elements_leave_the_others_their_gradients() -> None:
    shape = torch.tensor([0.5, 1.0, 1.5], requires_grad=True)
    rate = torch.tensor(2.0, requires_grad=True)
    value = kullback.kl_divergence(Gamma(shape, rate), InverseGamma(3.0, 1.0))
    assert value.isinf().tolist() == [True, True, False]
    gradients = torch.autograd.grad(value[2], [shape, rate])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0][:2].tolist() == [0, 0]


@pytest.mark.parametrize("kind", [*ARITY, LogNormal, HalfCauchy, Pareto])
def test_the_gradient_vanishes_at_equality(kind: type[Distribution]) -> None:
    numbers = ALL[kind]
    p = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers]
    q = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers]
    value = kullback.kl_divergence(kind(*p), kind(*q))
    gradients = torch.autograd.grad(value, [*p, *q])
    # Pareto's scale is the end of the support: KL grows as it moves up, at the rate alpha/scale.
    ends = (1.7 / 1.1, -1.7 / 1.1) if kind is Pareto else (0.0, 0.0)
    assert gradients[0].item() == pytest.approx(ends[0], abs=1e-12)
    assert gradients[len(p)].item() == pytest.approx(ends[1], abs=1e-12)
    assert gradients[-1].item() == pytest.approx(ends[1] if len(p) == 1 else 0.0, abs=1e-12)


PAIRS = list(itertools.product(ARITY, ARITY))
wide_range = st.floats(-4, 4).map(lambda x: 10.0**x)


@settings(max_examples=150, deadline=None)
# Where E 1/X is about to be infinite.
@example(pair=(Weibull, InverseGamma), numbers=(1.0, 1.000000137244776, 1.0, 1.0))
@given(pair=st.sampled_from(PAIRS), numbers=st.tuples(*[wide_range] * 4))
def test_any_two_powers_of_gammas(
    pair: tuple[type[Distribution], type[Distribution]], numbers: tuple[float, ...]
) -> None:
    p, q = numbers[: ARITY[pair[0]]], numbers[2 : 2 + ARITY[pair[1]]]
    truth = true_kl(pair[0], p, pair[1], q)
    value = kl(make(pair[0], p), make(pair[1], q))
    assert value >= 0
    # Beyond 1e150 the exponent itself has lost those digits; beyond 1e308 there are no floats.
    if truth == mp.inf or truth > 1e300:
        assert value > 1e299
    elif truth < 1e-25:
        assert value < 1e-24
    elif truth < 1e150:
        assert relative_error(value, truth) < 1e-10


def test_batches_broadcast_in_both_directions() -> None:
    """torch's own Pareto‖Exponential raises an IndexError here."""
    rates = torch.tensor([0.5, 1.0, 2.0])
    value = kullback.kl_divergence(Pareto(torch.tensor([1.0]), 3.0), Exponential(rates))
    assert value.shape == (3,)
    covered = kullback.kl_divergence(Pareto(rates, 3.0), Pareto(torch.tensor([1.0]), 3.0))
    assert covered.isinf().tolist() == [True, False, False]


UNKNOWN: list[tuple[Distribution, Distribution]] = [
    (FisherSnedecor(2.0, 3.0), FisherSnedecor(3.0, 3.0)),
    (GeneralizedPareto(0.0, 1.0, 0.5), GeneralizedPareto(0.0, 2.0, 0.5)),
    (Exponential(1.0), GeneralizedPareto(0.0, 1.0, 0.5)),
]


@pytest.mark.parametrize(("p", "q"), UNKNOWN)
def test_declined(p: Distribution, q: Distribution) -> None:
    """What has no elementary answer gets none."""
    with pytest.raises(kullback.errors.NoClosedForm, match="known for"):
        kullback.kl_divergence(p, q)


def test_entropy_of_large_shapes() -> None:
    """½ log(2πe·variance), and less by 1/(3a) or so; as written, 3e16 less 3e16."""
    expected = 0.5 * math.log(2 * math.pi * math.e * 1e15)
    value = kullback.entropy(make(Gamma, (1e15, 1.0))).item()
    assert value == pytest.approx(expected, rel=1e-14)


def test_batches_that_mix_all_cases() -> None:
    """Near, far, small and large in one batch, each as if it were alone."""
    shapes = torch.tensor([0.1, 0.11, 1.0, 7.9, 8.1, 9.0, 30.0, 1e6], dtype=torch.float64)
    p, q = Gamma(shapes[:, None], 2.0), Gamma(shapes, 3.0)
    value = kullback.kl_divergence(p, q)
    for i, j in itertools.product(range(len(shapes)), repeat=2):
        truth = true_kl(Gamma, (shapes[i].item(), 2.0), Gamma, (shapes[j].item(), 3.0))
        assert relative_error(value[i, j].item(), truth) < 1e-12
    mapped: Tensor = torch.vmap(
        lambda a: kullback.kl_divergence(
            Gamma(a, 2.0, validate_args=False), Gamma(shapes, 3.0, validate_args=False)
        )
    )(shapes)
    torch.testing.assert_close(mapped, value, rtol=1e-13, atol=0)
