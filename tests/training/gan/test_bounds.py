"""The bounds on finite alphabets: over ideal samples, and over every batch that can be drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import kullback
from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.gan import (
    FGAN,
    MovingNormalizer,
    donsker_varadhan,
    info_nce,
    nwj,
    smile,
)

# Draws of each event in an ideal sample of 16: with these the means are the expectations.
P_COUNTS = torch.tensor([1, 2, 5, 8])
Q_COUNTS = torch.tensor([6, 5, 4, 1])
P, Q = P_COUNTS.double() / 16, Q_COUNTS.double() / 16
KL = float(kullback.kl_divergence(P, Q))
LOG_RATIO = (P / Q).log()

Bound = Callable[[Tensor, Tensor], Tensor]


def ideal(bound: Bound, scores: Tensor) -> Tensor:
    """The bound with a score for each event, expectations in place of means."""
    return bound(scores.repeat_interleave(P_COUNTS), scores.repeat_interleave(Q_COUNTS))


def batches(law: Tensor, n: int) -> Iterator[tuple[Tensor, float]]:
    """Every ordered batch of n independent draws, with its probability."""
    for events in product(range(len(law)), repeat=n):
        chosen = torch.tensor(events)
        yield chosen, float(law[chosen].prod())


def over_batches(bound: Bound, scores: Tensor, n_p: int = 1, n_q: int = 2) -> Tensor:
    """The expectation of the bound over all batches of n_p draws of P and n_q of Q."""
    total = torch.zeros((), dtype=torch.float64)
    for of_p, weight_p in batches(P, n_p):
        for of_q, weight_q in batches(Q, n_q):
            total = total + weight_p * weight_q * bound(scores[of_p], scores[of_q])
    return total


def some_scores(count: int, scale: float = 1.5) -> Iterator[Tensor]:
    draws = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield scale * torch.randn(4, generator=draws, dtype=torch.float64)


def gradient(value: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
    leaf = scores.clone().requires_grad_()
    (found,) = torch.autograd.grad(value(leaf), leaf)
    return found


class TestDonskerVaradhan:
    @pytest.mark.parametrize("constant", [0.0, -3.0, 40.0])
    def test_reaches_kl_at_the_log_ratio_plus_anything(self, constant: float) -> None:
        assert float(ideal(donsker_varadhan, LOG_RATIO + constant)) == pytest.approx(KL, rel=1e-12)

    def test_stays_below_kl_in_expectation(self) -> None:
        for scores in some_scores(200):
            assert float(ideal(donsker_varadhan, scores)) < KL

    def test_is_the_paper_s_formula_and_its_gradient(self) -> None:
        for scores in some_scores(5):
            expected = (P * scores).sum() - (Q * scores.exp()).sum().log()
            assert float(ideal(donsker_varadhan, scores)) == pytest.approx(float(expected))
            tilted = Q * scores.exp()
            torch.testing.assert_close(
                gradient(lambda s: ideal(donsker_varadhan, s), scores), P - tilted / tilted.sum()
            )

    def test_passes_kl_over_small_batches(self) -> None:
        """E log(mean) ≤ log E: with two draws of Q the estimate is biased up, and is no bound."""
        assert float(over_batches(donsker_varadhan, LOG_RATIO)) > KL + 0.1

    def test_bias_over_batches_is_as_documented(self) -> None:
        """Var(e^T)/(2n E[e^T]²), for small variances."""
        scores = 0.05 * LOG_RATIO
        weights = scores.exp()
        mean = (Q * weights).sum()
        variance = (Q * (weights - mean) ** 2).sum()
        bias = over_batches(donsker_varadhan, scores, n_q=3) - ideal(donsker_varadhan, scores)
        # The next term is smaller by the third moment, and by the variance.
        assert float(bias) == pytest.approx(float(variance / (2 * 3 * mean**2)), rel=0.05)

    def test_scores_of_any_size(self) -> None:
        scores = torch.tensor([500.0, 400.0])
        assert float(donsker_varadhan(scores, scores - 300)) == pytest.approx(
            450 - 200 + math.log(2), rel=1e-6
        )


class TestMine:
    def test_value_is_donsker_varadhan_s(self) -> None:
        for scores in some_scores(5):
            plain = ideal(donsker_varadhan, scores)
            corrected = ideal(lambda p, q: donsker_varadhan(p, q, log_normalizer=0.7), scores)
            assert float(corrected) == pytest.approx(float(plain), rel=1e-14)

    def test_gradient_over_batches_is_exact_with_the_true_normaliser(self) -> None:
        """And is not without: the mean of a quotient is not the quotient of the means."""
        (scores,) = some_scores(1)
        truth = gradient(lambda s: ideal(donsker_varadhan, s), scores)
        log_normalizer = (Q * scores.exp()).sum().log()
        found = gradient(
            lambda s: over_batches(
                lambda p, q: donsker_varadhan(p, q, log_normalizer=log_normalizer), s
            ),
            scores,
        )
        torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-14)
        biased = gradient(lambda s: over_batches(donsker_varadhan, s), scores)
        assert float((biased - truth).norm() / truth.norm()) > 0.1

    def test_gradient_with_the_batch_s_own_normaliser_is_the_plain_one(self) -> None:
        for scores in some_scores(5):
            own = (Q * scores.exp()).sum().log()
            torch.testing.assert_close(
                gradient(
                    lambda s, own=own: ideal(
                        lambda p, q: donsker_varadhan(p, q, log_normalizer=own), s
                    ),
                    scores,
                ),
                gradient(lambda s: ideal(donsker_varadhan, s), scores),
            )

    @pytest.mark.parametrize("score", [200.0, 3e38])
    def test_value_is_right_where_the_gradient_s_factor_is_not_finite(self, score: float) -> None:
        found = donsker_varadhan(torch.tensor([1.0]), torch.tensor([score]), log_normalizer=0.0)
        assert float(found) == pytest.approx(1 - score)

    def test_gradients_beyond_the_dtype(self) -> None:
        q = torch.tensor([200.0, 0.0], requires_grad=True)
        with pytest.raises(NonFiniteError, match=r"log_normalizer is 3 and .* E_Q\[e\^T\] 199\.3"):
            donsker_varadhan(torch.ones(1), q, log_normalizer=3.0)
        found = donsker_varadhan(torch.ones(1), q, log_normalizer=3.0, validate=False)
        assert float(found.detach()) == pytest.approx(1 - 200 + math.log(2))

    def test_gradient_does_not_reach_the_normaliser(self) -> None:
        normalizer = torch.zeros((), requires_grad=True)
        p = torch.zeros(2, requires_grad=True)
        donsker_varadhan(p, p, log_normalizer=normalizer).backward()
        assert normalizer.grad is None

    def test_average_is_the_weighted_mean_of_the_batches(self) -> None:
        batches = list(some_scores(6))
        normalizer = MovingNormalizer(decay=0.8)
        for n, batch in enumerate(batches, start=1):
            found = normalizer.update(batch)
            weights = torch.tensor([0.8**k for k in reversed(range(n))], dtype=torch.float64)
            means = torch.stack([x.exp().mean() for x in batches[:n]])
            expected = ((weights * means).sum() / weights.sum()).log()
            assert float(found) == pytest.approx(float(expected), rel=1e-12)

    def test_average_does_not_overflow_nor_forget(self) -> None:
        normalizer = MovingNormalizer(decay=0.5)
        assert float(normalizer.update(torch.tensor([700.0]))) == 700.0
        assert float(normalizer.update(torch.tensor([-700.0]))) == pytest.approx(
            700 + math.log(1 / 3)
        )

    def test_average_has_no_gradient_and_leaves_the_batch(self) -> None:
        batch = torch.zeros(3, requires_grad=True)
        assert not MovingNormalizer().update(batch).requires_grad

    @pytest.mark.parametrize("seen", [0, 1, 3])
    def test_state_continues_bit_for_bit(self, seen: int) -> None:
        batches = [x.float() for x in some_scores(5)]
        whole, again = MovingNormalizer(0.9), MovingNormalizer(0.5)
        for batch in batches[:seen]:
            whole.update(batch)
        again.load_state_dict(whole.state_dict())
        for batch in batches[seen:]:
            assert whole.update(batch) == again.update(batch)
        assert whole.state_dict() == again.state_dict()

    def test_a_refused_batch_is_not_counted(self) -> None:
        normalizer = MovingNormalizer()
        normalizer.update(torch.zeros(2))
        before = normalizer.state_dict()
        with pytest.raises(NonFiniteError):
            normalizer.update(torch.tensor([math.nan]))
        assert normalizer.state_dict() == before

    @pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, math.nan, "a", True, None])
    def test_decays(self, decay: Any) -> None:
        with pytest.raises(InputError, match="decay="):
            MovingNormalizer(decay)

    def test_foreign_state(self) -> None:
        good = {"decay": 0.9, "steps": 3, "log_total": 0.5}
        wrong = [
            None,
            {"steps": 3},
            good | {"decay": 1.5},
            good | {"decay": "a"},
            good | {"steps": -1},
            good | {"steps": 2.5},
            good | {"steps": 0},
            good | {"log_total": None},
            good | {"log_total": math.nan},
            good | {"log_total": "a"},
        ]
        normalizer = MovingNormalizer(0.8)
        normalizer.update(torch.zeros(2))
        before = normalizer.state_dict()
        for state in wrong:
            with pytest.raises(InputError, match="is none of an average"):
                normalizer.load_state_dict(state)  # type: ignore[arg-type]
            assert normalizer.state_dict() == before
        normalizer.load_state_dict(good)
        assert normalizer.state_dict() == good

    def test_normalizers_that_are_no_number(self) -> None:
        with pytest.raises(ShapeError, match=r"log_normalizer has shape \(2,\)"):
            donsker_varadhan(torch.zeros(2), torch.zeros(2), log_normalizer=torch.zeros(2))
        with pytest.raises(InputError, match="log_normalizer='a' is of str"):
            donsker_varadhan(torch.zeros(2), torch.zeros(2), log_normalizer="a")  # type: ignore[arg-type]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, torch.tensor(-math.inf)])
    def test_normalizers_that_are_not_finite(self, bad: Any) -> None:
        some = torch.zeros(2)
        with pytest.raises(NonFiniteError, match="log_normalizer is"):
            donsker_varadhan(some, some, log_normalizer=bad)


class TestNwj:
    def test_reaches_kl_at_one_plus_the_log_ratio_only(self) -> None:
        assert float(ideal(nwj, 1 + LOG_RATIO)) == pytest.approx(KL, rel=1e-12)
        assert float(ideal(nwj, LOG_RATIO)) < KL - 0.1

    def test_stays_below_kl_and_donsker_varadhan(self) -> None:
        for scores in some_scores(200):
            assert float(ideal(nwj, scores)) <= float(ideal(donsker_varadhan, scores)) < KL

    def test_is_unbiased_over_batches_in_value_and_gradient(self) -> None:
        for scores in some_scores(2):
            assert float(over_batches(nwj, scores)) == pytest.approx(
                float(ideal(nwj, scores)), rel=1e-12
            )
            torch.testing.assert_close(
                gradient(lambda s: over_batches(nwj, s), scores), P - Q * (scores - 1).exp()
            )

    def test_variance_of_the_second_mean_is_chi_squared(self) -> None:
        scores = 1 + LOG_RATIO
        second = torch.stack(
            [nwj(torch.zeros(1, dtype=torch.float64), scores[e : e + 1]) for e in range(4)]
        )
        variance = (Q * second**2).sum() - (Q * second).sum() ** 2
        assert float(variance) == pytest.approx(float(kullback.chi_squared(P, Q)))
        assert float(variance) >= math.exp(KL) - 1

    def test_is_the_game_of_kl(self) -> None:
        for scores in some_scores(5):
            expected = -ideal(FGAN("kl").discriminator_loss, scores)
            assert float(ideal(nwj, scores)) == pytest.approx(float(expected), rel=1e-14)

    def test_bounds_beyond_the_dtype(self) -> None:
        """As the game of KL, whose loss is the same, raises."""
        p, q = torch.ones(1), torch.tensor([[0.0, 200.0]])
        with pytest.raises(NonFiniteError, match=r"the bound is -inf: q_scores\[0, 1\] is 200"):
            nwj(p, q)
        assert float(nwj(p, q, validate=False)) == -math.inf


# p(x, y) on 2 × 3 events.
JOINT = torch.tensor([[0.30, 0.05, 0.15], [0.05, 0.35, 0.10]], dtype=torch.float64)
OF_X, OF_Y = JOINT.sum(1), JOINT.sum(0)
INFORMATION = float((JOINT * (JOINT / (OF_X[:, None] * OF_Y)).log()).sum())


def over_pairs(table: Tensor, n: int) -> Tensor:
    """The expectation of InfoNCE over all batches of n pairs, T(x, y) from the table."""
    total = torch.zeros((), dtype=torch.float64)
    for pairs, weight in batches(JOINT.flatten(), n):
        x, y = pairs // 3, pairs % 3
        total = total + weight * info_nce(table[x[:, None], y])
    return total


class TestInfoNce:
    best = (JOINT / OF_X[:, None]).log() - OF_Y.log()

    def test_the_best_critic_comes_nearer_with_the_batch_and_stays_below(self) -> None:
        found = [float(over_pairs(self.best, n)) for n in (2, 3, 4)]
        assert 0 < found[0] < found[1] < found[2] < INFORMATION
        # The gap shrinks like 1/n.
        gaps = [n * (INFORMATION - value) for n, value in zip((2, 3, 4), found, strict=True)]
        assert max(gaps) < 1.2 * min(gaps)

    def test_every_critic_stays_below(self) -> None:
        draws = torch.Generator().manual_seed(0)
        for scale in (0.3, 1.0, 4.0):
            for _ in range(5):
                table = scale * torch.randn(2, 3, generator=draws, dtype=torch.float64)
                assert float(over_pairs(table, 2)) < float(over_pairs(self.best, 2)) + 1e-12

    def test_anything_of_x_alone_changes_nothing_of_y_does(self) -> None:
        """The rows are what is normalised: x asks for its y."""
        of_x, of_y = torch.tensor([[3.0], [-1.0]]), torch.tensor([[3.0, -1.0, 0.0]])
        assert float(over_pairs(self.best + of_x, 2)) == pytest.approx(
            float(over_pairs(self.best, 2))
        )
        assert float(over_pairs(self.best + of_y, 2)) < float(over_pairs(self.best, 2)) - 0.1

    def test_is_at_most_log_n(self) -> None:
        sure = 100 * torch.eye(5)
        assert float(info_nce(sure)) == pytest.approx(math.log(5))

    def test_gradient_is_softmax_minus_own(self) -> None:
        scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
        expected = (torch.eye(4) - scores.softmax(-1)) / 4
        torch.testing.assert_close(gradient(info_nce, scores), expected)

    @pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 2), ()])
    def test_no_square(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ShapeError, match=r"pass \[n, n\]"):
            info_nce(torch.zeros(shape))

    @pytest.mark.parametrize(("n", "match"), [(0, "without a single score"), (1, "1 pair")])
    def test_too_few_pairs(self, n: int, match: str) -> None:
        with pytest.raises(ShapeError, match=match):
            info_nce(torch.zeros(n, n))


class TestSmile:
    def test_is_donsker_varadhan_within_the_clip(self) -> None:
        for scores in some_scores(5):
            assert float(ideal(lambda p, q: smile(p, q, clip=10.0), scores)) == pytest.approx(
                float(ideal(donsker_varadhan, scores)), rel=1e-14
            )
            for clip in (0.5, math.inf):
                clipped = scores.exp().clamp(math.exp(-clip), math.exp(clip))
                expected = (P * scores).sum() - (Q * clipped).sum().log()
                assert float(
                    ideal(lambda p, q, clip=clip: smile(p, q, clip=clip), scores)
                ) == pytest.approx(float(expected), rel=1e-12)

    def test_is_no_bound(self) -> None:
        """Neither at the best critic, whose ratios lie beyond the clip, nor at a foolish one."""
        p = torch.tensor([0.99, 0.01], dtype=torch.float64)
        best = (p / p.flip(0)).log()
        divergence = float((p * best).sum())
        counts_p, counts_q = torch.tensor([99, 1]), torch.tensor([1, 99])
        found = smile(best.repeat_interleave(counts_p), best.repeat_interleave(counts_q), clip=1.0)
        assert float(found) > divergence + 0.5
        foolish = torch.full((3,), 100.0)
        assert float(smile(foolish, foolish)) == pytest.approx(95.0)

    def test_gradient_is_that_of_the_gan_s_game(self) -> None:
        """−∂/∂T: p σ(−T) − q σ(T), which is 0 at T = log p/q."""
        for scores in some_scores(5, scale=4.0):
            expected = P * (-scores).sigmoid() - Q * scores.sigmoid()
            torch.testing.assert_close(gradient(lambda s: ideal(smile, s), scores), expected)
        at_best = gradient(lambda s: ideal(smile, s), LOG_RATIO)
        torch.testing.assert_close(at_best, torch.zeros_like(P), rtol=0, atol=1e-15)

    def test_own_gradient_stops_at_the_clip(self) -> None:
        scores = torch.tensor([0.3, -2.0, 4.0, 0.9], dtype=torch.float64)
        clipped = scores.clamp(-1, 1)
        inside = (scores.abs() < 1).double()
        share = Q * clipped.exp() / (Q * clipped.exp()).sum()
        found = gradient(
            lambda s: ideal(lambda p, q: smile(p, q, clip=1.0, gradient="value"), s), scores
        )
        torch.testing.assert_close(found, P - share * inside)

    @pytest.mark.parametrize("size", [1e4, 1e6, 1e8, 1e30])
    def test_value_keeps_its_digits_beside_a_surrogate_of_any_size(self, size: float) -> None:
        p, q = torch.tensor([1.0, 2.0]), torch.tensor([0.0, size])
        truth = 1.5 - math.log((1 + math.exp(5)) / 2)
        assert float(smile(p, q)) == pytest.approx(truth, rel=1e-6)
        (found,) = torch.autograd.grad(smile(p, q.requires_grad_()), q)
        assert found.tolist() == [-0.25, -0.5]

    def test_torch_func_differentiates_it(self) -> None:
        p, rows = torch.tensor([1.0, 2.0]), torch.tensor([[0.0, 1.0], [0.3, -2.0], [4.0, 9.0]])
        found = torch.func.vmap(torch.func.grad(lambda q: smile(p, q)))(rows)
        torch.testing.assert_close(found, -rows.sigmoid() / 2)

    @pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, "a", True, None])
    def test_clips(self, clip: Any) -> None:
        with pytest.raises(InputError, match="clip="):
            smile(torch.zeros(2), torch.zeros(2), clip=clip)

    def test_unknown_gradients(self) -> None:
        with pytest.raises(InputError, match="gradient='own'"):
            smile(torch.zeros(2), torch.zeros(2), gradient="own")  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [donsker_varadhan, nwj, smile])
class TestWhatTheyTake:
    def test_empty_batches(self, bound: Bound) -> None:
        with pytest.raises(ShapeError, match=r"p_scores has shape \(0,\)"):
            bound(torch.zeros(0), torch.zeros(2))
        with pytest.raises(ShapeError, match=r"q_scores has shape \(3, 0\)"):
            bound(torch.zeros(2), torch.zeros(3, 0))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_scores_that_are_not_finite(self, bound: Bound, bad: float) -> None:
        with pytest.raises(NonFiniteError, match=rf"p_scores\[1\] is {bad}"):
            bound(torch.tensor([0.0, bad]), torch.zeros(2))
        with pytest.raises(NonFiniteError, match=rf"q_scores\[0, 1\] is {bad}"):
            bound(torch.zeros(2), torch.tensor([[0.0, bad]]))

    def test_integers(self, bound: Bound) -> None:
        with pytest.raises(DtypeError, match=r"q_scores is of torch\.int64"):
            bound(torch.zeros(2), torch.zeros(2).long())

    def test_half_precision_is_widened(self, bound: Bound) -> None:
        p, q = torch.linspace(-3, 9, 31).bfloat16(), torch.linspace(-9, 3, 17).bfloat16()
        found = bound(p, q)
        assert found.dtype == torch.float32
        assert found == bound(p.float(), q.float())

    def test_shapes_are_means_over_all_scores(self, bound: Bound) -> None:
        p, q = torch.linspace(-3, 1, 12), torch.linspace(-1, 3, 8)
        assert float(bound(p.view(3, 4), q.view(2, 2, 2))) == pytest.approx(
            float(bound(p, q)), rel=1e-6
        )


@pytest.mark.parametrize("bound", [donsker_varadhan, nwj, smile, FGAN("js").discriminator_loss])
def test_mapped_bounds_are_those_of_each_row(bound: Any) -> None:
    p, q = (torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(2))
    expected = torch.stack([bound(a, b) for a, b in zip(p, q, strict=True)])
    torch.testing.assert_close(torch.func.vmap(bound)(p, q), expected, rtol=1e-6, atol=0)
