"""The kernel behind KL of large batches of Normals, against mpmath and the plain formula."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import kullback
from kullback.distributions.closed_forms.shared.fused import fused_normal_kl

mp.mp.dps = 40

SIZE = 4096
# Some ten float32 roundings, of terms that are at most six times as large as their sum.
RTOL = 2e-6


def truth(loc_p: float, scale_p: float, loc_q: float, scale_q: float) -> mp.mpf:
    m, s, n, t = map(mp.mpf, (loc_p, scale_p, loc_q, scale_q))
    return (s**2 / t**2 - 1) / 2 - mp.log(s / t) + ((m - n) / t) ** 2 / 2


def answered(*parameters: Tensor) -> Tensor:
    value = fused_normal_kl(*parameters)
    assert value is not None
    return value


def random_parameters(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    locs = torch.randn(2, SIZE, generator=generator)
    scales = (2 * torch.randn(2, SIZE, generator=generator)).exp()
    return [locs[0], scales[0], locs[1], scales[1]]


@pytest.mark.parametrize("seed", range(3))
def test_value_is_right_to_the_last_digits(seed: int) -> None:
    parameters = random_parameters(seed)
    value = answered(*parameters)
    assert value.dtype == torch.float32
    for place in range(0, SIZE, 41):
        expected = truth(*(x[place].item() for x in parameters))
        assert value[place].item() == pytest.approx(float(expected), rel=RTOL)


@pytest.mark.parametrize("relative", [1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 0.1, 0.3])
def test_nearly_equal_scales(relative: float) -> None:
    """Down to neighbouring float32 numbers: never negative, 0 only for equality, and right."""
    generator = torch.Generator().manual_seed(1)
    scale_q = 0.1 + 3 * torch.rand(SIZE, generator=generator)
    scale_p = scale_q * (1 + relative * torch.randn(SIZE, generator=generator))
    loc = torch.zeros(SIZE)
    value = answered(loc, scale_p, loc, scale_q)
    assert torch.equal(value > 0, scale_p != scale_q)
    for place in range(0, SIZE, 97):
        expected = truth(0, scale_p[place].item(), 0, scale_q[place].item())
        assert value[place].item() == pytest.approx(float(expected), rel=RTOL, abs=0)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ((0.0, 1e-25, 0.0, 1.0), truth(0, torch.tensor(1e-25).item(), 0, 1)),
        (
            (0.0, 1e-40, 0.0, 1e30),
            truth(0, torch.tensor(1e-40).item(), 0, torch.tensor(1e30).item()),
        ),
        ((3e38, 1.0, 0.0, 1e38), truth(*(torch.tensor(x).item() for x in (3e38, 1.0, 0.0, 1e38)))),
        ((0.0, 1e30, 0.0, 1e-30), mp.inf),
        ((0.0, 0.0, 0.0, 1.0), mp.inf),
        ((0.0, math.inf, 0.0, 1.0), mp.inf),
        ((math.nan, 1.0, 0.0, 1.0), mp.nan),
        ((0.0, math.nan, 0.0, 1.0), mp.nan),
        ((0.0, 1.0, 0.0, math.nan), mp.nan),
    ],
)
@pytest.mark.parametrize("single", [True, False], ids=["one-Q", "many-Q"])
def test_extremes(parameters: tuple[float, ...], expected: mp.mpf, single: bool) -> None:
    """One extreme element among ordinary ones, which stay what they are."""
    sides = [torch.full((SIZE,), x) for x in (0.5, 2.0, parameters[2], parameters[3])]
    sides[0][7], sides[1][7] = parameters[0], parameters[1]
    if single:
        sides[2], sides[3] = sides[2][0], sides[3][0]
    else:
        sides[2][8:], sides[3][8:] = 0.0, 1.0
    value = answered(*sides)
    torch.testing.assert_close(
        value[7].item(), float(expected), rtol=RTOL, atol=0.0, equal_nan=True
    )
    assert not single or value[9] == value[100] or value[9].isnan()


@pytest.mark.parametrize(
    ("shape_p", "shape_q"),
    [((64, 64), ()), ((64, 64), (64,)), ((64, 64), (1, 1)), ((64, 1), (64, 64)), ((), (64, 64))],
)
def test_shapes_broadcast(shape_p: tuple[int, ...], shape_q: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(2)
    sides = [torch.rand(s, generator=generator) + 0.5 for s in (shape_p, shape_p, shape_q, shape_q)]
    value = answered(*sides)
    exact = kullback.kl_divergence(
        Normal(sides[0].double(), sides[1].double()), Normal(sides[2].double(), sides[3].double())
    )
    assert value.shape == (64, 64)
    torch.testing.assert_close(value.double(), exact, rtol=RTOL, atol=1e-12)


def test_strides_do_not_matter() -> None:
    loc, scale = (x.reshape(64, 64) for x in random_parameters()[:2])
    zero, one = torch.zeros(()), torch.ones(())
    value = answered(loc.T, scale.T, zero, one)
    assert torch.equal(value, answered(loc.T.contiguous(), scale.T.contiguous(), zero, one))


@pytest.mark.parametrize("single", [True, False], ids=["one-Q", "many-Q"])
def test_gradients(single: bool) -> None:
    """Those of the float64 formula, whatever the incoming weights."""
    parameters = random_parameters()
    parameters = [x.clamp(1e-2, 1e2) if place % 2 else x for place, x in enumerate(parameters)]
    if single:
        parameters[2:] = [torch.tensor(0.25), torch.tensor(1.5)]
    generator = torch.Generator().manual_seed(3)
    for weight in (torch.ones(()).expand(SIZE), torch.randn(SIZE, generator=generator)):
        narrow = [x.clone().requires_grad_() for x in parameters]
        wide = [x.double().requires_grad_() for x in parameters]
        value = kullback.kl_divergence(Normal(*narrow[:2]), Normal(*narrow[2:]))
        assert value.grad_fn is not None
        assert "Fused" in value.grad_fn.name()
        exact = kullback.kl_divergence(Normal(*wide[:2]), Normal(*wide[2:]))
        found = torch.autograd.grad(value, narrow, weight)
        expected = torch.autograd.grad(exact, wide, weight.double())
        for slope, other in zip(found, expected, strict=True):
            # A sum over 4,096 float32 slopes of either sign loses what cancels.
            scale = 1e-6 * other.abs().max().item() * (SIZE**0.5 if single else 1.0)
            torch.testing.assert_close(slope.double(), other, rtol=1e-5, atol=scale)


def test_second_derivatives() -> None:
    parameters = [x.clamp(0.5, 2.0) for x in random_parameters()]
    narrow = [x.clone().requires_grad_() for x in parameters]
    value = kullback.kl_divergence(Normal(*narrow[:2]), Normal(*narrow[2:]))
    first = torch.autograd.grad(value.sum(), narrow, create_graph=True)
    second = torch.autograd.grad(first[1].sum(), narrow[1])[0]
    # ∂²/∂σ² = 1/τ² + 1/σ².
    expected = 1 / parameters[3] ** 2 + 1 / parameters[1] ** 2
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=0)


def test_only_what_is_asked_for_is_computed() -> None:
    loc, scale, *_ = (x.requires_grad_() for x in random_parameters())
    value = kullback.kl_divergence(Normal(loc, scale.detach()), Normal(0.0, 1.0))
    torch.testing.assert_close(torch.autograd.grad(value.sum(), loc)[0], loc.detach())


def test_where_somebody_follows_the_kernel_steps_back() -> None:
    parameters = random_parameters()
    plain = answered(*parameters)

    def divergence(*parameters: Tensor) -> Tensor:
        # Without the checks of arguments, which look at values.
        p, q = (Normal(*parameters[i : i + 2], validate_args=False) for i in (0, 2))
        return kullback.kl_divergence(p, q)

    mapped = torch.vmap(divergence)(*(x.reshape(2, -1) for x in parameters))
    torch.testing.assert_close(mapped.reshape(-1), plain, rtol=RTOL, atol=0)
    tangents = tuple(torch.ones_like(x) for x in parameters)
    value, change = torch.func.jvp(divergence, tuple(parameters), tangents)
    torch.testing.assert_close(value, plain, rtol=RTOL, atol=0)
    assert change.abs().sum() > 0
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(parameters[0], tangents[0])
        found = divergence(dual, *parameters[1:])
        assert torch.autograd.forward_ad.unpack_dual(found).tangent is not None


def test_parameters_and_other_dtypes() -> None:
    loc = torch.nn.Parameter(torch.zeros(SIZE))
    assert fused_normal_kl(loc, torch.ones(SIZE), torch.zeros(()), torch.ones(())) is not None
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        side = torch.ones(SIZE, dtype=dtype)
        assert fused_normal_kl(side, side, side, side) is None
