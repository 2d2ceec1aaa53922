"""The penalties' rules as the papers have them, their state, and their means over processes."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.training.policy import AdaptiveKL, PPOPenalty

BOTH: Any = pytest.mark.parametrize("kind", [AdaptiveKL, PPOPenalty])


class TestAdaptiveKL:
    # β = 2, target 10, samples/horizon = 0.1, which is the paper's K_β; e is clipped at ±0.2.
    @pytest.mark.parametrize(
        ("kl", "expected"),
        [
            (10.0, 2.0),
            (11.0, 2 * (1 + 0.1 * 0.1)),
            (9.5, 2 * (1 - 0.1 * 0.05)),
            (12.0, 2 * (1 + 0.1 * 0.2)),
            (1e9, 2 * (1 + 0.1 * 0.2)),
            (0.0, 2 * (1 - 0.1 * 0.2)),
            (-3.0, 2 * (1 - 0.1 * 0.2)),
        ],
    )
    def test_the_rule(self, kl: float, expected: float) -> None:
        penalty = AdaptiveKL(2.0, 10.0, horizon=5000)
        found = penalty.step(kl, samples=500)
        assert found.coefficient == pytest.approx(expected, rel=1e-14)
        assert (found.target, found.horizon, found.clip) == (10, 5000, 0.2)
        assert penalty.coefficient == 2

    def test_another_clip_is_kept(self) -> None:
        found = AdaptiveKL(2.0, 10.0, horizon=10, clip=0.5).step(1e9, 1).step(1e9, 1)
        assert found.coefficient == pytest.approx(2 * 1.05**2, rel=1e-14)

    def test_samples_have_to_be_said(self) -> None:
        """One sample of 10,000 would leave the coefficient where it is, whatever the KL."""
        with pytest.raises(TypeError, match="samples"):
            AdaptiveKL(1.0, 1.0).step(5.0)  # type: ignore[call-arg]

    def test_a_horizon_of_samples_above_the_target(self) -> None:
        penalty = AdaptiveKL(1.0, 1.0, horizon=1000)
        for _ in range(1000):
            penalty = penalty.step(5.0, samples=1)
        # (1 + 0.2/1000)^1000 is e^0.2 less 0.2²/2000 of it.
        assert penalty.coefficient == pytest.approx(math.exp(0.2), rel=3e-5)

    def test_it_brings_a_kl_to_its_target(self) -> None:
        """A policy whose KL under β is 1/β² (the exponent is unknown to the controller)."""
        penalty = AdaptiveKL(5.0, 0.3, horizon=1000)
        for _ in range(2000):
            penalty = penalty.step(penalty.coefficient**-2, samples=100)
        assert penalty.coefficient**-2 == pytest.approx(0.3, rel=1e-6)

    def test_more_samples_than_the_horizon_can_take(self) -> None:
        penalty = AdaptiveKL(1.0, 1.0, horizon=100)
        with pytest.raises(InputError, match=r"samples=500 of a horizon of 100"):
            penalty.step(0.0, samples=500)
        assert penalty.step(0.0, samples=499).coefficient > 0


class TestPPOPenalty:
    @pytest.mark.parametrize(
        ("kl", "expected"),
        [
            (0.0, 1.5),
            (0.0133, 1.5),
            (0.0134, 3.0),
            (0.02, 3.0),
            (0.0299, 3.0),
            (0.0301, 6.0),
            (4.0, 6.0),
        ],
    )
    def test_the_rule(self, kl: float, expected: float) -> None:
        penalty = PPOPenalty(3.0, 0.02)
        assert penalty.step(kl).coefficient == expected
        assert penalty.coefficient == 3

    def test_other_ratios(self) -> None:
        penalty = PPOPenalty(1.0, 1.0, band=3.0, factor=10.0)
        assert [penalty.step(kl).coefficient for kl in (0.3, 0.4, 2.9, 3.1)] == [0.1, 1, 1, 10]
        assert penalty.step(3.1).step(2.9).step(3.1).coefficient == 100

    @pytest.mark.parametrize("name", ["band", "factor"])
    def test_ratios_are_above_1(self, name: str) -> None:
        with pytest.raises(InputError, match=f"{name}=1"):
            PPOPenalty(1.0, 1.0, **{name: 1.0})

    def test_a_coefficient_beyond_floats_is_an_error(self) -> None:
        with pytest.raises(InputError, match="coefficient=inf"):
            PPOPenalty(1e308, 1.0).step(2.0)
        with pytest.raises(InputError, match=r"coefficient=0\.0"):
            PPOPenalty(5e-324, 1.0).step(0.0)


@BOTH
class TestBoth:
    def test_saved_and_back(self, kind: Any, tmp_path: Path) -> None:
        penalty = kind(0.3, 6.0).step(20.0, samples=7)
        torch.save(penalty.state_dict(), tmp_path / "penalty.pt")
        assert kind.from_state_dict(torch.load(tmp_path / "penalty.pt")) == penalty
        assert kind.from_state_dict(json.loads(json.dumps(penalty.state_dict()))) == penalty

    def test_a_state_of_something_else(self, kind: Any) -> None:
        state = kind(0.3, 6.0).state_dict()
        with pytest.raises(InputError, match="coefficient"):
            kind.from_state_dict({**state, "beta": 1.0})
        del state["target"]
        with pytest.raises(InputError, match="target"):
            kind.from_state_dict(state)

    def test_nothing_changes_in_place(self, kind: Any) -> None:
        penalty = kind(0.3, 6.0)
        with pytest.raises(FrozenInstanceError):
            penalty.coefficient = 1.0

    def test_tensors_are_read_and_let_go(self, kind: Any) -> None:
        kl = torch.tensor(20.0, requires_grad=True)
        found = kind(0.3, 6.0).step(kl, samples=4)
        assert type(found.coefficient) is float
        assert found == kind(0.3, 6.0).step(20.0, samples=4)
        assert found == kind(0.3, 6.0).step(kl, samples=torch.tensor([1, 1, 0, 1, 1]).sum())
        with pytest.raises(ShapeError, match=r"\(2,\)"):
            kind(0.3, 6.0).step(torch.ones(2), 4)

    @pytest.mark.parametrize("kl", [math.nan, math.inf, -math.inf])
    def test_a_kl_that_is_no_number(self, kind: Any, kl: float) -> None:
        with pytest.raises(NonFiniteError, match="the mean KL is"):
            kind(0.3, 6.0).step(kl, 4)

    @pytest.mark.parametrize("samples", [0, -1, math.nan, math.inf])
    def test_samples_that_are_no_number(self, kind: Any, samples: float) -> None:
        with pytest.raises(InputError, match="samples="):
            kind(0.3, 6.0).step(1.0, samples=samples)

    @pytest.mark.parametrize("wrong", ["9", True, None, [1.0]])
    def test_what_is_no_plain_number(self, kind: Any, wrong: Any) -> None:
        with pytest.raises(InputError, match="kl="):
            kind(0.3, 6.0).step(wrong, 4)
        with pytest.raises(InputError, match="samples="):
            kind(0.3, 6.0).step(1.0, wrong)
        with pytest.raises(InputError, match="a state of"):
            kind.from_state_dict(wrong)

    @pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
    def test_numbers_are_positive(self, kind: Any, wrong: float) -> None:
        with pytest.raises(InputError, match="coefficient="):
            kind(wrong, 6.0)
        with pytest.raises(InputError, match="target="):
            kind(0.3, wrong)

    @pytest.mark.parametrize("wrong", ["a", None, True, [0.1], torch.tensor(0.1)])
    def test_numbers_are_numbers(self, kind: Any, wrong: Any) -> None:
        with pytest.raises(InputError, match=r"coefficient=.*plain number"):
            kind(wrong, 6.0)
        with pytest.raises(InputError, match="target="):
            kind.from_state_dict({**kind(0.3, 6.0).state_dict(), "target": wrong})

    def test_whole_numbers_become_floats(self, kind: Any) -> None:
        assert {type(x) for x in kind(1, 6).state_dict().values()} == {float}


# The mean over all samples is (1·6 + 3·14)/4 = 12; alone the processes would part, and the mean
# of their means, 10, would leave both coefficients as they are.
SHARES = ((6.0, 1), (14.0, 3))


def _one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    kl, samples = SHARES[rank]
    adaptive = AdaptiveKL(1.0, 10.0, horizon=40).step(torch.tensor(kl), samples)
    ppo = PPOPenalty(1.0, 10.0, band=1.1).step(kl, samples)
    errors = []
    # What is wrong in one process is an error in both, and neither waits for the other.
    for bad in ((math.nan, 1), (1.0, 0), (torch.ones(2), 1), ("a", 1), (1.0, None)):
        try:
            adaptive.step(*(bad if rank else (1.0, 1)))
        except InputError as error:
            errors.append(type(error).__name__)
    torch.save((adaptive.state_dict(), ppo.state_dict(), errors), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_take_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The processes import this file by the name that pytest gave it.
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    torch.multiprocessing.spawn(_one_process, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    (adaptive, ppo, errors), (*same, theirs) = found
    assert same == [adaptive, ppo]
    assert adaptive["coefficient"] == pytest.approx(1 + 0.2 * 4 / 40, rel=1e-14)
    assert ppo["coefficient"] == 2
    assert errors == ["NonFiniteError", *4 * ["InputError"]]
    assert theirs == ["NonFiniteError", "InputError", "ShapeError", "InputError", "InputError"]
