"""The KL of diagonal Gaussians against the formula in 40 digits, near equality and far from it."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.vae import gaussian_kl
from kullback.training.vae.gaussian import each_gaussian_kl
from kullback.training.vae.reductions import reduce_latents

Parameters = tuple[Tensor, ...]

MEANS = (0.0, 1e-6, -1e-3, 0.05, 0.7, -3.0, 30.0)
LOG_VARIANCES = (
    0.0,
    3e-7,
    -1.4e-6,
    1e-4,
    -0.02,
    0.34,
    0.36,
    -0.36,
    -1.0,
    2.5,
    -20.0,
    20.3,
    47.3,
    80.0,
)
# What is left of float32 after five roundings, and of float64.
RTOL = {torch.float32: 1e-6, torch.float64: 4e-15}


def rand(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def against_standard(dtype: torch.dtype) -> Parameters:
    """Every mean with every log-variance."""
    return tuple(torch.tensor(list(product(MEANS, LOG_VARIANCES)), dtype=dtype).T)


def against_prior(dtype: torch.dtype) -> Parameters:
    """The same, moved by a prior of any width; near it, as far as rounding lets them be."""
    rows = [
        (nu + math.exp(0.5 * w) * mu, w + v, nu, w)
        for mu, v in product(MEANS, LOG_VARIANCES)
        for nu, w in ((0.0, 1e-3), (0.3, -0.01234567), (-2.0, -5.3), (1.5, 13.7), (0.1, -41.1))
        if v + w < 80
    ]
    return tuple(torch.tensor(rows, dtype=dtype).T)


CASES = {"standard": against_standard, "prior": against_prior}


@mp.workdps(50)
def truth(mean: float, v: float, prior_mean: float = 0.0, w: float = 0.0) -> list[Any]:
    """KL and its derivatives in the four parameters, exact for the numbers as stored."""
    mean, v, prior_mean, w = (mp.mpf(x) for x in (mean, v, prior_mean, w))
    apart, over = (mean - prior_mean) * mp.exp(-w), mp.expm1(v - w)
    square = apart * (mean - prior_mean)
    return [(over - (v - w) + square) / 2, apart, over / 2, -apart, -(over + square) / 2]


def leaves(parameters: Parameters) -> list[Tensor]:
    return [x.detach().clone().requires_grad_() for x in parameters]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("case", CASES)
class TestTruth:
    def test_value(self, case: str, dtype: torch.dtype) -> None:
        parameters = CASES[case](dtype)
        found = gaussian_kl(*parameters, reduction="none", latent_dims=0)
        smallest = math.inf
        for value, *row in zip(found.tolist(), *(x.tolist() for x in parameters), strict=True):
            expected = truth(*row)[0]
            assert abs(value - expected) <= RTOL[dtype] * expected, row
            smallest = min(smallest, float(expected) or math.inf)
        assert smallest < 1e-12

    def test_value_by_the_formula(self, case: str, dtype: torch.dtype) -> None:
        """What answers where the loop cannot."""
        parameters = CASES[case](dtype)
        found = each_gaussian_kl(*parameters, *(None,) * (4 - len(parameters)))  # type: ignore[call-arg]
        for value, *row in zip(found.tolist(), *(x.tolist() for x in parameters), strict=True):
            expected = truth(*row)[0]
            assert abs(value - expected) <= RTOL[dtype] * expected, row

    def test_gradient(self, case: str, dtype: torch.dtype) -> None:
        parameters = leaves(CASES[case](dtype))
        gaussian_kl(*parameters, reduction="sum", latent_dims=0).backward()
        columns = [x.tolist() for x in parameters]
        gradients = [x.grad.tolist() for x in parameters]  # type: ignore[union-attr]
        for place, row in enumerate(zip(*columns, strict=True)):
            _, *expected = truth(*row)
            # The last is −∂v less half of a square: where the two cancel, it is as exact as they.
            sizes = [abs(x) for x in expected[:3]] + [2 * abs(expected[1]) + abs(expected[3])]
            for gradient, value, size in zip(gradients, expected, sizes, strict=False):
                assert abs(gradient[place] - value) <= RTOL[dtype] * size, row


@pytest.mark.parametrize(
    "row", [(1e-40, -200.0, 0.0, -199.0), (1e-20, -180.0, 0.0, -180.0), (3e-12, -94.7, 0.0, -95.0)]
)
def test_tiny_distances_in_tiny_deviations(row: tuple[float, ...]) -> None:
    """Where 1/τ² is beyond float32 and the KL is not."""
    parameters = tuple(torch.tensor([x]) for x in row)
    expected = float(truth(*(float(x) for x in parameters))[0])
    for found in (gaussian_kl(*parameters), each_gaussian_kl(*parameters)):
        # A number below 1e-38 has few digits of its own.
        assert float(found) == pytest.approx(expected, rel=2e-6)


def test_the_usual_formula_has_lost_what_ours_keeps() -> None:
    """Else the cases above would prove nothing."""
    mean, v = against_standard(torch.float32)
    usual = 0.5 * (v.exp() + mean**2 - 1 - v)
    expected = torch.tensor([float(truth(*row)[0]) for row in zip(mean.tolist(), v.tolist())])  # noqa: B905
    near = (expected > 0) & (expected < 1e-7)
    assert float(((usual - expected).abs() / expected)[near].median()) > 0.5


def test_far_from_equality_it_is_torch_s() -> None:
    mean, v, nu, w = (rand(50, seed=i) for i in range(4))
    p, q = Normal(mean, (0.5 * v).exp()), Normal(nu, (0.5 * w).exp())
    expected = torch.distributions.kl_divergence(p, q)
    found = gaussian_kl(mean, v, nu, w, reduction="none")
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)


class TestEquality:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_is_zero_with_a_zero_gradient(self, dtype: torch.dtype) -> None:
        mean, v = rand(9, 5, scale=5).to(dtype), rand(9, 5, seed=1, scale=5).to(dtype)
        parameters = leaves((mean, v, mean, v))
        found = gaussian_kl(*parameters, reduction="none")
        found.sum().backward()
        assert bool((found == 0).all())
        assert all(bool((x.grad == 0).all()) for x in parameters)  # type: ignore[union-attr]

    def test_the_curvature_there_is_fisher_s(self) -> None:
        """diag(1/σ², ½): what a trust region is made of."""
        v = torch.tensor([-1.0], dtype=torch.float64)
        old = torch.tensor([0.3], dtype=torch.float64)

        def kl(x: Tensor) -> Tensor:
            return gaussian_kl(old, v, x[:1], x[1:], reduction="sum")

        hessian = torch.autograd.functional.hessian(kl, torch.cat([old, v]))
        expected = torch.diag(torch.tensor([math.exp(1.0), 0.5], dtype=torch.float64))
        assert torch.allclose(hessian, expected, rtol=1e-12, atol=0)  # type: ignore[arg-type]

    @given(st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4))
    def test_never_negative(self, row: list[float]) -> None:
        x = torch.tensor(row, dtype=torch.float32)
        assert float(gaussian_kl(*x.unsqueeze(-1), reduction="sum")) >= 0
        near = x.nextafter(torch.tensor(torch.inf))
        assert float(gaussian_kl(x[:1], x[1:2], near[:1], near[1:2], reduction="sum")) >= 0


class TestReductions:
    mean, v = rand(3, 4, 5), rand(3, 4, 5, seed=1)
    each = gaussian_kl(mean, v, reduction="none")

    @pytest.mark.parametrize(
        ("reduction", "latent_dims", "divisor"),
        [
            ("mean_over_samples", 1, 12),
            ("mean_over_samples", 2, 3),
            ("mean_over_samples", 3, 1),
            ("mean_over_all", 1, 60),
            ("sum", 1, 1),
            (7.0, 1, 7),
            (torch.tensor(7), 2, 7),
        ],
    )
    def test_divide_by_what_they_say(self, reduction: Any, latent_dims: int, divisor: int) -> None:
        found = gaussian_kl(self.mean, self.v, reduction=reduction, latent_dims=latent_dims)
        assert torch.allclose(found, self.each.sum() / divisor, rtol=1e-12, atol=0)

    @pytest.mark.parametrize(("latent_dims", "over"), [(0, ()), (1, (2,)), (2, (1, 2))])
    def test_per_sample(self, latent_dims: int, over: tuple[int, ...]) -> None:
        found = gaussian_kl(self.mean, self.v, reduction="per_sample", latent_dims=latent_dims)
        assert torch.allclose(found, self.each.sum(over) if over else self.each, rtol=1e-12, atol=0)

    def test_broadcasting_counts_what_it_makes(self) -> None:
        v = self.v[0, 0]
        found = gaussian_kl(self.mean, v)
        assert torch.allclose(found, gaussian_kl(self.mean, v.expand(3, 4, 5)), rtol=1e-12, atol=0)
        prior = self.mean[:, :1]
        found = gaussian_kl(self.mean, v, prior, None, reduction="none")
        whole = gaussian_kl(self.mean - prior, v.expand(3, 4, 5), reduction="none")
        assert torch.allclose(found, whole, rtol=1e-12, atol=0)

    def test_one_sided_priors(self) -> None:
        zero = torch.zeros(5, dtype=torch.float64)
        w = self.v[0, 1]
        found = gaussian_kl(self.mean, self.v, None, w)
        assert torch.allclose(found, gaussian_kl(self.mean, self.v, zero, w), rtol=1e-12, atol=0)
        found = gaussian_kl(self.mean, self.v, w, None)
        assert torch.allclose(found, gaussian_kl(self.mean, self.v, w, zero), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_and_summed_in_float32(dtype: torch.dtype) -> None:
    # A sum of 40,000 of these in the dtype itself would stop at 256, or overflow.
    mean, v = rand(400, 100, scale=2).to(dtype), rand(400, 100, seed=1).to(dtype)
    parameters = leaves((mean, v))
    found = gaussian_kl(*parameters, reduction="sum")
    found.backward()
    whole = leaves((mean.double(), v.double()))
    expected = gaussian_kl(*whole, reduction="sum")
    expected.backward()
    assert found.dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    for half, double in zip(parameters, whole, strict=True):
        assert half.grad.dtype == dtype  # type: ignore[union-attr]
        # Each gradient is rounded to the dtype once.
        assert torch.allclose(
            half.grad.double(), double.grad, rtol=torch.finfo(dtype).eps, atol=1e-7  # type: ignore[arg-type,union-attr]
        )  # fmt: skip


def test_beyond_the_dtype_it_is_infinite_and_says_nothing_wrong() -> None:
    v = torch.tensor([[100.0], [-torch.inf]])
    assert gaussian_kl(torch.zeros(2, 1), v, reduction="none").tolist() == [[math.inf]] * 2


def test_every_way_of_differentiating_finds_the_same() -> None:
    parameters = [rand(6, seed=i) for i in range(4)]

    def kl(*parameters: Tensor) -> Tensor:
        return gaussian_kl(*parameters, reduction="sum")

    places = (0, 1, 2, 3)
    reverse = torch.autograd.functional.hessian(kl, tuple(parameters))
    forward = torch.func.hessian(kl, places)(*parameters)
    for one, other in zip(reverse, forward, strict=True):
        for block, same in zip(one, other, strict=True):
            assert torch.allclose(block, same, rtol=1e-12, atol=1e-14)
    leaf = [x.requires_grad_() for x in leaves(tuple(parameters))]
    assert torch.autograd.gradcheck(kl, leaf, check_forward_ad=True)


def test_mapped() -> None:
    mean, v = rand(6, 3), rand(6, 3, seed=1)
    found = torch.vmap(lambda m, w: gaussian_kl(m, w, reduction="sum"))(mean, v)
    assert torch.allclose(found, gaussian_kl(mean, v, reduction="per_sample"), rtol=1e-12, atol=0)


@pytest.mark.slow
def test_compiled_code_keeps_the_digits() -> None:
    compiled = torch.compile(gaussian_kl, fullgraph=True)
    parameters = leaves((torch.full((2, 3), 2e-5), torch.full((2, 3), 1e-5)))
    found = compiled(*parameters)
    found.backward()
    value, of_mean, of_variance, *_ = truth(*(float(x.detach()[0, 0]) for x in parameters))
    assert float(found.detach()) == pytest.approx(3 * float(value), rel=1e-6)
    for x, slope in zip(parameters, (of_mean, of_variance), strict=True):
        expected = torch.full((2, 3), float(slope) / 2)
        assert torch.allclose(x.grad, expected, rtol=1e-6, atol=0)  # type: ignore[arg-type]


@pytest.mark.slow
def test_transformed_code_can_be_compiled() -> None:
    def slopes(mean: Tensor, v: Tensor) -> Tensor:
        kl = torch.func.grad(lambda x, y: gaussian_kl(x, y, reduction="sum"), argnums=1)
        return torch.vmap(kl)(mean, v)

    def change(mean: Tensor, v: Tensor) -> Tensor:
        return torch.func.jvp(gaussian_kl, (mean, v), (mean, v))[1]

    mean, v = rand(6, 3), rand(6, 3, seed=1)
    for function in (slopes, change):
        found = torch.compile(function, fullgraph=True)(mean, v)
        assert torch.allclose(found, function(mean, v), rtol=1e-12, atol=0)


class TestInOnePass:
    """Plain numbers on the CPU go through a loop, odd ones and all others through the formula."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("reduction", ["mean_over_samples", "per_sample", 7.0, "none"])
    @pytest.mark.parametrize("prior", ["standard", "each", "one for all", "mean", "log-variance"])
    def test_the_loop_and_the_formula_agree(
        self, prior: str, reduction: Any, dtype: torch.dtype
    ) -> None:
        # Every other column of a wider output, as chunks of an encoder's output are.
        sides: list[Tensor | None] = [rand(40, 8, seed=i).to(dtype)[:, ::2] for i in range(4)]
        if prior == "standard":
            sides = sides[:2]
        elif prior == "one for all":
            sides[2:] = [x[0] for x in sides[2:] if x is not None]
        elif prior != "each":
            sides[2 if prior == "log-variance" else 3] = None
        one, other = (
            [None if x is None else x.clone().requires_grad_() for x in sides] for _ in range(2)
        )
        found = gaussian_kl(*one, reduction=reduction)  # type: ignore[arg-type]
        each = each_gaussian_kl(*(other + [None] * (4 - len(other))))  # type: ignore[arg-type]
        expected = reduce_latents(each, reduction, 1)
        assert "Recorded" in _names_of_graph(found)
        assert torch.allclose(found, expected, rtol=RTOL[dtype], atol=0)
        found.pow(2).sum().backward()
        expected.pow(2).sum().backward()
        for place, (x, y) in enumerate(zip(one, other, strict=True)):
            if x is not None and y is not None:
                largest = float(y.grad.abs().max())  # type: ignore[union-attr]
                # ½(1 − eᵈ) and z² cancel, and where one prior is for all, samples do.
                near = RTOL[dtype] * largest if place == 3 or x.dim() == 1 else 0
                assert torch.allclose(x.grad, y.grad, rtol=4 * RTOL[dtype], atol=near)  # type: ignore[arg-type]

    def test_one_odd_number_is_left_to_the_formula(self) -> None:
        v = rand(5, 3).float()
        v[2, 1], v[3, 0] = -torch.inf, -800.0
        parameters = leaves((torch.zeros(5, 3), v))
        each = gaussian_kl(*parameters, reduction="none")
        each[3, 0].backward()
        assert each[2, 1] == math.inf
        assert float(each[3, 0].detach()) == pytest.approx(0.5 * 799)
        assert float(parameters[1].grad[3, 0]) == -0.5  # type: ignore[index]
        assert torch.equal(each.isfinite().sum(), torch.tensor(14))

    def test_a_slope_can_be_differentiated_when_asked_for_later(self) -> None:
        mean, v = leaves((rand(4, 3), rand(4, 3, seed=1)))
        value = gaussian_kl(mean, v, reduction="sum")
        of_mean, of_variance = torch.autograd.grad(value, (mean, v), create_graph=True)
        twice = torch.autograd.grad(of_variance.sum() + of_mean.pow(2).sum(), (mean, v))
        assert torch.allclose(twice[0], 2 * mean, rtol=1e-15, atol=0)
        assert torch.allclose(twice[1], 0.5 * v.exp(), rtol=1e-15, atol=0)

    def test_second_derivatives_against_a_prior(self) -> None:
        parameters = leaves(tuple(rand(4, 3, seed=i) for i in range(4)))
        assert torch.autograd.gradgradcheck(
            lambda *x: gaussian_kl(*x, reduction="per_sample"), parameters
        )

    def test_only_what_is_asked_for_gets_a_gradient(self) -> None:
        mean, v = rand(4, 3).requires_grad_(), rand(4, 3, seed=1)
        gaussian_kl(mean, v).backward()
        assert v.grad is None
        assert torch.allclose(mean.grad, mean / 4, rtol=1e-15, atol=0)  # type: ignore[arg-type]

    def test_a_batch_for_several_threads(self) -> None:
        """More than one portion: none is left out, none is taken twice."""
        threads = torch.get_num_threads()
        mean, v = leaves((rand(1100, 1000).float(), rand(1100, 1000, seed=1).float()))
        try:
            torch.set_num_threads(3)
            each = gaussian_kl(mean, v, reduction="none")
        finally:
            torch.set_num_threads(threads)
        each.sum().backward()
        expected = 0.5 * (v.double().expm1() - v.double() + mean.double() ** 2)
        assert torch.allclose(each.double(), expected, rtol=1e-6, atol=1e-12)
        assert torch.equal(mean.grad, mean)  # type: ignore[arg-type]


