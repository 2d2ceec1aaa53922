"""The losses of f-GANs on finite alphabets, where every expectation is a sum."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import kullback
from kullback.divergences import (
    CROSS_ENTROPY,
    GAN,
    JEFFREYS,
    KL,
    Conjugate,
    Divergence,
    alpha,
    jensen_shannon,
)
from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.gan import FGAN
from kullback.training.gan.fgan import NAMES

GAMES: dict[str, str | Divergence] = {
    **{name: name for name in NAMES},
    "js 0.2": jensen_shannon(0.2),
    "alpha -1": alpha(-1.0),
    "alpha 0.3": alpha(0.3),
    "alpha 1.5": alpha(1.5),
    "alpha 3": alpha(3.0),
}
EVERY = pytest.mark.parametrize("name", GAMES)

# Draws of each event in an ideal sample of 16: with these the means are the expectations.
P_COUNTS = torch.tensor([1, 2, 5, 8])
Q_COUNTS = torch.tensor([6, 5, 4, 1])
P, Q = P_COUNTS.double() / 16, Q_COUNTS.double() / 16

TRUTHS = {
    "kl": kullback.kl_divergence(P, Q),
    "reverse_kl": kullback.kl_divergence(Q, P),
    "chi_squared": kullback.chi_squared(P, Q),
    "squared_hellinger": 0.5 * (P.sqrt() - Q.sqrt()).square().sum(),
    "total_variation": kullback.total_variation(P, Q),
    "js": kullback.js_divergence(P, Q),
    "gan": 2 * kullback.js_divergence(P, Q),
    "alpha": kullback.alpha_divergence(P, Q, alpha=0.5),
    "js 0.2": kullback.js_divergence(P, Q, weight=0.2),
    "alpha -1": kullback.alpha_divergence(P, Q, alpha=-1.0),
    "alpha 0.3": kullback.alpha_divergence(P, Q, alpha=0.3),
    "alpha 1.5": kullback.alpha_divergence(P, Q, alpha=1.5),
    "alpha 3": kullback.alpha_divergence(P, Q, alpha=3.0),
}


def bound(game: FGAN, scores: Tensor) -> Tensor:
    """−discriminator_loss with a score for each event, over the ideal samples."""
    return -game.discriminator_loss(
        scores.repeat_interleave(P_COUNTS), scores.repeat_interleave(Q_COUNTS)
    )


def best_scores(game: FGAN) -> Tensor:
    """The scores whose T is f′(p/q), by bisection: g rises."""
    ratio = (P / Q).requires_grad_()
    (best,) = torch.autograd.grad(game.record.generator(ratio).sum(), ratio)
    low, high = torch.full_like(P, -1e10), torch.full_like(P, 1e10)
    for _ in range(100):
        middle = 0.5 * (low + high)
        under = game.activation(middle) < best
        low, high = torch.where(under, middle, low), torch.where(under, high, middle)
    return 0.5 * (low + high)


class TestTheBound:
    @EVERY
    def test_the_best_critic_reaches_the_divergence(self, name: str) -> None:
        game = FGAN(GAMES[name])
        # Rounding only; at a maximum an error of the scores enters squared.
        assert float(bound(game, best_scores(game))) == pytest.approx(
            float(TRUTHS[name]), rel=1e-12
        )

    @EVERY
    def test_every_other_critic_stays_below(self, name: str) -> None:
        game = FGAN(GAMES[name])
        draws = torch.Generator().manual_seed(0)
        for scale in (0.1, 1.0, 5.0):
            for _ in range(30):
                scores = scale * torch.randn(4, generator=draws, dtype=torch.float64)
                assert float(bound(game, scores)) <= float(TRUTHS[name])

    @EVERY
    def test_a_critic_at_the_threshold_bounds_by_zero(self, name: str) -> None:
        """T = f′(1) everywhere says that nothing tells P from Q."""
        game = FGAN(GAMES[name])
        same = torch.tensor([_threshold_score(name)], dtype=torch.float64)
        assert float(game.activation(same)) == pytest.approx(game.threshold, abs=1e-15)
        assert float(-game.discriminator_loss(same, same)) == pytest.approx(0.0, abs=1e-14)
        assert game.takes_for_real(same + 0.1).item()
        assert not game.takes_for_real(same - 0.1).item()

    @EVERY
    def test_the_best_critic_is_right_about_each_event(self, name: str) -> None:
        game = FGAN(GAMES[name])
        assert game.takes_for_real(best_scores(game)).tolist() == (P > Q).tolist()

    @EVERY
    def test_ascent_on_the_loss_finds_the_divergence(self, name: str) -> None:
        """From scores of 0, by the gradients that training would use."""
        game = FGAN(GAMES[name])
        scores = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        steps = torch.optim.LBFGS([scores], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            steps.zero_grad()
            loss = -bound(game, scores)
            loss.backward()
            return loss

        steps.step(closure)
        # Total variation's best scores are infinite: it stops where tanh is flat.
        tolerance = 1e-3 if name == "total_variation" else 1e-6
        found = float(bound(game, scores.detach()))
        assert found == pytest.approx(float(TRUTHS[name]), rel=tolerance)


def _threshold_score(name: str) -> float:
    """The score with g(v) = f′(1), by hand."""
    return {
        "kl": 1.0,
        "js 0.2": math.log(0.2 / 0.8),
    }.get(name, 0.0)


class TestTheGradients:
    @EVERY
    def test_of_the_generator_losses(self, name: str) -> None:
        """∂/∂score of −E_Q[f*(T)] is −q f*′(T) g′(v): at the best critic −p g′(v)."""
        game = FGAN(GAMES[name])
        scores = best_scores(game).requires_grad_()
        spread = scores.repeat_interleave(Q_COUNTS)
        (rate,) = torch.autograd.grad(game.activation(scores).sum(), scores)
        (found,) = torch.autograd.grad(game.generator_loss(spread), scores, retain_graph=True)
        (plain,) = torch.autograd.grad(game.non_saturating_generator_loss(spread), scores)
        torch.testing.assert_close(plain, -Q * rate)
        if name != "total_variation":  # p/q is no slope of its f*
            torch.testing.assert_close(found, -P * rate)

    @EVERY
    def test_moving_q_by_the_generator_loss_is_moving_it_by_the_divergence(self, name: str) -> None:
        """At the best critic ∂/∂q of the bound is ∂D/∂q (Danskin): the generator's way is down."""
        game = FGAN(GAMES[name])
        q = Q.clone().requires_grad_()
        (of_divergence,) = torch.autograd.grad((q * game.record.generator(P / q)).sum(), q)
        best = best_scores(game)
        of_bound = torch.stack([game.generator_loss(score) for score in best])
        torch.testing.assert_close(of_bound, of_divergence, rtol=1e-9, atol=1e-9)


