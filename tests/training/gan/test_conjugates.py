"""The conjugates of the records against sup over u of u·t − f(u), found numerically."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from kullback.divergences import (
    CHI_SQUARED,
    DIVERGENCES,
    GAN,
    JEFFREYS,
    KL,
    REVERSE_KL,
    SQUARED_HELLINGER,
    TOTAL_VARIATION,
    Conjugate,
    Divergence,
    alpha,
    jensen_shannon,
)
from kullback.numerics import make_pair

RECORDS: dict[str, Divergence] = {
    "kl": KL,
    "reverse_kl": REVERSE_KL,
    "chi_squared": CHI_SQUARED,
    "squared_hellinger": SQUARED_HELLINGER,
    "total_variation": TOTAL_VARIATION,
    "js": jensen_shannon(),
    "js 0.2": jensen_shannon(0.2),
    "gan": GAN,
    "alpha -1": alpha(-1.0),
    "alpha 0.3": alpha(0.3),
    "alpha 0.5": alpha(0.5),
    "alpha 0.9": alpha(0.9),
    "alpha 1.5": alpha(1.5),
    "alpha 2": alpha(2.0),
    "alpha 3": alpha(3.0),
}
EVERY = pytest.mark.parametrize("name", RECORDS)


def conjugate(name: str) -> Conjugate:
    found = RECORDS[name].conjugate
    assert found is not None
    return found


def t_of(dual: Conjugate, v: Tensor) -> Tensor:
    """T, the critic's last layer."""
    return dual.activation(v) + dual.offset


def f_star_of(dual: Conjugate, v: Tensor) -> Tensor:
    """f*(T), as it is stated of scores."""
    return dual.of_score(v) + dual.offset


