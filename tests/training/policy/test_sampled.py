"""Sampled policy KLs by enumeration: the sum over all actions, each with its probability.

Five actions, so every mean is a sum of five terms in float64, and every gradient is autograd's.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError, SpaceError
from kullback.training.gradient import with_gradient_of
from kullback.training.policy import policy_kl

# Sums of five terms, a few roundings each.
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}
VALUES = ("k1", "k2", "k3")
RATIOS = ("none", "sampled", "constant", "differentiable")


def rand(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


REFERENCE = rand(5, seed=1).log_softmax(-1)
BEHAVIOUR = rand(5, seed=2).softmax(-1)


def leaf() -> Tensor:
    return rand(5, seed=0).requires_grad_()


def kl(log_pi: Tensor) -> Tensor:
    return (log_pi.exp() * (log_pi - REFERENCE)).sum()


def reverse_kl(log_pi: Tensor) -> Tensor:
    return (REFERENCE.exp() * (REFERENCE - log_pi)).sum()


def half_square(log_pi: Tensor) -> Tensor:
    return (log_pi.exp() * 0.5 * (log_pi - REFERENCE) ** 2).sum()


def nothing(log_pi: Tensor) -> Tensor:
    return 0 * log_pi.sum()


# What the mean gradient is the gradient of, for constant and for differentiable ratios.
TARGETS = {
    "exact": (kl, kl),
    "k1": (nothing, kl),
    "k2": (kl, half_square),
    "k3": (reverse_kl, kl),
}


def enumerated(log_pi: Tensor, ratio: str, **options: Any) -> Tensor:
    """Σ over all actions of probability·estimate: drawn from π, or from μ with its ratio."""
    drawn = log_pi.detach().exp()
    if ratio in ("constant", "differentiable"):
        drawn = BEHAVIOUR
        importance = log_pi.exp() / BEHAVIOUR
        options["importance_ratio"] = importance.detach() if ratio == "constant" else importance
    elif ratio == "sampled":
        options["importance_ratio"] = "sampled"
    return (drawn * policy_kl(log_pi, REFERENCE, reduction="none", **options)).sum()


def differentiated(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("gradient", TARGETS)
@pytest.mark.parametrize("value", VALUES)
def test_every_combination_has_the_mean_and_the_mean_gradient_it_says(
    value: str, gradient: str, ratio: str
) -> None:
    logits = leaf()
    found = enumerated(logits.log_softmax(-1), ratio, value=value, gradient=gradient)
    other = leaf()
    log_pi = other.log_softmax(-1)
    expected = half_square(log_pi) if value == "k2" else kl(log_pi)
    target = TARGETS[gradient][ratio == "differentiable" or ratio == "sampled"]
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(
        differentiated(found, logits), differentiated(target(log_pi), other), **CLOSE
    )


def test_the_targets_differ_so_that_one_is_not_taken_for_another() -> None:
    gradients = []
    for target in (kl, reverse_kl, half_square, nothing):
        logits = leaf()
        gradients.append(differentiated(target(logits.log_softmax(-1)), logits))
    for i, one in enumerate(gradients):
        for other in gradients[:i]:
            assert float((one - other).norm()) > 0.05


@pytest.mark.parametrize("ratio", RATIOS)
def test_defaults_are_right_with_every_ratio(ratio: str) -> None:
    logits, other = leaf(), leaf()
    found, expected = enumerated(logits.log_softmax(-1), ratio), kl(other.log_softmax(-1))
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(
        differentiated(found, logits), differentiated(expected, other), **CLOSE
    )


@pytest.mark.parametrize(
    ("gradient", "ratio", "multiple"),
    [
        ("exact", None, lambda r: r),
        ("k1", None, torch.ones_like),
        ("k2", None, lambda r: r),
        ("k3", None, lambda r: -torch.expm1(-r)),
        ("exact", "sampled", lambda r: r),
        ("k1", "sampled", lambda r: 1 + r),
        ("k2", "sampled", lambda r: r + r**2 / 2),
        ("k3", "sampled", lambda r: r),
    ],
)
def test_each_action_has_the_multiple_of_the_score_in_the_table(
    gradient: str, ratio: Any, multiple: Any
) -> None:
    log_pi = leaf().log_softmax(-1).detach().requires_grad_()
    loss = policy_kl(log_pi, REFERENCE, gradient=gradient, importance_ratio=ratio, reduction="sum")  # type: ignore[arg-type]
    expected = multiple(log_pi.detach() - REFERENCE)
    torch.testing.assert_close(differentiated(loss, log_pi), expected, **CLOSE)


def test_the_mean_of_k3_misses_the_mass_that_the_policy_cannot_reach() -> None:
    log_pi = rand(4, seed=0).log_softmax(-1)
    reference = REFERENCE[:4]
    found = (log_pi.exp() * policy_kl(log_pi, reference, value="k3", reduction="none")).sum()
    exact = (log_pi.exp() * (log_pi - reference)).sum()
    torch.testing.assert_close(found, exact - REFERENCE[4].exp(), **CLOSE)


class TestPrecision:
    def test_near_equality_in_float32(self) -> None:
        """e⁻ʳ − 1 + r as it is written has no digit left at r = 1e-4 in float32."""
        reference = REFERENCE.float()
        log_pi = (reference + 1e-4 * rand(5, seed=3).float()).requires_grad_()
        loss = policy_kl(log_pi, reference, value="k3", gradient="k3", reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), log_pi)
        r = log_pi.detach().double() - reference.double()
        # r²/2 − r³/6 + r⁴/24 leaves r⁵, and -expm1 is exact; float32 has a few roundings.
        torch.testing.assert_close(
            loss.detach().double(), r**2 / 2 - r**3 / 6 + r**4 / 24, rtol=1e-6, atol=0
        )
        torch.testing.assert_close(gradient.double(), -torch.expm1(-r), rtol=1e-6, atol=0)
        assert bool((loss > 0).all())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_widened(self, dtype: torch.dtype) -> None:
        log_pi, reference = rand(5, seed=0).log_softmax(-1).to(dtype), REFERENCE.to(dtype)
        found = policy_kl(log_pi, reference, value="k3")
        r = log_pi.double() - reference.double()
        assert found.dtype == torch.float32
        expected = (torch.expm1(-r) + r).mean()
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)

    def test_an_overflow_is_an_error_that_offers_the_way_out(self) -> None:
        log_pi, reference = torch.tensor([-1.0, -120.0]), torch.tensor([-1.0, -1.0])
        with pytest.raises(NonFiniteError, match=r"position 1: -119.*clamp=20"):
            policy_kl(log_pi, reference, value="k3")
        with pytest.raises(NonFiniteError, match=r"clamp=20"):
            policy_kl(log_pi, reference, gradient="k3")
        assert float(policy_kl(log_pi, reference)) == -59.5
        assert math.isfinite(float(policy_kl(log_pi.double(), reference, value="k3")))

    def test_an_overflow_that_is_not_looked_for_stays_out_of_the_value(self) -> None:
        log_pi = torch.tensor([-120.0], requires_grad=True)
        loss = policy_kl(log_pi, torch.tensor([-1.0]), gradient="k3", validate=False)
        assert float(loss.detach()) == -119
        assert differentiated(loss, log_pi).tolist() == [-math.inf]


class TestClamp:
    @pytest.mark.parametrize("r", [-30.0, 30.0])
    @pytest.mark.parametrize("ratio", [None, "sampled"])
    def test_beyond_the_bound_all_is_as_at_the_bound(self, r: float, ratio: Any) -> None:
        reference = torch.tensor([-40.0], dtype=torch.float64)

        def both(distance: float, clamp: float | None) -> tuple[Tensor, Tensor]:
            log_pi = (reference + distance).requires_grad_()
            loss = policy_kl(
                log_pi,
                reference,
                value="k3",
                gradient="k3",
                importance_ratio=ratio,
                clamp=clamp,
            )
            return loss.detach(), differentiated(loss, log_pi)

        at_bound = both(math.copysign(20.0, r), None)
        torch.testing.assert_close(both(r, 20.0), at_bound, rtol=1e-13, atol=0)
        assert float(at_bound[1].abs()) > 0.9
        assert both(0.5 * r, 20.0) == both(0.5 * r, None)

    def test_it_goes_with_k3_only(self) -> None:
        with pytest.raises(InputError, match="goes with"):
            policy_kl(REFERENCE, REFERENCE, clamp=20.0)
        for wrong in (0.0, -1.0, math.inf, math.nan):
            with pytest.raises(InputError, match="clamp="):
                policy_kl(REFERENCE, REFERENCE, value="k3", clamp=wrong)

    @pytest.mark.parametrize("wrong", ["a", True, [20.0], torch.tensor([20.0, 1.0])])
    def test_it_is_a_number(self, wrong: Any) -> None:
        with pytest.raises(InputError, match=r"(?s)clamp=.*plain number"):
            policy_kl(REFERENCE, REFERENCE, value="k3", clamp=wrong)


class TestActionsThatCount:
    log_pi, reference = -rand(2, 4, seed=4).abs(), -rand(2, 4, seed=5).abs()
    mask = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0]])

    def test_reductions(self) -> None:
        r = (self.log_pi - self.reference) * self.mask
        for reduction, expected in (
            ("mean", r.sum() / 4),
            ("sum", r.sum()),
            ("none", r),
            (10.0, r.sum() / 10),
        ):
            found = policy_kl(self.log_pi, self.reference, mask=self.mask, reduction=reduction)
            torch.testing.assert_close(found, expected, **CLOSE)

    def test_the_gradient_is_that_of_the_reduction(self) -> None:
        log_pi = self.log_pi.clone().requires_grad_()
        gradient = differentiated(policy_kl(log_pi, self.reference, mask=self.mask), log_pi)
        expected = (self.log_pi - self.reference) * self.mask / 4
        torch.testing.assert_close(gradient, expected, **CLOSE)

    @pytest.mark.parametrize("junk", [math.nan, -math.inf, math.inf, 7.0])
    @pytest.mark.parametrize("value", VALUES)
    def test_others_may_hold_anything(self, junk: float, value: Any) -> None:
        spoiled = [x.masked_fill(self.mask == 0, junk) for x in (self.log_pi, self.reference)]
        ratio = torch.ones_like(self.log_pi).masked_fill(self.mask == 0, junk).requires_grad_()
        log_pi = spoiled[0].requires_grad_()
        options: dict[str, Any] = {"value": value, "gradient": value, "mask": self.mask}
        loss = policy_kl(log_pi, spoiled[1], importance_ratio=ratio, **options)
        torch.testing.assert_close(loss, policy_kl(self.log_pi, self.reference, **options), **CLOSE)
        for gradient in torch.autograd.grad(loss, (log_pi, ratio)):
            assert bool(gradient.isfinite().all())
            assert bool((gradient[self.mask == 0] == 0).all())

    def test_nothing_counted_is_0_and_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from kullback.training import positions

        monkeypatch.setattr(positions, "_said_nothing_counted", False)
        with pytest.warns(UserWarning, match="no position"):
            found = policy_kl(self.log_pi, self.reference, mask=torch.zeros(2, 4))
        assert float(found) == 0

    def test_the_reference_and_a_constant_ratio_get_no_gradient(self) -> None:
        log_pi, reference = self.log_pi.clone().requires_grad_(), self.reference.clone()
        reference.requires_grad_()
        ratio = torch.ones_like(log_pi).requires_grad_()
        policy_kl(log_pi, reference, importance_ratio=ratio).backward()
        assert log_pi.grad is not None
        assert reference.grad is None
        assert ratio.grad is None


class TestErrors:
    @pytest.mark.parametrize("side", [0, 1])
    @pytest.mark.parametrize(
        ("value", "error", "words"),
        [
            (math.nan, NonFiniteError, "nan"),
            (math.inf, NonFiniteError, "inf"),
            (-math.inf, NonFiniteError, "−inf.*mask the position"),
            (0.3, SpaceError, "0.3 is positive.*density=True"),
        ],
    )
    def test_the_place_is_named(
        self, side: int, value: float, error: type[Exception], words: str
    ) -> None:
        sides = [torch.full((2, 3), -1.0), torch.full((2, 3), -2.0)]
        sides[side][1, 1:] = value
        name = ("log_probs", "reference_log_probs")[side]
        with pytest.raises(error, match=rf"^{name}, position \(1, 1\): .*{words}"):
            policy_kl(sides[0], sides[1])

    def test_densities_can_be_positive(self) -> None:
        found = policy_kl(torch.tensor([0.5]), torch.tensor([0.2]), density=True)
        assert float(found) == pytest.approx(0.3)

    def test_rounding_above_0_is_no_error(self) -> None:
        policy_kl(torch.tensor([1e-6]), torch.tensor([0.0]))

    def test_shapes_dtypes_and_an_empty_batch(self) -> None:
        one, two = torch.full((2, 3), -1.0), torch.full((3, 2), -1.0)
        with pytest.raises(ShapeError, match=r"\(2, 3\) and reference_log_probs \(3, 2\)"):
            policy_kl(one, two)
        with pytest.raises(ShapeError, match="importance_ratio"):
            policy_kl(one, one, importance_ratio=two)
        with pytest.raises(ShapeError, match="mask"):
            policy_kl(one, one, mask=two)
        with pytest.raises(ShapeError, match="empty batch"):
            policy_kl(one[:0], one[:0])
        with pytest.raises(DtypeError, match=r"reference_log_probs is of torch\.int64"):
            policy_kl(one, one.long())
        with pytest.raises(DtypeError, match="list"):
            policy_kl([-1.0], one)  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf])
    def test_a_ratio_that_is_none(self, wrong: float) -> None:
        log_pi = torch.tensor([-1.0, -2.0])
        with pytest.raises(InputError, match=r"importance_ratio, position 1"):
            policy_kl(log_pi, log_pi, importance_ratio=torch.tensor([1.0, wrong]))

    @pytest.mark.parametrize(
        "options",
        [
            {"value": "exact"},
            {"gradient": "k4"},
            {"value": ["k1"]},
            {"gradient": ["k1"]},
            {"value": None},
            {"importance_ratio": "drawn"},
            {"importance_ratio": 1.0},
            {"reduction": "batchmean"},
            {"reduction": 0.0},
        ],
    )
    def test_options_that_there_are_not(self, options: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            policy_kl(torch.tensor([-1.0]), torch.tensor([-1.0]), **options)


def test_a_value_with_the_gradient_of_another_is_differentiable_twice() -> None:
    x = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([7.0], dtype=torch.float64, requires_grad=True)
    found = with_gradient_of(x**3, value)
    assert torch.autograd.grad(found, value, allow_unused=True, retain_graph=True) == (None,)
    (first,) = torch.autograd.grad(found, x, create_graph=True)
    assert (found.tolist(), first.tolist()) == ([7], [12])
    assert float(torch.autograd.grad(first, x)[0]) == 12


def test_no_warning_is_given_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy_kl(REFERENCE, REFERENCE, mask=torch.ones(5))