def _names_of_graph(value: Tensor) -> str:
    """The names of the operations that made it."""
    names, waiting = [], [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.append(node.name())
            waiting += [parent for parent, _ in node.next_functions]
    return " ".join(names)


class TestRefusals:
    x = torch.zeros(2, 3)

    def test_parameters(self) -> None:
        with pytest.raises(DtypeError, match=r"log_variance is of torch\.int64"):
            gaussian_kl(self.x, torch.zeros(2, 3).long())
        with pytest.raises(DtypeError, match="prior_mean is of float"):
            gaussian_kl(self.x, self.x, 0.0)  # type: ignore[arg-type]
        with pytest.raises(ShapeError, match=r"mean \(2, 3\), log_variance \(2, 4\).*chunk"):
            gaussian_kl(self.x, torch.zeros(2, 4))
        with pytest.raises(ShapeError, match="nothing in it to add up"):
            gaussian_kl(torch.zeros(0, 3), torch.zeros(0, 3))
        with pytest.raises(ShapeError, match="latent_dims=3"):
            gaussian_kl(self.x, self.x, latent_dims=3)

    @pytest.mark.parametrize(
        ("reduction", "words"),
        [("mean", "mean_over_samples"), ("batchmean", "not one of"), (0.0, "must be positive")],
    )
    def test_reductions(self, reduction: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            gaussian_kl(self.x, self.x, reduction=reduction)

    def test_what_is_no_gaussian_is_named(self) -> None:
        mean = self.x.clone()
        mean[1, 2] = torch.nan
        with pytest.raises(NonFiniteError, match=r"at \[1, 2\] mean is nan, log_variance is 0.0"):
            gaussian_kl(mean, self.x)
        assert math.isnan(float(gaussian_kl(mean, self.x, validate=False)))
        with pytest.raises(NonFiniteError, match="log_variance is inf"):
            gaussian_kl(self.x, torch.full((2, 3), torch.inf))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": None}, "reduction=None is of NoneType"),
        ({"reduction": True}, "reduction=True is of bool"),
        ({"reduction": [2]}, "is of list"),
        ({"reduction": torch.ones(2)}, "is of Tensor"),
        ({"latent_dims": "a"}, "latent_dims='a' is of type str: it must be a whole"),
        ({"latent_dims": 1.0}, "latent_dims=1.0 is of type float: it must be a whole"),
        ({"latent_dims": -1}, "latent_dims=-1"),
    ],
)
def test_options_of_no_such_kind(options: dict[str, Any], words: str) -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(InputError, match=words):
        gaussian_kl(x, x, **options)