def supremum(generator: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """sup of u·t − f(u) over e⁻³⁰ ≤ u ≤ e³⁰, by golden section in log u, where it has one top."""
    golden = (math.sqrt(5) - 1) / 2
    low, high = torch.full_like(t, -30.0), torch.full_like(t, 30.0)

    def height(x: Tensor) -> Tensor:
        return x.exp() * t - generator(x.exp())

    for _ in range(120):
        a, b = high - golden * (high - low), low + golden * (high - low)
        left = height(a) > height(b)
        low, high = torch.where(left, low, a), torch.where(left, b, high)
    return height(0.5 * (low + high))


def slopes(record: Divergence) -> Tensor:
    """f′(u), where the supremum is at u, for u between e⁻⁴ and e⁴."""
    u = torch.linspace(-4, 4, 33, dtype=torch.float64).exp().requires_grad_()
    (slope,) = torch.autograd.grad(record.generator(u).sum(), u)
    return slope


def test_every_record_that_the_f_gan_names_has_one() -> None:
    without = {name for name, record in DIVERGENCES.items() if record.conjugate is None}
    assert without == {"jeffreys"}
    assert JEFFREYS.conjugate is None


class TestTheValue:
    @EVERY
    def test_is_the_supremum(self, name: str) -> None:
        """At slopes of f, below all of them (where u = 0 is best), and at the threshold."""
        record, dual = RECORDS[name], conjugate(name)
        t = torch.cat([slopes(record), torch.linspace(-9, 9, 37, dtype=torch.float64)])
        # Nearer to the end the best u is beyond e³⁰, or u·t and f(u) cancel.
        t = t[t < dual.end - 1e-3]
        t = t[t < 20] if name == "kl" else t
        assert len(t) > 25
        # 120 golden sections find u to e^(−25); the rest is f's cancellation at large u.
        torch.testing.assert_close(
            dual.value(t), supremum(record.generator, t), rtol=1e-9, atol=1e-8
        )

    @EVERY
    def test_is_infinite_beyond_its_end(self, name: str) -> None:
        record, dual = RECORDS[name], conjugate(name)
        if dual.end == math.inf:
            assert bool(dual.value(torch.tensor([50.0], dtype=torch.float64)).isfinite())
            return
        t = dual.end + torch.tensor([1e-3, 0.1, 3.0], dtype=torch.float64)
        assert dual.value(t).tolist() == [math.inf] * 3
        # The numerical one grows without end too, as far as u may go.
        assert bool((supremum(record.generator, t) > 1e8).all())

    @pytest.mark.parametrize(
        ("name", "value"),
        [("total_variation", 0.5), ("alpha -1", 0.5), ("reverse_kl", math.inf), ("gan", math.inf)],
    )
    def test_at_its_end(self, name: str, value: float) -> None:
        """lim of −f(u) + u·end: ½ for total variation, −f(∞) = 1/(α(α − 1)) for α = −1."""
        dual = conjugate(name)
        assert float(dual.value(torch.tensor(dual.end, dtype=torch.float64))) == value

    @pytest.mark.parametrize("weight", [0.5, 0.2, 0.3, 0.77, 0.9])
    def test_of_js_keeps_its_digits_up_to_its_end(self, weight: float) -> None:
        """−log(1 − w e^(t/w)) in float32: the last t below the end, and a few before it."""
        dual = jensen_shannon(weight).conjugate
        assert dual is not None
        end = torch.tensor(dual.end)
        steps = [end]
        for _ in range(5):
            steps.append(torch.nextafter(steps[-1], torch.zeros(())))
        t = torch.stack(steps[1:])
        # Of the end as float32 has it: the distance to that is what t still says.
        truth = [
            (1 - weight) * float(mpmath.log(1 - weight) - mpmath.log(-mpmath.expm1(x / weight)))
            for x in (t.double() - end.double()).tolist()
        ]
        assert dual.value(t).tolist() == pytest.approx(truth, rel=1e-6)

    @EVERY
    def test_maps_the_threshold_to_itself(self, name: str) -> None:
        """f*(f′(1)) = f′(1) − f(1): a critic that tells nothing apart bounds nothing."""
        dual = conjugate(name)
        assert float(dual.value(torch.tensor(dual.slope_at_one, dtype=torch.float64))) == (
            pytest.approx(dual.slope_at_one, abs=1e-15)
        )

    @EVERY
    def test_threshold_is_the_generator_s_slope_at_one(self, name: str) -> None:
        u = torch.ones((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(RECORDS[name].generator(u), u)
        assert conjugate(name).slope_at_one == pytest.approx(float(slope), abs=1e-15)

    # Total variation's f is straight on both sides of 1: f′ has no inverse.
    @pytest.mark.parametrize("name", sorted(RECORDS.keys() - {"total_variation"}))
    def test_slope_is_the_ratio_that_it_was_found_at(self, name: str) -> None:
        """f*′(f′(u)) = u, also by autograd: it is what a generator's draws are weighted with."""
        record, dual = RECORDS[name], conjugate(name)
        t = slopes(record).requires_grad_()
        (ratio,) = torch.autograd.grad(dual.value(t).sum(), t)
        expected = torch.linspace(-4, 4, 33, dtype=torch.float64).exp()
        # t near the end of its domain keeps few digits of u: JS at u = e⁴ has lost three.
        torch.testing.assert_close(ratio, expected, rtol=1e-11, atol=0.0)


# g and f* as the paper prints them (table 2; α in its supplement), for its scale: its f is ours
# times the factor, and for α ours minus f′(1)(u − 1). For α < 1 g is ours, of which v = log p/q.
PAPER: dict[str, tuple[float, float, Callable[..., object], Callable[..., object]]] = {
    "kl": (1, 0, lambda v: v, lambda t: mpmath.exp(t - 1)),
    "reverse_kl": (1, 0, lambda v: -mpmath.exp(-v), lambda t: -1 - mpmath.log(-t)),
    "squared_hellinger": (2, 0, lambda v: 1 - mpmath.exp(-v), lambda t: t / (1 - t)),
    "js": (
        2,
        0,
        lambda v: mpmath.log(2) - mpmath.log(1 + mpmath.exp(-v)),
        lambda t: -mpmath.log(2 - mpmath.exp(t)),
    ),
    "gan": (
        1,
        0,
        lambda v: -mpmath.log(1 + mpmath.exp(-v)),
        lambda t: -mpmath.log(1 - mpmath.exp(t)) - 2 * mpmath.log(2),
    ),
    "alpha 0.3": (
        1,
        1 / (mpmath.mpf(0.3) - 1),
        lambda v: (1 - mpmath.exp((mpmath.mpf(0.3) - 1) * v)) / (1 - mpmath.mpf(0.3)),
        lambda t: (
            ((t * (mpmath.mpf(0.3) - 1) + 1) ** (mpmath.mpf(0.3) / (mpmath.mpf(0.3) - 1)) - 1)
            / mpmath.mpf(0.3)
        ),
    ),
    "alpha 3": (1, mpmath.mpf(1) / 2, lambda v: v, lambda t: ((2 * t + 1) ** 1.5 - 1) / 3),
}


class TestScores:
    @pytest.mark.parametrize("name", PAPER)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_are_the_paper_s_and_keep_their_digits(self, name: str, dtype: torch.dtype) -> None:
        """Up to |v| = 50, where T itself has rounded to the end of its domain long before."""
        factor, shift, g, f_star = PAPER[name]
        dual = conjugate(name)
        scores = [-50.0, -20.0, -3.0, -0.1, 0.0, 0.7, 5.0, 20.0, 50.0]
        if name == "alpha 3":
            scores = [v for v in scores if v > -0.5]
        v = torch.tensor(scores, dtype=dtype)
        # A score that is exact in the dtype enters the truth as it is.
        with mpmath.workdps(60):
            exact = [mpmath.mpf(x) for x in v.double().tolist()]
            paper = [g(x) for x in exact]
            t = [float(x / factor + shift) for x in paper]
            of_t = [float(f_star(x) / factor + shift) for x in paper]
        # A few roundings; e^50 carries 50 of its argument's, and sums of logs their size.
        rounding = torch.finfo(dtype).eps
        assert t_of(dual, v).tolist() == pytest.approx(t, rel=60 * rounding, abs=4 * rounding)
        assert f_star_of(dual, v).tolist() == pytest.approx(
            of_t, rel=60 * rounding, abs=4 * rounding
        )

    @EVERY
    def test_of_score_is_f_star_of_the_activation(self, name: str) -> None:
        dual = conjugate(name)
        v = torch.linspace(-8, 8, 65, dtype=torch.float64)
        # At v = 8, e^(−8) of T's digits are left to f*: 16 − 4.
        torch.testing.assert_close(
            f_star_of(dual, v), dual.value(t_of(dual, v)), rtol=1e-11, atol=1e-11
        )

    @pytest.mark.parametrize("distance", [1e-12, -1e-12, 1e-7, -1e-7, 1e-5, -1e-5, 1e-3, -1e-3])
    @pytest.mark.parametrize("limit", [0.0, 1.0])
    def test_of_alpha_near_its_limits_keep_their_digits(
        self, limit: float, distance: float
    ) -> None:
        """T and f* in float32 less what they have in common, against the formulas in 60 digits."""
        order = limit + distance
        dual = alpha(order).conjugate
        assert dual is not None
        v = torch.tensor([-3.0, -1e-3, 0.0, 0.7, 5.0])
        with mpmath.workdps(60):
            a, exact = mpmath.mpf(order), [mpmath.mpf(x) for x in v.double().tolist()]
            if order > 1:
                t = exact
                f_star = [((1 + (a - 1) * x) ** (a / (a - 1)) - 1) / a for x in exact]
            else:
                t = [mpmath.expm1((a - 1) * x) / (a - 1) for x in exact]
                f_star = [mpmath.expm1(a * x) / a for x in exact]
            assert dual.offset == pytest.approx(float(1 / (a - 1)))
        assert dual.activation(v).tolist() == pytest.approx([float(x) for x in t], rel=1e-6)
        assert dual.of_score(v).tolist() == pytest.approx([float(x) for x in f_star], rel=1e-6)

    @EVERY
    def test_activation_rises_and_covers_the_slopes_of_f(self, name: str) -> None:
        """So that the best T, f′(p/q), is within a critic's reach."""
        dual = conjugate(name)
        v = torch.linspace(-60, 60, 2401, dtype=torch.float64)
        t = t_of(dual, v)
        # tanh and e^(−v) reach their ends in float64 at v ≈ 20 and 37.
        assert bool((t.diff()[900:1500] > 0).all())
        assert bool((t.diff() >= 0).all())
        assert bool((t <= dual.end).all())
        ends = t_of(dual, torch.tensor([-2000.0, 2000.0], dtype=torch.float64))
        wanted = slopes(RECORDS[name])
        assert float(ends[0]) <= float(wanted.min())
        assert float(ends[1]) >= float(wanted.max())

    @EVERY
    def test_float32_is_finite_with_finite_gradients_at_fifty(self, name: str) -> None:
        dual = conjugate(name)
        v = torch.tensor([-50.0, -20.0, 20.0, 50.0], requires_grad=True)
        for function in (dual.activation, dual.of_score):
            value = function(v)
            (slope,) = torch.autograd.grad(value.sum(), v)
            if name == "alpha -1" and function is dual.activation:
                # The limit is infinite, and e^(2·50) more than float32 holds.
                value, slope = value[1:], slope[1:]
            assert bool(value.isfinite().all())
            assert bool(slope.isfinite().all())
            assert bool((slope >= 0).all())

    @pytest.mark.parametrize("name", ["reverse_kl", "js", "gan", "alpha -1", "alpha 0.3"])
    def test_float32_gradient_lives_on_where_t_is_at_its_end(self, name: str) -> None:
        """At v = 50 the slope of f*(g(v)) is that of its asymptote, not 0 and not NaN."""
        expected = {
            "reverse_kl": 1.0,
            "js": 0.5,
            "gan": 1.0,
            "alpha -1": math.exp(-50),
            "alpha 0.3": math.exp(0.3 * 50),
        }
        v = torch.tensor(50.0, requires_grad=True)
        (slope,) = torch.autograd.grad(conjugate(name).of_score(v), v)
        assert float(slope) == pytest.approx(expected[name], rel=1e-5)

    @EVERY
    def test_gradients_against_finite_differences(self, name: str) -> None:
        dual = conjugate(name)
        v = torch.tensor([-2.3, -0.4, 0.0, 0.9, 3.1], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(dual.activation, (v,))
        assert torch.autograd.gradcheck(dual.of_score, (v,))


class TestTheRecordOfTheGan:
    def test_is_twice_js_by_terms_by_generator_and_by_name(self) -> None:
        p = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
        q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
        m = 0.5 * (p + q)
        truth = float((p * (p / m).log()).sum() + (q * (q / m).log()).sum())
        assert float(GAN.terms(make_pair(p, q, "probs", "probs")).sum()) == pytest.approx(truth)
        assert float((q * GAN.generator(p / q)).sum()) == pytest.approx(truth)
        assert float(GAN.generator(torch.ones(()))) == pytest.approx(0.0, abs=1e-7)

    def test_log_slopes_against_autograd(self) -> None:
        log_p = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        log_q = torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        log_p, log_q = log_p.requires_grad_(), log_q.requires_grad_()
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        value = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
        expected = torch.autograd.grad(value.sum(), (log_p, log_q))
        pair = make_pair(log_p.detach(), log_q.detach(), "log_probs", "log_probs")
        for found, truth in zip(GAN.log_slopes(pair), expected, strict=True):
            torch.testing.assert_close(found, truth)

    def test_reaches_its_upper_end_on_disjoint_supports(self) -> None:
        pair = make_pair(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), "probs", "probs")
        assert float(GAN.terms(pair).sum()) == pytest.approx(GAN.upper)
