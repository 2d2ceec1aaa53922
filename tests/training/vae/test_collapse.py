"""The report on a latent: exact where it says so, and intervals that hold the truth where not."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from kullback.errors import DtypeError, InputError, MissingExtra, NonFiniteError, ShapeError
from kullback.training.vae import CollapseReport, aggregate, collapse_report, gaussian_kl


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed)).double()


def report(means: Tensor, log_variances: Tensor, seed: int = 0, **options: Any) -> CollapseReport:
    return collapse_report(means, log_variances, generator=generator(seed), **options)


def on_the_line(means: list[float], log_variances: list[float]) -> tuple[float, float]:
    """I(x; z) and KL(q(z)‖p(z)) of posteriors on the line, by the trapezoidal rule.

    It converges faster than any power for densities that are smooth and vanish at both ends.
    """
    z = torch.linspace(-14, 14, 40_001, dtype=torch.float64)[:, None]
    of_each = Normal(
        torch.tensor(means).double(), (0.5 * torch.tensor(log_variances).double()).exp()
    )
    log_each = of_each.log_prob(z)
    log_q = torch.logsumexp(log_each, -1) - math.log(len(means))
    log_p = Normal(torch.zeros(1).double(), 1.0).log_prob(z)[:, 0]
    information = (log_each.exp() * (log_each - log_q[:, None])).mean(-1)
    missing = log_q.exp() * (log_q - log_p)
    return tuple(float(torch.trapezoid(y, z[:, 0])) for y in (information, missing))  # type: ignore[return-value]


MEANS, LOG_VARIANCES = [-1.5, 0.2, 0.4, 2.0], [-2.0, 0.3, -1.0, -3.0]
LINE = (torch.tensor(MEANS)[:, None], torch.tensor(LOG_VARIANCES)[:, None])


class TestSplit:
    @pytest.mark.parametrize("draws", [128, 2048])
    def test_intervals_hold_the_truth(self, draws: int) -> None:
        truth = on_the_line(MEANS, LOG_VARIANCES)
        held = [0, 0]
        for seed in range(60):
            found = report(*LINE, seed=seed, draws=draws)
            for place, part in enumerate((found.mutual_information, found.aggregate_kl)):
                assert part.trusted
                held[place] += part.low <= truth[place] <= part.high
        # 95 % of 60 is 57; 52 or fewer come once in a hundred.
        assert min(held) >= 53

    @pytest.mark.parametrize("size", [1e-4, 0.3, 2.0])
    def test_the_parts_add_up_to_the_whole(self, size: float) -> None:
        means, log_variances = size * rand(300, 5), size * (rand(300, 5, seed=1) - 1)
        found = report(means, log_variances)
        told, missed = found.mutual_information, found.aggregate_kl
        assert float(told) + float(missed) == pytest.approx(found.rate, rel=1e-12)
        assert 0 < told.stderr == missed.stderr < 0.02 * found.rate
        assert min(float(told), float(missed)) > 0
        # Before, each was found by itself, and the sum compared.
        assert told.trusted
        assert missed.trusted

    def test_posteriors_all_alike_tell_nothing(self) -> None:
        means, log_variances = rand(1, 3).expand(50, 3), rand(1, 3, seed=1).expand(50, 3)
        found = report(means, log_variances)
        for part, exact in ((found.mutual_information, 0), (found.aggregate_kl, found.rate)):
            assert (float(part), part.low, part.high, part.stderr) == (exact, exact, exact, 0)
            assert part.trusted
        assert "I(x; z)  0 [0, 0] (95 %)" in str(found)
        assert "I(x; z) is 0 nats" in found.verdict
        assert found.variance_of_means.tolist() == pytest.approx([0] * 3, abs=1e-30)

    def test_posteriors_apart_tell_everything(self) -> None:
        means = 100 * torch.arange(8.0)[:, None]
        found = report(means, torch.zeros(8, 1))
        assert float(found.mutual_information) == pytest.approx(math.log(8), rel=1e-12)
        assert found.mutual_information.stderr < 1e-12
        assert float(found.aggregate_kl) == pytest.approx(found.rate - math.log(8), rel=1e-12)
        assert "near the limit" in found.verdict

    def test_the_prior_itself(self) -> None:
        found = report(torch.zeros(20, 4), torch.zeros(20, 4))
        assert found.rate == 0
        for part in (found.mutual_information, found.aggregate_kl):
            assert (float(part), part.low, part.high, part.stderr) == (0, 0, 0, 0)
            assert part.trusted
        assert "I(x; z)  0 [0, 0] (95 %)" in str(found)

    def test_narrow_posteriors_are_not_expanded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        means, log_variances = rand(40, 3), rand(40, 3, seed=1) - 2
        expanded = report(means, log_variances)
        monkeypatch.setattr(aggregate, "_CANCELS", 0.0)
        plain = report(means, log_variances)
        for name in ("mutual_information", "aggregate_kl"):
            found, expected = getattr(expanded, name), getattr(plain, name)
            assert float(found) == pytest.approx(float(expected), rel=1e-11)
        monkeypatch.undo()
        # σ = 1e-8 at a distance of 1: expanded, squares near 1e16 would cancel. What z tells does
        # not change when everything is scaled and moved.
        wide = report(means, torch.zeros(40, 3)).mutual_information
        narrow = report(1 + 1e-8 * means, torch.full((40, 3), 2 * math.log(1e-8)))
        found = narrow.mutual_information
        assert abs(float(found) - float(wide)) < 4 * math.hypot(found.stderr, wide.stderr)
        assert found.trusted

    def test_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        means, log_variances = rand(30, 2), rand(30, 2, seed=1)
        whole = report(means, log_variances, draws=100)
        monkeypatch.setattr(aggregate, "_BLOCK", 30 * 7)
        parts = report(means, log_variances, draws=100)
        # Draws come in another order; both are right.
        for name in ("mutual_information", "aggregate_kl"):
            one, other = getattr(whole, name), getattr(parts, name)
            assert other.evaluations == 100
            assert abs(float(one) - float(other)) < 4 * math.hypot(one.stderr, other.stderr)

    def test_what_the_draws_missed_is_told(self) -> None:
        means = torch.zeros(5000, 1)
        means[0] = 1e4
        found = report(means, torch.zeros(5000, 1), draws=20)
        assert not found.mutual_information.trusted
        assert "take more, draws=80" in found.mutual_information.diagnosis
        assert "Not to be trusted" in found.verdict


class TestExactPart:
    means, log_variances = rand(200, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0]), rand(200, 4, seed=1)

    def test_kl_of_each_dimension(self) -> None:
        found = report(self.means, self.log_variances)
        each = gaussian_kl(self.means, self.log_variances, reduction="none")
        assert torch.allclose(found.kl, each.mean(0), rtol=1e-13, atol=0)
        assert found.rate == pytest.approx(float(gaussian_kl(self.means, self.log_variances)))
        assert found.inputs == 200

    @pytest.mark.parametrize(("threshold", "active"), [(0.01, 2), (1e-4, 3), (0.5, 1), (9.0, 0)])
    def test_active_units(self, threshold: float, active: int) -> None:
        found = report(self.means, self.log_variances, threshold=threshold)
        assert found.active.tolist() == [True] * active + [False] * (4 - active)
        expected = [
            sum((x - sum(column) / 200) ** 2 for x in column) / 199
            for column in self.means.T.tolist()
        ]
        assert found.variance_of_means.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-30)

    def test_float32_and_latents_of_several_dimensions(self) -> None:
        narrow = [x.float() for x in (self.means, self.log_variances)]
        expected = report(*(x.double() for x in narrow))
        found = report(*(x.reshape(200, 2, 2).requires_grad_() for x in narrow))
        assert found.kl.tolist() == expected.kl.tolist()
        assert float(found.mutual_information) == float(expected.mutual_information)

    def test_the_same_seed_the_same_draws(self) -> None:
        first, again, other = (report(*LINE, seed=seed).aggregate_kl for seed in (3, 3, 4))
        assert float(first) == float(again) != float(other)


class TestVerdict:
    def test_collapsed(self) -> None:
        found = report(1e-3 * rand(100, 3), torch.zeros(100, 3))
        assert found.verdict.startswith("Collapsed: none of the 3 dimensions is active")
        assert "The others" not in found.verdict

    def test_what_idle_dimensions_cost(self) -> None:
        means = rand(300, 2) * torch.tensor([0.9, 0.0]) + torch.tensor([0.0, 1.0])
        found = report(means, torch.tensor([-1.6, 0.0]).expand(300, 2))
        assert found.verdict.startswith("1 of 2 dimensions is active and carries")
        assert "The others cost 0.5 nats" in found.verdict

    def test_a_prior_that_is_missed(self) -> None:
        found = report(rand(300, 2) * 0.3 + 3, torch.zeros(300, 2))
        assert "2 of 2 dimensions are active and carry 100 % of the KL" in found.verdict
        assert "aggregate posterior's distance from the prior" in found.verdict

    def test_too_few_inputs_are_told(self) -> None:
        """More inputs from one model move nats from KL(q(z)‖p(z)) to I(x; z)."""
        scales = torch.tensor([0.99, 0.98, 0.97])
        spread = (1 - scales**2).log()

        def of(inputs: int) -> CollapseReport:
            return report(rand(inputs, 3) * scales, spread.expand(inputs, 3))

        few, many = of(60), of(6000)
        # The means and the noise add up to the prior: I(x; z) is half of −log of the variances.
        exact = -0.5 * float(spread.sum())
        assert float(few.mutual_information) < exact - 1
        assert float(many.mutual_information) == pytest.approx(exact, abs=0.15)
        assert "near the limit" in few.verdict
        assert "distance from the prior" not in few.verdict
        assert "near the limit" not in many.verdict

    def test_narrow_posteriors_that_tell_without_being_active(self) -> None:
        found = report(0.05 * rand(300, 2), torch.full((300, 2), -9.0))
        assert not bool(found.active.any())
        assert found.verdict.startswith("No dimension is active, yet z tells inputs apart")


class TestShown:
    found = report(
        rand(300, 20) * torch.linspace(0, 1, 20), torch.linspace(0, -3, 20).expand(300, 20)
    )

    def test_text_fits_a_terminal_and_says_the_numbers(self) -> None:
        lines = str(self.found).splitlines()
        assert max(len(line) for line in lines) <= 80
        assert all(line == line.rstrip() for line in lines)
        assert lines[0] == "300 posteriors of 20 dimensions, KL in nats"
        # The longest bar is of the dimension that costs most.
        assert lines[3].split()[0] == str(int(self.found.kl.argmax()))
        assert lines[3].endswith("█" * 40)
        still = int(self.found.active[self.found.kl.argsort()[:4]].sum())
        assert lines[3 + 16].startswith(f"and 4 more, {still} of them active")
        assert str(self.found.mutual_information) in str(self.found)
        assert self.found.verdict.split(". ")[0] in " ".join(str(self.found).split())

    def test_dictionary_is_json(self) -> None:
        told = json.loads(json.dumps(self.found.to_dict()))
        assert told["kl"] == self.found.kl.tolist()
        assert told["mutual_information"]["mean"] == float(self.found.mutual_information)

    def test_figure_shows_every_dimension_once(self) -> None:
        pytest.importorskip("plotly")
        active, idle, split = self.found.plot().data
        shown = {int(d): y for bars in (active, idle) for (d, _), y in zip(bars.customdata, bars.y, strict=True)}  # fmt: skip  # noqa: E501
        assert shown == dict(enumerate(self.found.kl.tolist()))
        assert len(active.y) == int(self.found.active.sum())
        information = self.found.mutual_information
        assert split.y[1] == float(information)
        assert split.error_y.array[1] == pytest.approx(information.high - information.value)

    def test_a_single_collapsed_dimension_prints_and_draws(self) -> None:
        found = report(torch.zeros(5, 1), torch.zeros(5, 1))
        assert "inactive" in str(found)
        found.plot()

    def test_without_plotly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "plotly.subplots", None)
        with pytest.raises(MissingExtra, match=r"kullback\[plot\]"):
            self.found.plot()

    def test_one_minus_sign(self) -> None:
        """A table, two intervals and a verdict: one character for what they have in common."""
        text = str(report(1e-4 * rand(50, 2), torch.zeros(50, 2)))
        assert text.count("e-") > 5
        assert "\N{MINUS SIGN}" not in text


class TestRefusals:
    x = torch.zeros(5, 2)

    @pytest.mark.parametrize(
        ("mean", "log_variance"), [(0, 800), (0, -800), (0, 1e300), (1e200, 0), (1e160, 0)]
    )
    def test_beyond_float64(self, mean: float, log_variance: float) -> None:
        means, log_variances = self.x.double().clone(), self.x.double().clone()
        means[3, 1], log_variances[3, 1] = mean, log_variance
        with pytest.raises(NonFiniteError, match="of input 3, dimension 1 are too far out"):
            collapse_report(means, log_variances)

    def test_a_sum_beyond_float64(self) -> None:
        with pytest.raises(NonFiniteError, match="of input 0, dimension 0 are too far out"):
            collapse_report(self.x.double() + 1.2e154, self.x)

    def test_everything_shifted(self) -> None:
        with pytest.raises(NonFiniteError, match=r"log-variance 800 of input 0, dimension 0"):
            collapse_report(rand(5, 2), self.x.double() + 800)

    @pytest.mark.parametrize("log_variance", [-700.0, 700.0])
    def test_at_the_ends_of_float64_it_answers(self, log_variance: float) -> None:
        found = collapse_report(self.x.double(), self.x.double() + log_variance)
        assert math.isfinite(found.rate)
        assert math.isfinite(float(found.mutual_information))

    @pytest.mark.parametrize(
        ("means", "log_variances"),
        [
            (torch.zeros(5, 2), torch.zeros(5, 1)),
            (torch.zeros(1, 2), torch.zeros(1, 2)),
            (torch.zeros(5), torch.zeros(5)),
            (torch.zeros(5, 0), torch.zeros(5, 0)),
        ],
    )
    def test_shapes(self, means: Tensor, log_variances: Tensor) -> None:
        with pytest.raises(ShapeError, match=r"\[N, latents\]"):
            collapse_report(means, log_variances)

    def test_numbers(self) -> None:
        with pytest.raises(DtypeError, match="means is of"):
            collapse_report(self.x.long(), self.x)
        wrong = self.x.clone()
        wrong[3, 1] = -torch.inf
        with pytest.raises(NonFiniteError, match="log_variances is -inf for input 3, dimension 1"):
            collapse_report(self.x, wrong)

    @pytest.mark.parametrize(
        "options",
        [
            {"threshold": -1.0},
            {"threshold": math.nan},
            {"threshold": "a"},
            {"draws": 1},
            {"draws": 10.5},
            {"draws": True},
            {"confidence": 1.0},
            {"confidence": "a"},
        ],
    )
    def test_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"{next(iter(options))}="):
            collapse_report(self.x, self.x, **options)
