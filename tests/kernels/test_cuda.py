"""The Triton kernels against plain float64 formulas: values, gradients, and every edge.

On a machine with CUDA `TestKernels` runs on the GPU. Elsewhere it runs in Triton's interpreter,
which has to be asked for before triton is imported anywhere: so in a process of its own, where
pytest runs this same file again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

pytest.importorskip("triton")

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kullback.kernels import RowDivergence, cuda, cuda_kernels

ON_GPU = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
INF = torch.inf
NAN = torch.nan

# A GPU's float32 exponential of −20 is good to about 2e-6, NumPy's to 6e-8; over many events
# most of either cancels, save in a row of a handful.
SINGLE = 4e-6 if ON_GPU else 1e-6
RELATIVE = dict.fromkeys(DTYPES, SINGLE) | {torch.float64: 1e-12}


@pytest.mark.skipif(ON_GPU or INTERPRETED, reason="TestKernels runs in this very process")
def test_kernels_in_the_interpreter(request: pytest.FixtureRequest) -> None:
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider"]
    if request.config.getoption("--slow", default=False):
        command.append("--slow")
    run = subprocess.run(
        [*command, "-k", "TestKernels"],
        env=quiet | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels are never compiled")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
def test_kernels_compile_for_an_h100(
    dtype: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the interpreter runs need not compile: this needs the compiler, but no GPU.
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    double = dtype == "fp64"
    constants: dict[str, object] = {
        "NORMALIZED": not whole,
        "TERMS": 18 if double else 11,
        "JS_TERMS": 20 if double else 9,
        "REAL": tl.float64 if double else tl.float32,
        "BLOCK": 1024,
    }
    if not whole:
        constants |= {"target_ptr": None, "grad_p_ptr": None}
    for kernel in (
        cuda_kernels.forward_kernel,
        cuda_kernels.backward_kernel,
        cuda_kernels.statistics_kernel,
    ):
        compiled = triton.compile(
            source(kernel, dtype, constants),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": 8, "enable_fp_fusion": True},
        )
        assert compiled.asm["cubin"]


def source(kernel: Any, dtype: str, constants: dict[str, object]) -> ASTSource:
    """A kernel and the types that a launch on `dtype` would give it."""
    types = {"target_ptr": "*i64", "tops_ptr": "*i64"}
    types |= dict.fromkeys(["p_ptr", "q_ptr", "grad_p_ptr", "grad_q_ptr"], f"*{dtype}")
    types |= dict.fromkeys(["normalizer_p_ptr", "normalizer_q_ptr"], "*fp64")
    result = "*fp64" if dtype == "fp64" else "*fp32"
    signature, used = {}, {}
    for place, name in enumerate(kernel.arg_names):
        signature[name] = types.get(name, result if name.endswith("_ptr") else "i32")
        if name in constants:
            signature[name] = "constexpr"
            used[(place,)] = constants[name]
    return ASTSource(kernel, signature, used)


class Truth(NamedTuple):
    """Plain formulas in float64, from logits or log-probabilities."""

    kl: Tensor
    reverse_kl: Tensor
    js: Tensor
    total_variation: Tensor
    entropy_p: Tensor
    entropy_q: Tensor


def log_probs(p: Tensor, q: Tensor, normalized: bool = False) -> tuple[Tensor, Tensor]:
    p, q = p.double(), q.double()
    return (p, q) if normalized else (p.log_softmax(-1), q.log_softmax(-1))


def truth(p: Tensor, q: Tensor) -> Truth:
    a, b = log_probs(p, q)
    m = torch.log(0.5 * (a.exp() + b.exp()))
    return Truth(
        (a.exp() * (a - b)).sum(-1),
        (b.exp() * (b - a)).sum(-1),
        0.5 * (a.exp() * (a - m)).sum(-1) + 0.5 * (b.exp() * (b - m)).sum(-1),
        0.5 * (a.exp() - b.exp()).abs().sum(-1),
        -(a.exp() * a).sum(-1),
        -(b.exp() * b).sum(-1),
    )


def true_gradients(p: Tensor, q: Tensor, weight: Tensor, normalized: bool) -> list[Tensor]:
    """Autograd in float64 of Σ w·(q − p + p·log(p/q)), which is KL wherever rows sum to one."""
    p, q = p.double().requires_grad_(), q.double().requires_grad_()
    a, b = (p, q) if normalized else (p.log_softmax(-1), q.log_softmax(-1))
    value = (b.exp() - a.exp() + a.exp() * (a - b)).sum(-1)
    return list(torch.autograd.grad((weight.double() * value).sum(), (p, q)))


def rows_of(
    *shape: int, dtype: torch.dtype = torch.float32, noise: float = 1.0, normalized: bool = False
) -> tuple[Tensor, Tensor]:
    """A pair of rows of logits, or log-probabilities, with spread 2 that differ by `noise`."""
    draw = torch.Generator().manual_seed(sum(shape))
    p = 2 * torch.randn(shape, generator=draw, dtype=torch.float64)
    q = p + noise * torch.randn(shape, generator=draw, dtype=torch.float64)
    if normalized:
        p, q = p.log_softmax(-1), q.log_softmax(-1)
    return p.to(DEVICE, dtype), q.to(DEVICE, dtype)


def tensor(rows: list[list[float]], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(rows, dtype=dtype, device=DEVICE)


def backward(
    p: Tensor, q: Tensor, weight: Tensor, normalized: bool = False
) -> tuple[Tensor, Tensor]:
    saved = cuda.kl_forward(p, q, normalized=normalized)
    grads = cuda.kl_backward(p, q, saved, weight, normalized=normalized, needs=(True, True))
    assert grads[0] is not None
    assert grads[1] is not None
    return grads[0], grads[1]


# The interpreter is NumPy: it computes both branches of every `where`, and says so.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestKernels:
    __test__ = ON_GPU or INTERPRETED

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(3, 1000), (1, 5000), (2, 1), (2, 7)])
    def test_kl_of_logits(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        p, q = rows_of(*shape, dtype=dtype)
        result = cuda.kl_forward(p, q, normalized=False)
        assert result.kl.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        expected = truth(p, q).kl
        assert_close(result.kl.double(), expected, rtol=RELATIVE[dtype], atol=0)
        assert result.log_normalizer_p.dtype == torch.float64
        # exp in float32 leaves the sum of a row good to about its rounding unit.
        atol = 1e-14 if dtype == torch.float64 else 5e-7
        assert_close(result.log_normalizer_p, p.double().logsumexp(-1), rtol=0, atol=atol)
        assert_close(result.log_normalizer_q, q.double().logsumexp(-1), rtol=0, atol=atol)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_log_probabilities_are_taken_as_they_are(self, dtype: torch.dtype) -> None:
        p, q = rows_of(3, 1000, dtype=dtype, normalized=True)
        a, b = log_probs(p, q, normalized=True)
        # Rounded log-probabilities no longer sum to one, which q − p makes part of the value.
        expected = (b.exp() - a.exp() + a.exp() * (a - b)).sum(-1)
        result = cuda.kl_forward(p, q, normalized=True)
        assert_close(result.kl.double(), expected, rtol=RELATIVE[dtype], atol=0)
        assert not result.log_normalizer_p.any()
        assert not result.log_normalizer_q.any()

    def test_sides_of_different_dtypes(self) -> None:
        p, q = rows_of(2, 300)
        p, wide = p.bfloat16(), q.double()
        assert cuda.kl_forward(p, q, normalized=False).kl.dtype == torch.float32
        kl = cuda.kl_forward(p, wide, normalized=False).kl
        assert_close(kl, truth(p, wide).kl, rtol=1e-12, atol=0)
        grad_p, grad_q = backward(p, wide, torch.ones(2, device=DEVICE))
        assert (grad_p.dtype, grad_q.dtype) == (torch.bfloat16, torch.float64)

    @pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4, 4e-5])
    def test_nearly_equal_rows(self, noise: float) -> None:
        # KL ≈ noise²/2, down to 1e-9, where float32 log-softmaxes answer with noise alone.
        p, q = rows_of(3, 4096, noise=noise)
        expected = truth(p, q)
        kl = cuda.kl_forward(p, q, normalized=False).kl
        tolerance = 1e-5 if noise >= 2e-3 else 1e-3
        assert_close(kl.double(), expected.kl, rtol=tolerance, atol=0)
        result = cuda.row_statistics(p, q, None)
        for name in ("kl", "reverse_kl", "js", "total_variation"):
            value = getattr(result, name).double()
            assert_close(value, getattr(expected, name), rtol=tolerance, atol=0, msg=name)

    def test_nearly_equal_rows_in_double_precision(self) -> None:
        p, q = rows_of(1, 200, dtype=torch.float64, noise=1e-6)
        with mpmath.workdps(40):
            a = [mpmath.mpf(x) for x in p[0].tolist()]
            b = [mpmath.mpf(x) for x in q[0].tolist()]
            top_a = mpmath.log(mpmath.fsum(map(mpmath.exp, a)))
            top_b = mpmath.log(mpmath.fsum(map(mpmath.exp, b)))
            expected = mpmath.fsum(
                mpmath.exp(x - top_a) * ((x - top_a) - (y - top_b))
                for x, y in zip(a, b, strict=True)
            )
        # d ≈ 1e-6 is good to 1e-10 of itself.
        kl = cuda.kl_forward(p, q, normalized=False).kl
        assert kl.item() == pytest.approx(float(expected), rel=1e-9)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shift", [0.0, 4.0, -32.0])
    def test_exactly_zero_when_equal_up_to_a_constant(
        self, dtype: torch.dtype, shift: float
    ) -> None:
        # Multiples of 1/4 below 16 stay representable, in bfloat16 too, when these are added.
        draw = torch.Generator().manual_seed(1)
        p = (torch.randint(-8, 9, (3, 1500), generator=draw) / 4).to(DEVICE, dtype)
        q = p + shift
        assert torch.equal(q.double() - p.double(), torch.full_like(p, shift).double())
        assert cuda.kl_forward(p, q, normalized=False).kl.tolist() == [0, 0, 0]
        result = cuda.row_statistics(p, q, None)
        for name in ("kl", "reverse_kl", "js", "total_variation"):
            assert getattr(result, name).tolist() == [0, 0, 0], name

    def test_never_negative(self) -> None:
        for noise in (1e-7, 1e-6, 1e-5):
            p, q = rows_of(20, 64, noise=noise)
            assert (cuda.kl_forward(p, q, normalized=False).kl >= 0).all()
            result = cuda.row_statistics(p, q, None)
            assert min(result.kl.min(), result.reverse_kl.min(), result.js.min()) >= 0

    @pytest.mark.parametrize("spread", [30.0, 80.0, 400.0])
    def test_rows_far_apart(self, spread: float) -> None:
        # p and q under- and overflow relative to each other, d reaches hundreds.
        p, q = rows_of(4, 700, noise=spread)
        expected = truth(p, q)
        result = cuda.row_statistics(p, q, None)
        for name in Truth._fields:
            value = getattr(result, name).double()
            # An entropy near 0 rests on 1 − max p, which float32 holds to its rounding unit.
            atol = 1e-6 if name.startswith("entropy") else 0
            assert_close(value, getattr(expected, name), rtol=5e-6, atol=atol, msg=name)

    @pytest.mark.parametrize("normalized", [False, True])
    @pytest.mark.parametrize(
        ("p", "q", "expected"),
        [
            pytest.param([-INF, 0.5, 0.5], [-INF, 0.5, 0.5], 0.0, id="masked on both sides"),
            pytest.param([0, 0.5, 0.5], [0.5, 0.25, 0.25], 0.6931471805599453, id="p = 0"),
            pytest.param([0.5, 0.25, 0.25], [0, 0.5, 0.5], INF, id="q = 0"),
            pytest.param([1.0, 0, 0], [1.0, 0, 0], 0.0, id="one event"),
            pytest.param([NAN, 0.5, 0.5], [0.2, 0.4, 0.4], NAN, id="NaN in p"),
            pytest.param([0.2, 0.4, 0.4], [0.5, NAN, 0.5], NAN, id="NaN in q"),
            pytest.param([NAN, 0.5, 0.5], [0.0, 0.5, 0.5], NAN, id="NaN in p, q = 0"),
            pytest.param([0.0, 0.5, 0.5], [NAN, 0.5, 0.5], NAN, id="NaN in q, p = 0"),
            pytest.param([INF, 0.5, 0.5], [0.2, 0.4, 0.4], NAN, id="+inf in p"),
            pytest.param([0.2, 0.4, 0.4], [INF, 0.5, 0.5], NAN, id="+inf in q"),
            pytest.param([INF, 0.5, 0.5], [INF, 0.5, 0.5], NAN, id="+inf in both"),
            pytest.param([INF, 0.5, 0.5], [0, 0.5, 0.5], NAN, id="+inf in p, q = 0"),
            pytest.param([0, 0.5, 0.5], [INF, 0.5, 0.5], NAN, id="+inf in q, p = 0"),
            pytest.param([0, 0, 0], [0.2, 0.4, 0.4], NAN, id="p empty"),
            pytest.param([0.2, 0.4, 0.4], [0, 0, 0], NAN, id="q empty"),
            pytest.param([0, 0, 0], [0, 0, 0], NAN, id="both empty"),
        ],
    )
    def test_edges(self, p: list[float], q: list[float], expected: float, normalized: bool) -> None:
        # −INF stands for a masked event whose neighbours are given as probabilities.
        a, b = (tensor([[max(x, 0.0) if x == x else x for x in row]]).log() for row in (p, q))
        kl = cuda.kl_forward(a, b, normalized=normalized).kl.cpu()
        assert_close(kl, torch.tensor([expected]), rtol=1e-6, atol=0, equal_nan=True)
        if not normalized:
            result = cuda.row_statistics(a, b, None)
            assert_close(result.kl.cpu(), kl, rtol=1e-6, atol=0, equal_nan=True)
            # Exchanging the sides exchanges the two directions and leaves the symmetric ones.
            swapped = cuda.row_statistics(b, a, None)
            assert_close(swapped.reverse_kl.cpu(), kl, rtol=1e-6, atol=0, equal_nan=True)
            assert_close(swapped.js, result.js, rtol=1e-6, atol=0, equal_nan=True)
            assert result.js.isnan().tolist() == kl.isnan().tolist()
            assert result.total_variation.isnan().tolist() == kl.isnan().tolist()

    def test_the_top_of_an_unfit_row_is_still_an_event(self) -> None:
        p, q = tensor([[NAN] * 3, [-INF] * 3]), tensor([[0.0, 1.0, 0.0]] * 2)
        result = cuda.row_statistics(p, q, torch.tensor([0, 1], device=DEVICE))
        assert result.top_p.tolist() == [0, 0]
        assert result.top_prob_p.isnan().all()
        assert result.entropy_p.isnan().all()
        assert result.log_prob_p.isnan().all()
        # The other side keeps what is its own.
        assert result.top_q.tolist() == [1, 1]
        assert result.entropy_q.isfinite().all()
        assert result.log_prob_q.isfinite().all()

    def test_disjoint_rows(self) -> None:
        p, q = tensor([[0.0, 1.0, -INF, -INF]]), tensor([[-INF, -INF, 2.0, 0.0]])
        result = cuda.row_statistics(p, q, None)
        assert result.kl.item() == result.reverse_kl.item() == INF
        assert result.js.item() == pytest.approx(0.6931471805599453, rel=1e-6)
        assert result.total_variation.item() == pytest.approx(1.0, rel=1e-6)

    def test_masking_is_the_same_as_leaving_out(self) -> None:
        p, q = rows_of(2, 900)
        short = cuda.row_statistics(p[:, :600], q[:, :600], None)
        p[:, 600:] = -INF
        q[:, 600:] = -INF
        for value, expected in zip(cuda.row_statistics(p, q, None), short, strict=True):
            assert_close(value, expected, rtol=1e-6, atol=0, equal_nan=True)

    @pytest.mark.parametrize("finite", [-3.4028234663852886e38, -1e30, -1e4])
    def test_masks_of_finite_numbers(self, finite: float) -> None:
        p, q = rows_of(2, 300)
        expected = truth(p[:, 100:], q[:, 100:]).kl
        p[:, :100] = finite
        q[:, :100] = finite
        kl = cuda.kl_forward(p, q, normalized=False).kl
        assert_close(kl.double(), expected, rtol=SINGLE, atol=0)
        # A row of nothing else is uniform.
        p[:], q[:] = finite, finite
        result = cuda.row_statistics(p, q, None)
        assert result.kl.tolist() == [0, 0]
        assert result.top_p.tolist() == [0, 0]
        assert result.top_prob_p.tolist() == pytest.approx([1 / 300] * 2, rel=1e-6)

    @pytest.mark.parametrize("normalized", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(3, 1000), (1, 5000), (3, 5)])
    def test_gradients(self, shape: tuple[int, int], dtype: torch.dtype, normalized: bool) -> None:
        p, q = rows_of(*shape, dtype=dtype, normalized=normalized)
        weight = torch.tensor([1.0, -2.0, 0.25], device=DEVICE)[: shape[0]]
        grads = backward(p, q, weight, normalized)
        # Half precisions round the result once: half a unit in the last place, or for the tiny
        # ones half the smallest subnormal (fp16). The interpreter truncates to bfloat16 instead.
        half = {torch.bfloat16: 2**-8 if ON_GPU else 2**-7, torch.float16: 2**-10}
        relative = half.get(dtype, 10 * RELATIVE[dtype])
        for grad, expected in zip(grads, true_gradients(p, q, weight, normalized), strict=True):
            assert grad.dtype == dtype
            scale = expected.abs().max().item()
            atol = RELATIVE[dtype] * scale + (2**-25 if dtype == torch.float16 else 0)
            assert_close(grad.double(), expected, rtol=relative, atol=atol)

    @pytest.mark.parametrize("normalized", [False, True])
    def test_gradients_of_nearly_equal_rows(self, normalized: bool) -> None:
        p, q = rows_of(2, 1500, noise=4e-5)
        if normalized:
            p, q = p.double().log_softmax(-1), q.double().log_softmax(-1)
        weight = torch.tensor([1.0, 3.0], device=DEVICE)
        for grad, expected in zip(
            backward(p, q, weight, normalized),
            true_gradients(p, q, weight, normalized),
            strict=True,
        ):
            error = (grad.double() - expected).norm() / expected.norm()
            # softmax(q) − softmax(p) in float32 would be off by about 1e-7/4e-5 = 2.5e-3.
            assert error < 2e-4

    def test_gradients_at_zeros_and_infinities_of_logits(self) -> None:
        p = tensor([[0.0, -INF, 0.0, -INF], [0.0, 0.0, 0.0, -INF], [1.0, 0.0, 0.0, 2.0]])
        q = tensor([[1.0, 0.0, 0.0, -INF], [-INF, 0.0, 0.0, 0.0], [-INF, 0.0, -INF, 0.0]])
        weight = tensor([[2.0, -3.0, 0.0]])[0]
        grad_p, grad_q = backward(p, q, weight)
        # Row 0 has support {0, 2} in p; the event masked on both sides gets nothing.
        a, b = p[0, [0, 2]].double().softmax(-1), q[0, :3].double().softmax(-1)
        kl = (a * (a / b[[0, 2]]).log()).sum()
        of_p = 2 * a * ((a / b[[0, 2]]).log() - kl)
        assert_close(grad_p[0, [0, 2]].double(), of_p, rtol=1e-5, atol=1e-7)
        assert grad_p[0, [1, 3]].tolist() == [0, 0]
        expected_q = 2 * (b - torch.stack([a[0], a[1] * 0, a[1]]))
        assert_close(grad_q[0, :3].double(), expected_q, rtol=1e-5, atol=1e-7)
        assert grad_q[0, 3].item() == 0
        # Row 1 is infinite: the slope is +inf times the weight's sign where q = 0 < p.
        assert grad_p[1].tolist() == [-INF, INF, INF, 0]
        assert_close(grad_q[1].cpu(), -3 * torch.tensor([-1 / 3, 0, 0, 1 / 3]))
        # Row 2 is infinite too, but weighs nothing.
        assert grad_p[2].tolist() == grad_q[2].tolist() == [0, 0, 0, 0]

    def test_gradients_at_zeros_and_infinities_of_log_probabilities(self) -> None:
        p = tensor([[0.5, 0.25, 0.25, 0.0], [0.5, 0.5, 0.0, 0.0]]).log()
        q = tensor([[0.0, 0.5, 0.25, 0.25], [0.0, 0.5, 0.5, 0.0]]).log()
        grad_p, grad_q = backward(p, q, tensor([[2.0, 0.0]])[0], normalized=True)
        # w·p·log(p/q) where finite: the other events do not feel the infinity.
        half = 2 * 0.25 * torch.tensor(0.5).log().item()
        assert_close(grad_p[0].cpu(), torch.tensor([INF, half, 0, 0]), rtol=1e-6, atol=0)
        assert_close(grad_q[0].cpu(), 2 * torch.tensor([-0.5, 0.25, 0, 0.25]), rtol=1e-6, atol=1e-7)
        assert grad_p[1].tolist() == grad_q[1].tolist() == [0, 0, 0, 0]

    def test_rows_that_are_no_distributions_have_no_gradient(self) -> None:
        p, q = rows_of(2, 10)
        p[0, 3] = NAN
        grad_p, grad_q = backward(p, q, torch.ones(2, device=DEVICE))
        assert grad_p[0].isnan().all()
        assert grad_q[0].isnan().all()
        assert grad_p[1].isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("events", [100, 5000])
    def test_the_gradient_may_overwrite_q(self, dtype: torch.dtype, events: int) -> None:
        p, q = rows_of(3, events, dtype=dtype)
        weight = torch.tensor([1.0, 0.5, 0.0], device=DEVICE)
        expected = backward(p, q, weight)
        saved = cuda.kl_forward(p, q, normalized=False)
        grad_p, grad_q = cuda.kl_backward(
            p, q, saved, weight, normalized=False, needs=(True, True), out_q=q
        )
        assert grad_q is q
        assert torch.equal(q, expected[1])
        assert grad_p is not None
        assert torch.equal(grad_p, expected[0])

    def test_only_what_is_needed(self) -> None:
        p, q = rows_of(2, 300)
        weight = torch.ones(2, device=DEVICE)
        saved = cuda.kl_forward(p, q, normalized=False)
        both = backward(p, q, weight)
        for needs in ((True, False), (False, True), (False, False)):
            grads = cuda.kl_backward(p, q, saved, weight, normalized=False, needs=needs)
            for needed, grad, expected in zip(needs, grads, both, strict=True):
                assert (grad is not None) == needed
                assert grad is None or torch.equal(grad, expected)

    def test_strided_rows(self) -> None:
        # Rows out of a wider matrix on one side, one row for all on the other, weights too.
        wide, q = rows_of(3, 1003)
        p, q = wide[:, 2:1002], q[:1, :1000].expand(3, -1)
        weight = torch.tensor(2.0, device=DEVICE).expand(3)
        assert_close(
            cuda.kl_forward(p, q, normalized=False).kl.double(), truth(p, q).kl, rtol=SINGLE, atol=0
        )
        of_p, of_q = backward(p, q, weight)
        expected = backward(p.contiguous(), q.contiguous(), weight.contiguous())
        # Not bit for bit: how wide a row's loads can be decides the order of its sums.
        assert_close(of_p, expected[0], rtol=1e-5, atol=1e-8)
        assert_close(of_q, expected[1], rtol=1e-5, atol=1e-8)
        out = torch.full((3, 1005), 7.0, device=DEVICE)
        saved = cuda.kl_forward(p, q, normalized=False)
        cuda.kl_backward(
            p, q, saved, weight, normalized=False, needs=(False, True), out_q=out[:, 1:1001]
        )
        assert_close(out[:, 1:1001], expected[1], rtol=1e-5, atol=1e-8)
        assert (out[:, [0, 1001, 1004]] == 7).all()

    def test_no_rows(self) -> None:
        p, q = rows_of(2, 10)
        p, q = p[:0], q[:0]
        assert cuda.kl_forward(p, q, normalized=False).kl.shape == (0,)
        assert all(len(column) == 0 for column in cuda.row_statistics(p, q, None))
        grads = backward(p, q, torch.ones(0, device=DEVICE))
        assert [grad.shape for grad in grads] == [(0, 10), (0, 10)]

    @pytest.mark.slow
    def test_rows_that_start_beyond_two_to_the_31(self) -> None:
        # 4.3 GB of addresses, of which a few pages are touched.
        stride = 2**30
        far = torch.empty(2 * stride + 256, dtype=torch.float16, device=DEVICE)
        far = far.as_strided((3, 256), (stride, 1))
        p, q = rows_of(3, 256, dtype=torch.float16)
        weight = torch.ones(3, device=DEVICE)
        far.copy_(q)
        expected = cuda.row_statistics(p, q, None)
        assert torch.equal(cuda.row_statistics(p, far, None).kl, expected.kl)
        saved = cuda.kl_forward(p, far, normalized=False)
        cuda.kl_backward(p, far, saved, weight, normalized=False, needs=(False, True), out_q=far)
        assert torch.equal(far, backward(p, q, weight)[1])

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(3, 1000), (1, 5000), (4, 3)])
    def test_row_statistics(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        p, q = rows_of(*shape, dtype=dtype)
        target = torch.arange(shape[0], device=DEVICE) % shape[1]
        result = cuda.row_statistics(p, q, target)
        expected = truth(p, q)
        rtol = RELATIVE[dtype]
        for name in Truth._fields:
            value = getattr(result, name)
            assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            assert_close(value.double(), getattr(expected, name), rtol=rtol, atol=0, msg=name)
        for side, log_prob in zip("pq", log_probs(p, q), strict=True):
            at_target = log_prob.gather(-1, target[:, None])[:, 0]
            value = getattr(result, f"log_prob_{side}").double()
            assert_close(value, at_target, rtol=rtol, atol=rtol)
            top = getattr(result, f"top_{side}")
            assert top.dtype == torch.int64
            # The first of equals: half precision has ties in 1,000 draws.
            best = log_prob == log_prob.amax(-1, keepdim=True)
            assert torch.equal(top, best.int().argmax(-1))
            value = getattr(result, f"top_prob_{side}").double()
            assert_close(value, log_prob.exp().amax(-1), rtol=rtol, atol=0)

    def test_the_first_of_equals_is_on_top(self) -> None:
        p = torch.zeros(4, 5000, device=DEVICE)
        for row, places in enumerate([[4500, 3], [1030, 1029], [4999], []]):
            p[row, places] = 2.0
        result = cuda.row_statistics(p, p.flip(-1), None)
        assert result.top_p.tolist() == [3, 1029, 4999, 0]
        assert result.top_q.tolist() == [499, 3969, 0, 0]

    def test_without_a_target_log_probs_are_nan(self) -> None:
        p, q = rows_of(2, 30)
        result = cuda.row_statistics(p, q, None)
        assert result.log_prob_p.isnan().all()
        assert result.log_prob_q.isnan().all()
        p[0, 4] = -INF
        target = torch.tensor([4, 5], device=DEVICE)
        assert cuda.row_statistics(p, q, target).log_prob_p[0].item() == -INF

    def test_the_pieces_of_one_pass_agree(self) -> None:
        p, q = rows_of(3, 2000)
        result = cuda.row_statistics(p, q, None)
        forward: RowDivergence = cuda.kl_forward(p, q, normalized=False)
        back = cuda.kl_forward(q, p, normalized=False)
        assert_close(result.kl, forward.kl, rtol=1e-6, atol=0)
        assert_close(result.reverse_kl, back.kl, rtol=1e-6, atol=0)
