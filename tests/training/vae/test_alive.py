"""What keeps the latent alive: free bits, balancing and capacity, against their definitions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kullback import kl_divergence
from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.vae import FreeBits, balanced_kl, capacity_loss, gaussian_kl


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


KL = rand(5, 6).square()


def floors(kl: Tensor, nats: float, groups: list[list[int]], over: str) -> float:
    """Σ_groups max(nats, ·), a loop as the paper writes it."""
    total = 0.0
    for group in groups:
        each = [float(row[group].sum()) for row in kl]
        if over == "batch":
            total += max(nats, sum(each) / len(each))
        else:
            total += sum(max(nats, x) for x in each) / len(each)
    return total


GROUPS: dict[str, tuple[dict[str, Any], list[list[int]]]] = {
    "dimension": ({}, [[i] for i in range(6)]),
    "two groups": ({"per": "group", "groups": 2}, [[0, 1, 2], [3, 4, 5]]),
    "sizes": ({"per": "group", "groups": [1, 3, 2]}, [[0], [1, 2, 3], [4, 5]]),
    "all": ({"per": "all"}, [list(range(6))]),
}


@pytest.mark.parametrize("over", ["batch", "sample"])
@pytest.mark.parametrize("case", GROUPS)
class TestFreeBits:
    @pytest.mark.parametrize("nats", [0.0, 0.3, 0.9, 2.5, 50.0])
    def test_is_the_sum_of_the_floors(self, case: str, over: Any, nats: float) -> None:
        options, groups = GROUPS[case]
        found = FreeBits(nats, over=over, **options)(KL)
        assert float(found) == pytest.approx(floors(KL, nats, groups, over), rel=1e-13)

    def test_below_the_floor_nothing_pulls(self, case: str, over: Any) -> None:
        options, groups = GROUPS[case]
        kl = KL.clone().requires_grad_()
        nats = 0.9 if case != "all" else 6.0
        FreeBits(nats, over=over, **options)(kl).backward()
        for group in groups:
            each = KL[:, group].sum(1)
            above = (each if over == "sample" else each.mean().expand(5)) > nats
            expected = (above.double() / 5)[:, None].expand(5, len(group))
            assert torch.allclose(kl.grad[:, group], expected, rtol=1e-13, atol=0)  # type: ignore[index]

    def test_leading_dimensions_are_samples(self, case: str, over: Any) -> None:
        free = FreeBits(0.5, over=over, **GROUPS[case][0])
        kl = rand(2, 3, 6, seed=1).square()
        assert torch.allclose(free(kl), free(kl.reshape(6, 6)), rtol=1e-14, atol=0)

    def test_nan_is_not_below_the_floor(self, case: str, over: Any) -> None:
        kl = KL.clone()
        kl[0, 0] = torch.nan
        term = FreeBits(9.0, over=over, **GROUPS[case][0])
        assert bool(term(kl, validate=False).isnan())
        with pytest.raises(NonFiniteError, match=r"kl\[0, 0\] is nan"):
            term(kl)


class TestFreeBitsAlone:
    def test_without_a_floor_it_is_the_kl(self) -> None:
        mean, v = rand(4, 3), rand(4, 3, seed=1)
        found = FreeBits(0.0)(gaussian_kl(mean, v, reduction="none"))
        assert float(found) == pytest.approx(float(gaussian_kl(mean, v)), rel=1e-13)

    @given(st.floats(0, 3))
    def test_each_sample_by_itself_is_never_below(self, nats: float) -> None:
        """max is convex: the mean of maxima is at least the maximum of the mean."""
        batch, sample = (float(FreeBits(nats, over=over)(KL)) for over in ("batch", "sample"))
        assert sample >= batch * (1 - 1e-14)

    def test_half_precision_is_summed_in_float32(self) -> None:
        found = FreeBits(0.0)(torch.full((1, 5000), 0.5, dtype=torch.float16))
        assert found.dtype == torch.float32
        assert float(found) == 2500

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"nats": -1.0}, "nats=-1.0"),
            ({"nats": 1.0, "per": "unit"}, "per='unit'"),
            ({"nats": 1.0, "per": "group"}, "groups= goes with"),
            ({"nats": 1.0, "groups": 2}, "groups= goes with"),
            ({"nats": 1.0, "per": "group", "groups": [0, 2]}, "at least one dimension"),
            ({"nats": 1.0, "per": "group", "groups": []}, "at least one dimension"),
            ({"nats": 1.0, "over": "time"}, "over='time'"),
            ({"nats": "a"}, "nats='a' is of type str"),
            ({"nats": float("nan")}, "nats=nan"),
            ({"nats": True}, "nats=True is of type bool"),
            (
                {"nats": 1.0, "per": "group", "groups": 2.5},
                "groups=2.5 is of type float: it must be a whole",
            ),
            ({"nats": 1.0, "per": "group", "groups": [1, 2.0]}, "groups=2.0 is of type float"),
        ],
    )
    def test_options(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            FreeBits(**options)

    @pytest.mark.parametrize("groups", [3, [1, 3, 2]])
    def test_numbers_of_numpy_are_plain_ones(self, groups: Any) -> None:
        counted = np.array(groups)
        of_numpy = list(counted) if counted.ndim else counted[()]
        free = FreeBits(np.float32(0.5), per="group", groups=of_numpy)  # type: ignore[arg-type]
        plain = FreeBits(0.5, per="group", groups=groups)
        assert torch.equal(free(KL), plain(KL))
        assert free == plain
        assert hash(free) == hash(plain)

    def test_shapes(self) -> None:
        with pytest.raises(ShapeError, match='reduction="none"'):
            FreeBits(1.0)(torch.tensor(3.0))
        with pytest.raises(ShapeError, match="do not divide into 4"):
            FreeBits(1.0, per="group", groups=4)(KL)
        with pytest.raises(ShapeError, match="of 5 dimensions, and kl has 6"):
            FreeBits(1.0, per="group", groups=[2, 3])(KL)
        with pytest.raises(DtypeError, match="int64"):
            FreeBits(1.0)(KL.long())


def leaves(seed: int) -> tuple[Tensor, Tensor]:
    return rand(4, 3, seed=seed).requires_grad_(), rand(4, 3, seed=seed + 1).requires_grad_()


def by_stopping(kl: Any, q: Any, p: Any, weights: tuple[float, float]) -> Tensor:
    """The sum of two terms with stopped gradients, as the papers write it."""
    stopped_q, stopped_p = [x.detach() for x in q], [x.detach() for x in p]
    return weights[0] * kl(*stopped_q, *p) + weights[1] * kl(*q, *stopped_p)


class TestBalance:
    @pytest.mark.parametrize("balance", [0.0, 0.2, 0.5, 0.8, 1.0])
    def test_is_the_sum_with_stopped_gradients(self, balance: float) -> None:
        q, p = leaves(0), leaves(2)
        found = balanced_kl(gaussian_kl, q, p, balance=balance)
        assert torch.equal(found, gaussian_kl(*q, *p))
        expected = by_stopping(gaussian_kl, q, p, (balance, 1 - balance))
        for one, other in zip(
            torch.autograd.grad(found, (*q, *p)),
            torch.autograd.grad(expected, (*q, *p)),
            strict=True,
        ):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-15)

    def test_categorical_latents_with_impossible_classes(self) -> None:
        kl = partial(kl_divergence, space="logits")
        q, p = rand(5, 4).requires_grad_(), rand(5, 4, seed=1)
        p[:, 0] = -torch.inf
        q.data[:, 0] = -torch.inf
        p.requires_grad_()
        found = balanced_kl(kl, [q], [p]).sum()
        expected = by_stopping(kl, [q], [p], (0.8, 0.2)).sum()
        assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-13)
        for one, other in zip(
            torch.autograd.grad(found, (q, p)), torch.autograd.grad(expected, (q, p)), strict=True
        ):
            assert bool(one.isfinite().all())
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("size", [0.1, 3.0])
    def test_dreamer_v3_is_a_composition(self, size: float) -> None:
        """As the docstring says: below a nat nothing moves, above it 0.5 and 0.1."""
        q, p = ([x.detach().mul(size).requires_grad_() for x in leaves(i)] for i in (0, 2))
        each = partial(gaussian_kl, reduction="none")
        free = FreeBits(1.0, per="all", over="sample")
        found = 0.6 * free(balanced_kl(each, q, p, balance=5 / 6))

        def floored(*sides: Tensor) -> Tensor:
            return gaussian_kl(*sides, reduction="per_sample").clamp(min=1.0).mean()

        expected = by_stopping(floored, q, p, (0.5, 0.1))
        assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-13)
        for one, other in zip(
            torch.autograd.grad(found, (*q, *p)),
            torch.autograd.grad(expected, (*q, *p)),
            strict=True,
        ):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-15)
            assert bool((one != 0).any()) is (size > 1)

    @pytest.mark.parametrize("balance", ["x", True, None])
    def test_the_share_is_a_number(self, balance: Any) -> None:
        with pytest.raises(InputError, match=f"balance={balance!r} is of type"):
            balanced_kl(gaussian_kl, leaves(0), leaves(2), balance=balance)

    def test_parameters_come_in_a_tuple(self) -> None:
        q, p = leaves(0), leaves(2)
        # Of two rows each, which are as many as there are parameters.
        with pytest.raises(InputError, match=r"posterior is a Tensor: .*\(mean, log_variance\)"):
            balanced_kl(gaussian_kl, q[0][:2], p[0][:2])  # type: ignore[arg-type]
        with pytest.raises(InputError, match="prior is a NoneType"):
            balanced_kl(gaussian_kl, q, None)  # type: ignore[arg-type]
        with pytest.raises(DtypeError, match=r"prior\[1\] is of float"):
            balanced_kl(gaussian_kl, q, (p[0], 0.0))  # type: ignore[arg-type]
        learned = torch.nn.ParameterList([x.detach() for x in p])
        assert torch.equal(balanced_kl(gaussian_kl, q, learned), gaussian_kl(*q, *p))  # type: ignore[arg-type]

    @pytest.mark.parametrize("balance", [-0.1, 1.1, float("nan")])
    def test_the_share_is_one(self, balance: float) -> None:
        with pytest.raises(InputError, match="lies between 0 and 1"):
            balanced_kl(gaussian_kl, leaves(0), leaves(2), balance=balance)


class TestCapacity:
    @pytest.mark.parametrize(("kl", "loss", "slope"), [(3.0, 20.0, -10.0), (7.5, 25.0, 10.0)])
    def test_pulls_from_both_sides(self, kl: float, loss: float, slope: float) -> None:
        x = torch.tensor(kl, requires_grad=True)
        found = capacity_loss(x, 5.0, weight=10.0)
        found.backward()
        assert float(found.detach()) == loss
        assert float(x.grad) == slope  # type: ignore[arg-type]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_widened(self, dtype: torch.dtype) -> None:
        x = torch.tensor(300.0, dtype=dtype, requires_grad=True)
        found = capacity_loss(x, 5.0)
        assert found.dtype == torch.float32
        # 295,000 is beyond float16, and between the numbers of bfloat16.
        assert float(found.detach()) == 295_000
        (slope,) = torch.autograd.grad(found, x)
        assert float(slope) == float(torch.tensor(1000.0, dtype=dtype))

    def test_numbers_of_numpy(self) -> None:
        x = torch.tensor(3.0, requires_grad=True)
        found = capacity_loss(x, np.float32(5.0), weight=np.float32(10.0))  # type: ignore[arg-type]
        assert found.requires_grad
        assert float(found.detach()) == 20

    def test_refusals(self) -> None:
        with pytest.raises(ShapeError, match="the mean over samples"):
            capacity_loss(torch.ones(3), 5.0)
        for options in ({"capacity": -1.0}, {"capacity": 1.0, "weight": float("inf")}):
            with pytest.raises(InputError, match="finite and at least 0"):
                capacity_loss(torch.tensor(1.0), **options)


def test_a_capacity_is_held_against_one_number() -> None:
    with pytest.raises(DtypeError, match="kl is of float"):
        capacity_loss(3.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match="kl is nan"):
        capacity_loss(torch.tensor(float("nan")), 1.0)
    assert capacity_loss(torch.tensor(float("nan")), 1.0, validate=False).isnan()
    with pytest.raises(NonFiniteError, match="capacity=nan"):
        capacity_loss(torch.tensor(3.0), float("nan"))
    with pytest.raises(InputError, match="weight='a' is of type str"):
        capacity_loss(torch.tensor(3.0), 1.0, weight="a")  # type: ignore[arg-type]