class TestTheGameOfGoodfellow:
    real = torch.tensor([2.0, -1.0, 0.3], dtype=torch.float64)
    fake = torch.tensor([0.4, -3.0], dtype=torch.float64)

    def test_is_binary_cross_entropy(self) -> None:
        expected = bce(self.real, torch.ones(3).double()) + bce(self.fake, torch.zeros(2).double())
        found = FGAN("gan").discriminator_loss(self.real, self.fake)
        assert float(found) == pytest.approx(float(expected) - math.log(4))

    def test_generators(self) -> None:
        game = FGAN(GAN)
        minimax, usual = (
            -bce(self.fake, torch.zeros(2).double()),
            bce(self.fake, torch.ones(2).double()),
        )
        assert float(game.generator_loss(self.fake)) == pytest.approx(float(minimax) + math.log(4))
        assert float(game.non_saturating_generator_loss(self.fake)) == pytest.approx(float(usual))

    def test_saturates_and_does_not(self) -> None:
        """At a score of −50 the one has a gradient of e^(−50), the other of 1."""
        sure = torch.tensor([-50.0], requires_grad=True)
        (faded,) = torch.autograd.grad(FGAN("gan").generator_loss(sure), sure)
        (kept,) = torch.autograd.grad(FGAN("gan").non_saturating_generator_loss(sure), sure)
        assert float(faded) == pytest.approx(-math.exp(-50), rel=1e-5)
        assert float(kept) == -1.0


class TestWhatItTakes:
    @EVERY
    def test_shapes_are_means_over_all_scores(self, name: str) -> None:
        game = FGAN(GAMES[name])
        real, fake = torch.linspace(-1, 1, 12), torch.linspace(-2, 1, 6)
        assert float(game.discriminator_loss(real.view(3, 2, 2), fake.view(6, 1))) == pytest.approx(
            float(game.discriminator_loss(real, fake)), rel=1e-6
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_widened(self, dtype: torch.dtype) -> None:
        real, fake = torch.linspace(-3, 9, 31).to(dtype), torch.linspace(-9, 3, 17).to(dtype)
        found = FGAN("js").discriminator_loss(real, fake)
        assert found.dtype == torch.float32
        assert found == FGAN("js").discriminator_loss(real.float(), fake.float())

    def test_names(self) -> None:
        assert set(NAMES) == {
            "alpha",
            "chi_squared",
            "gan",
            "js",
            "kl",
            "reverse_kl",
            "squared_hellinger",
            "total_variation",
        }
        assert FGAN("kl").record is KL
        assert repr(FGAN(alpha(0.3))) == "FGAN('alpha')"

    @pytest.mark.parametrize("wrong", ["jeffreys", "wasserstein", ""])
    def test_unknown_names(self, wrong: str) -> None:
        with pytest.raises(InputError, match="is not one of"):
            FGAN(wrong)

    @pytest.mark.parametrize("record", [JEFFREYS, CROSS_ENTROPY, replace(KL, conjugate=None), 3])
    def test_records_without_a_conjugate(self, record: Divergence) -> None:
        with pytest.raises(InputError, match="has no conjugate"):
            FGAN(record)

    def test_records_with_the_conjugate_of_another(self) -> None:
        """As `replace` leaves it: a bound of something, but not of this divergence."""
        js = jensen_shannon()
        doubled = replace(js, generator=lambda u: 2 * js.generator(u))
        with pytest.raises(InputError, match="is not that of its generator"):
            FGAN(doubled)
        assert KL.conjugate is not None
        shifted = replace(KL.conjugate, of_score=lambda v: v.exp())
        with pytest.raises(InputError, match="is not that of its generator"):
            FGAN(replace(KL, conjugate=shifted))

    def test_a_record_of_one_s_own(self) -> None:
        """Twice KL: f* is 2·f*(t/2), and the critic's T is twice as large."""
        own = Conjugate(
            value=lambda t: 2 * (t / 2 - 1).exp(),
            end=math.inf,
            slope_at_one=2.0,
            activation=lambda v: 2 * v,
            of_score=lambda v: 2 * (v - 1).exp(),
        )
        twice = replace(KL, generator=lambda u: 2 * torch.xlogy(u, u), conjugate=own)
        game = FGAN(twice)
        found = float(bound(game, best_scores(game)))
        assert found == pytest.approx(2 * float(TRUTHS["kl"]), rel=1e-12)

    @pytest.mark.parametrize("limit", [0.0, 1.0])
    @pytest.mark.parametrize(
        "distance", [1e-15, -1e-12, 1e-9, -1e-9, 1e-7, -1e-7, 1e-5, -1e-5, 1e-3, -1e-3]
    )
    def test_alpha_near_its_limits_in_float32(self, limit: float, distance: float) -> None:
        """T and f* have 1/(α − 1) in common, which is more than float32 holds beside the rest."""
        order, v = limit + distance, torch.tensor([-1.0, 0.5, 0.2])
        game = FGAN(alpha(order))
        wide = v.double()
        real = wide if order > 1 else torch.expm1((order - 1) * wide) / (order - 1)
        fake = torch.expm1(
            order * (torch.log1p((order - 1) * wide) / (order - 1) if order > 1 else wide)
        )
        truth = float(fake.mean() / order - real.mean())
        assert float(game.discriminator_loss(v, v)) == pytest.approx(truth, rel=1e-6)
        assert game.takes_for_real(v).tolist() == [False, True, True]
        # Each alone has the constant, and its rounding.
        size = max(1.0, abs(game.threshold))
        alone = float(game.generator_loss(v)) - float(game.non_saturating_generator_loss(v))
        assert alone == pytest.approx(-truth, abs=1e-6 * size)

    @pytest.mark.parametrize("order", [-5.0, -1e-6, 1e-6, 0.999, 1 + 1e-9, 1.001, 12.0])
    def test_every_order_of_alpha(self, order: float) -> None:
        game = FGAN(alpha(order))
        truth = float(kullback.alpha_divergence(P, Q, alpha=order))
        # Near α = 1, the T that is sought for here is of size 1/(α − 1).
        size = max(1.0, abs(game.threshold))
        assert float(bound(game, best_scores(game))) == pytest.approx(
            truth, rel=1e-9, abs=1e-14 * size
        )

    def test_empty_batches(self) -> None:
        some, none = torch.zeros(3), torch.zeros(0, 1)
        with pytest.raises(ShapeError, match=r"real_scores has shape \(0, 1\)"):
            FGAN("kl").discriminator_loss(none, some)
        with pytest.raises(ShapeError, match="fake_scores"):
            FGAN("kl").discriminator_loss(some, none)
        with pytest.raises(ShapeError, match="fake_scores"):
            FGAN("kl").generator_loss(none)
        with pytest.raises(ShapeError, match="fake_scores"):
            FGAN("kl").non_saturating_generator_loss(none)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_scores_that_are_not_finite(self, bad: float) -> None:
        some = torch.zeros(2, 3)
        wrong = some.clone()
        wrong[1, 2] = bad
        with pytest.raises(NonFiniteError, match=rf"fake_scores\[1, 2\] is {bad}"):
            FGAN("gan").discriminator_loss(some, wrong)
        with pytest.raises(NonFiniteError, match=r"scores\[1, 2\]"):
            FGAN("gan").activation(wrong)

    def test_unchecked_scores_are_no_number(self) -> None:
        wrong = torch.tensor([0.0, math.nan])
        assert FGAN("gan").generator_loss(wrong, validate=False).isnan()

    @pytest.mark.parametrize("name", ["kl", "chi_squared"])
    def test_losses_beyond_the_dtype(self, name: str) -> None:
        """Finite scores whose f* is not: the message names the largest."""
        size = {"kl": 1000.0, "chi_squared": 1e25}[name]
        game, some = FGAN(name), torch.zeros(3)
        wrong = torch.tensor([[1.0, -2.0], [size, 3.0]])
        match = rf"the loss is inf: fake_scores\[1, 0\] is {size:g}".replace("+", r"\+")
        with pytest.raises(NonFiniteError, match=match):
            game.discriminator_loss(some, wrong)
        with pytest.raises(NonFiniteError, match=match.replace("inf", "-inf")):
            game.generator_loss(wrong)
        assert game.discriminator_loss(some, wrong, validate=False).isinf()

    def test_activations_beyond_the_dtype(self) -> None:
        game, wrong = FGAN("reverse_kl"), torch.tensor([0.0, -1000.0])
        with pytest.raises(NonFiniteError, match=r"loss is inf: real_scores\[1\] is -1000"):
            game.discriminator_loss(wrong, torch.zeros(2))
        with pytest.raises(NonFiniteError, match=r"loss is inf: fake_scores\[1\] is -1000"):
            game.non_saturating_generator_loss(wrong)

    def test_integers_and_lists(self) -> None:
        with pytest.raises(DtypeError, match=r"real_scores is of torch\.int64"):
            FGAN("gan").discriminator_loss(torch.zeros(2).long(), torch.zeros(2))
        with pytest.raises(DtypeError, match="fake_scores is of list"):
            FGAN("gan").generator_loss([0.0, 1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_a_game_goes_through_pickle(name: str) -> None:
    """To the very record of the registry, whose functions themselves do not."""
    for again in (pickle.loads(pickle.dumps(FGAN(name))), copy.deepcopy(FGAN(name))):
        assert again.record is FGAN(name).record
        assert repr(again) == repr(FGAN(name))


@pytest.mark.parametrize("make", [alpha, jensen_shannon])
def test_a_game_of_a_family_goes_through_pickle(make: Callable[[float], Divergence]) -> None:
    for game in (FGAN(make(0.3)), copy.deepcopy(FGAN(make(0.3)))):
        again = pickle.loads(pickle.dumps(game))
        scores = torch.linspace(-2, 2, 9)
        assert again.record.name == game.record.name
        assert again.discriminator_loss(scores, -scores) == game.discriminator_loss(scores, -scores)


def _twice(u: Tensor) -> Tensor:
    return 2 * KL.generator(u)


def _twice_f_star(t: Tensor) -> Tensor:
    return 2 * (t / 2 - 1).exp()


def _itself(v: Tensor) -> Tensor:
    return v


def test_a_record_made_of_a_family_s_is_pickled_as_itself() -> None:
    """Not as the one that it was made of; its functions can be pickled if they have names."""
    own = Conjugate(
        value=_twice_f_star,
        end=math.inf,
        slope_at_one=2.0,
        activation=_itself,
        of_score=_twice_f_star,
    )
    changed = replace(alpha(0.3), generator=_twice, conjugate=own)
    assert changed.parameter is None
    with pytest.raises((AttributeError, pickle.PicklingError), match="alpha"):
        pickle.dumps(FGAN(changed))
    named = replace(changed, terms=_itself, log_slopes=_itself, slope_at_zero=(_itself, _itself))  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(FGAN(named)))
    assert again.record == named


@pytest.mark.parametrize("order", [math.nan, math.inf, -math.inf, "a", None])
def test_orders_of_alpha(order: Any) -> None:
    with pytest.raises(InputError, match=f"alpha={order!r}"):
        alpha(order)


@pytest.mark.parametrize("weight", [0, 1, -0.1, 2.0, math.nan, "a", None])
def test_weights_of_jensen_shannon(weight: Any) -> None:
    with pytest.raises(InputError, match=f"weight={weight!r}"):
        jensen_shannon(weight)
