"""One battery over every implementation of the kernel contract that runs on a CPU."""

import math

import pytest
import torch

import oracle
from kullback.kernels import RowDivergence, RowStatistics, cpu, reference

IMPLEMENTATIONS = [reference, cpu]
HALF = [torch.bfloat16, torch.float16]
every = pytest.mark.parametrize(
    "kernel", IMPLEMENTATIONS, ids=lambda module: module.__name__.rsplit(".", 1)[-1]
)


def rows(seed, shape=(4, 300), scale=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    p = 3 * torch.randn(shape, generator=generator)
    q = p + scale * torch.randn(shape, generator=generator)
    return p.to(dtype), q.to(dtype)


def truth(p, q):
    return [
        float(oracle.kl(oracle.softmax(a), oracle.softmax(b)))
        for a, b in zip(p.tolist(), q.tolist(), strict=True)
    ]


@every
@pytest.mark.parametrize("scale", [30.0, 1.0, 1e-2, 1e-4, 3e-5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_against_mpmath(kernel, scale, dtype):
    p, q = rows(0, scale=scale, dtype=dtype)
    found = kernel.kl_forward(p, q, normalized=False)
    assert isinstance(found, RowDivergence)
    assert found.kl.dtype == dtype
    # float32: a few units in the last place per term, all terms positive.
    tolerance = 2e-6 if dtype == torch.float32 else 1e-10
    assert found.kl.tolist() == pytest.approx(truth(p, q), rel=tolerance)
    for log_z, x in ((found.log_normalizer_p, p), (found.log_normalizer_q, q)):
        assert log_z.dtype == torch.float64
        torch.testing.assert_close(log_z, x.double().logsumexp(-1), rtol=1e-7, atol=1e-7)


@every
@pytest.mark.parametrize("events", [1, 2, 7, 15, 16, 17, 1023, 1025, 4099])
def test_any_number_of_events(kernel, events):
    p, q = rows(1, (3, events))
    found = kernel.kl_forward(p, q, normalized=False).kl
    assert found.tolist() == pytest.approx(truth(p, q), rel=2e-6, abs=1e-12)


@every
@pytest.mark.parametrize(
    "pair", [(a, b) for a in [*HALF, torch.float32] for b in [*HALF, torch.float64]]
)
def test_mixed_and_half_precision(kernel, pair):
    p, q = rows(2)
    p, q = p.to(pair[0]), q.to(pair[1])
    found = kernel.kl_forward(p, q, normalized=False).kl
    assert found.dtype == (torch.float64 if torch.float64 in pair else torch.float32)
    assert found.tolist() == pytest.approx(truth(p.double(), q.double()), rel=2e-6)
    statistics = kernel.row_statistics(p, q, torch.zeros(len(p), dtype=torch.int64))
    # Rounding to float32 before or after the statistics' own sweep.
    torch.testing.assert_close(statistics.kl, found, rtol=2e-6, atol=0)
    assert (statistics.log_prob_p <= 0).all()


@every
def test_a_last_block_that_stands_far_above_the_rest(kernel):
    """The running maximum moves at the very end, by more than exp can hold."""
    p, q = rows(3, (2, 5000))
    p[:, -1] += 300
    q[0, -1] += 200
    found = kernel.kl_forward(p, q, normalized=False).kl
    assert found.tolist() == pytest.approx(truth(p, q), rel=1e-5)


@every
def test_far_apart_and_peaked(kernel):
    p = torch.zeros(3, 64)
    q = torch.zeros(3, 64)
    p[0, 0], q[1, 5], p[2, 3], q[2, 9] = 150.0, 90.0, 1000.0, 1000.0
    found = kernel.kl_forward(p, q, normalized=False).kl
    assert found.tolist() == pytest.approx(truth(p, q), rel=1e-5)


@every
@pytest.mark.parametrize("normalized", [False, True])
def test_zeros_masks_and_infinities(kernel, normalized):
    inf = math.inf
    p = torch.log(torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.5, 0.5, 0.0]]))
    q = torch.log(torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]))
    found = kernel.kl_forward(p, q, normalized=normalized).kl
    expected = [0.5 * math.log(2), inf, 0.5 * math.log(4 / 3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


@every
@pytest.mark.parametrize("bad", [math.nan, math.inf, "empty"])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("at", [0, 2500, 4999])
def test_what_is_no_distribution_is_nan(kernel, bad, side, at):
    sides = rows(4, (3, 5000))
    if bad == "empty":
        sides[side][1] = -math.inf
    else:
        sides[side][1, at] = bad
    found = kernel.kl_forward(*sides, normalized=False).kl
    assert found.isnan().tolist() == [False, True, False]


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("normalized", [False, True])
def test_equal_rows_are_exactly_zero(kernel, dtype, normalized):
    p, _ = rows(5, (20, 3000))
    p = (p.log_softmax(-1) if normalized else p).to(dtype)
    assert (kernel.kl_forward(p, p.clone(), normalized=normalized).kl == 0).all()
    needs = (True, True)
    saved = kernel.kl_forward(p, p, normalized=normalized)
    grads = kernel.kl_backward(p, p, saved, torch.ones(20), normalized=normalized, needs=needs)
    assert all((grad == 0).all() for grad in grads)


@every
@pytest.mark.parametrize("constant", [0.0, 1e3, -1e4, 1e5])
def test_rows_at_very_different_constants(kernel, constant):
    """All that KL is here sits in an event with |d| > 20, whose q must not feel the constant."""
    p = torch.tensor([[0.0, -120.0], [0.0, -60.0]]) - constant
    q = torch.tensor([[0.25, -9.1], [3.3, -5.7]])
    found = kernel.kl_forward(p, q, normalized=False)
    assert found.kl.tolist() == pytest.approx(truth(p, q), rel=1e-6)
    arguments = {"normalized": False, "needs": (False, True)}
    _, grad = kernel.kl_backward(p, q, found, torch.ones(2), **arguments)
    numbers = kernel.row_statistics(p, q, torch.tensor([1, 1]))
    for i in range(2):
        a, b = oracle.softmax(p[i].tolist()), oracle.softmax(q[i].tolist())
        expected = [float(y - x) for x, y in zip(a, b, strict=True)]
        # The constants leave the saved normalisers 2⁻⁵³ · 1e5 = 1e-11, of gradients of 1e-4.
        assert grad[i].tolist() == pytest.approx(expected, rel=1e-6)
        assert numbers.reverse_kl[i].item() == pytest.approx(float(oracle.kl(b, a)), rel=1e-6)
        assert numbers.js[i].item() == pytest.approx(float(oracle.js(a, b)), rel=2e-6)
        distance = float(oracle.total_variation(a, b))
        assert numbers.total_variation[i].item() == pytest.approx(distance, rel=1e-6)
        for log_prob, weights in ((numbers.log_prob_p, a), (numbers.log_prob_q, b)):
            exact = float(oracle.mp.log(weights[1]))
            assert log_prob[i].item() == pytest.approx(exact, rel=1e-6)


@every
def test_a_constant_leaves_exactly(kernel):
    p = (rows(6, (20, 3000))[0] * 1024).round() / 1024
    assert (kernel.kl_forward(p, p - 32.0, normalized=False).kl == 0).all()


def exact_gradients(p, q, weight, normalized):
    p, q = (x.double().requires_grad_() for x in (p, q))
    log_p, log_q = (x if normalized else x.log_softmax(-1) for x in (p, q))
    value = (log_p.exp() * (log_p - log_q) - log_p.exp() + log_q.exp()).sum(-1)
    return torch.autograd.grad((value * weight.double()).sum(), (p, q))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_backward_against_float64_autograd(kernel, dtype, normalized, scale):
    p, q = rows(7, (5, 500), scale)
    if normalized:
        p, q = p.log_softmax(-1), q.log_softmax(-1)
    p, q = p.to(dtype), q.to(dtype)
    weight = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    saved = kernel.kl_forward(p, q, normalized=normalized)
    for needs in ((True, True), (True, False), (False, True)):
        grads = kernel.kl_backward(p, q, saved, weight, normalized=normalized, needs=needs)
        exact = exact_gradients(p, q, weight, normalized)
        for grad, expected, wanted in zip(grads, exact, needs, strict=True):
            if not wanted:
                assert grad is None
                continue
            assert grad.dtype == dtype
            # Rounding to the dtype itself, plus float32 arithmetic (autograd in float64 is
            # itself right to 1e-12 of the probabilities, hence of 1e-9 of small differences).
            rounding = {torch.bfloat16: 2**-8, torch.float16: 2**-10, torch.float32: 3e-6}
            error = (grad.double() - expected).norm() / expected.norm()
            assert error < rounding.get(dtype, 1e-8)
            assert (grad[3] == 0).all()


@every
def test_backward_at_masks_zeros_and_infinite_rows(kernel):
    p = torch.log(torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]]))
    q = torch.log(torch.tensor([[0.25, 0.5, 0.25, 0.0], [0.5, 0.5, 0.0, 0.0]]))
    saved = kernel.kl_forward(p, q, normalized=False)
    grad_p, grad_q = kernel.kl_backward(
        p, q, saved, torch.ones(2), normalized=False, needs=(True, True)
    )
    torch.testing.assert_close(grad_q, q.exp() - p.exp())
    value = 0.5 * math.log(2)
    torch.testing.assert_close(
        grad_p[0], torch.tensor([0.5 * (math.log(2) - value), -0.5 * value, 0.0, 0.0])
    )
    assert grad_p[1].tolist() == [-math.inf, -math.inf, math.inf, 0.0]
    silent = kernel.kl_backward(
        p, q, saved, torch.tensor([1.0, 0.0]), normalized=False, needs=(True, True)
    )
    assert all((grad[1] == 0).all() for grad in silent)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_backward_into_the_logits(kernel, dtype):
    p, q = rows(8, (4, 3000), dtype=dtype)
    weight = torch.ones(4)
    saved = kernel.kl_forward(p, q, normalized=False)
    _, plain = kernel.kl_backward(p, q, saved, weight, normalized=False, needs=(False, True))
    _, into = kernel.kl_backward(
        p, q, saved, weight, normalized=False, needs=(False, True), out_q=q
    )
    assert into.data_ptr() == q.data_ptr()
    torch.testing.assert_close(q, plain, rtol=0, atol=0)


@every
def test_rows_may_be_strided_shared_and_absent(kernel):
    p, q = rows(9, (6, 400))
    whole = kernel.kl_forward(p, q, normalized=False).kl
    torch.testing.assert_close(kernel.kl_forward(p[::2], q[::2], normalized=False).kl, whole[::2])
    shared = kernel.kl_forward(p, q[:1].expand(6, -1), normalized=False).kl
    torch.testing.assert_close(shared, kernel.kl_forward(p, q[[0] * 6], normalized=False).kl)
    assert kernel.kl_forward(p[:0], q[:0], normalized=False).kl.shape == (0,)
    nothing = kernel.row_statistics(p[:0], q[:0], None)
    assert all(column.shape == (0,) for column in nothing)


@every
@pytest.mark.parametrize("scale", [20.0, 1.0, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
def test_statistics_against_mpmath(kernel, scale, dtype):
    p, q = rows(10, (3, 200), scale, dtype)
    target = torch.tensor([0, 199, 57])
    found = kernel.row_statistics(p, q, target)
    assert isinstance(found, RowStatistics)
    tight = {"rel": 1e-10 if dtype == torch.float64 else 1e-5, "abs": 1e-15}
    # The rounding of float32 normalisers enters the divergences squared but this linearly.
    loose = {**tight, "abs": 1e-15 if dtype == torch.float64 else 1e-7}
    for i in range(3):
        a, b = oracle.softmax(p[i].tolist()), oracle.softmax(q[i].tolist())
        exact = {
            "kl": oracle.kl(a, b),
            "reverse_kl": oracle.kl(b, a),
            "js": oracle.js(a, b),
            "total_variation": oracle.total_variation(a, b),
            "entropy_p": oracle.entropy(a),
            "entropy_q": oracle.entropy(b),
            "log_prob_p": oracle.mp.log(a[target[i]]),
            "log_prob_q": oracle.mp.log(b[target[i]]),
            "top_prob_p": max(a),
            "top_prob_q": max(b),
        }
        for name, value in exact.items():
            allowed = loose if name == "total_variation" else tight
            assert getattr(found, name)[i].item() == pytest.approx(float(value), **allowed), name
    assert found.top_p.tolist() == p.argmax(-1).tolist()
    assert found.top_q.tolist() == q.argmax(-1).tolist()
    assert found.top_p.dtype == torch.int64


@every
def test_statistics_at_the_edges(kernel):
    p = torch.tensor([[0.0, 0.0, -math.inf], [0.0, 1.0, 1.0], [0.0, math.nan, 0.0]])
    q = torch.tensor([[0.0, -math.inf, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    found = kernel.row_statistics(p, q, None)
    assert found.kl[0] == found.reverse_kl[0] == math.inf
    assert found.total_variation[0].item() == pytest.approx(0.5)
    # m = (½, ¼, ¼): JS = ½ log 2, by hand.
    assert found.js[0].item() == pytest.approx(0.5 * math.log(2), rel=1e-6)
    assert found.kl[1] == found.reverse_kl[1] == found.js[1] == found.total_variation[1] == 0
    assert found.top_p[1] == 1  # the first of equals
    assert found.kl[2].isnan()
    assert found.log_prob_p.isnan().all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(20_000, 7), (50, 4099)])
def test_no_statistic_passes_its_bound(kernel, dtype, shape):
    """JS ≤ ln 2, TV ≤ 1, log-probabilities ≤ 0, for pairs of which many reach the bounds.

    Numba divides sums of terms by sums of what bounds each term, so that its quotients cannot
    pass the bound, and JS = ln 2 · (at most 1) is rounded once: to at most `dtype`'s own ln 2.
    Torch sums probabilities that are each rounded, so that its values may pass by some units in
    the last place.
    """
    generator = torch.Generator().manual_seed(12)
    p, q = 20 * torch.randn(2, *shape, generator=generator).to(dtype)
    q[::5] = torch.where(p[::5] > 0, -math.inf, q[::5]) if shape[1] > 7 else q[::5]
    target = torch.where(torch.arange(shape[0]) % 2 == 0, p.argmax(-1), q.argmax(-1))
    found = kernel.row_statistics(p, q, target)
    slack = 1 + 4 * torch.finfo(dtype).eps if kernel is reference else 1.0
    ln_2 = torch.tensor(math.log(2), dtype=dtype)
    assert found.js.max() > 0.999 * ln_2
    assert found.js.max() <= ln_2 * slack
    assert found.total_variation.max() > 0.999
    assert found.total_variation.max() <= slack
    for log_prob, prob in (
        (found.log_prob_p, found.top_prob_p),
        (found.log_prob_q, found.top_prob_q),
    ):
        assert log_prob.max() <= 0
        assert prob.max() <= 1


@every
def test_log_probs_of_all_but_certain_events(kernel):
    """log p = −log1p(rest): the digits are in the rest, which 1 + rest does not hold."""
    p = torch.tensor([[0.0, -9.0, -30.0], [-3e4, -1e4, -1e4 - 19.75], [0.0, 0.0, -80.0]])
    target = torch.tensor([0, 1, 2])
    found = kernel.row_statistics(p, p, target).log_prob_p.tolist()
    exact = [
        float(oracle.mp.log(oracle.softmax(row)[i]))
        for row, i in zip(p.tolist(), target.tolist(), strict=True)
    ]
    # The contract in torch adds the rest to 1 in float32.
    absolute = 6e-8 if kernel is reference else 0.0
    assert found == pytest.approx(exact, rel=1e-6, abs=absolute)
    masked = kernel.row_statistics(torch.tensor([[0.0, -math.inf]]), p[:1, :2], torch.tensor([1]))
    assert masked.log_prob_p.item() == -math.inf


@every
def test_no_target_or_no_distribution_has_no_log_prob(kernel):
    p = torch.tensor([[0.0, math.nan], [-math.inf, -math.inf], [0.0, math.inf]])
    found = kernel.row_statistics(p, torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))
    assert found.log_prob_p.isnan().all()
    assert found.log_prob_q.tolist() == pytest.approx([-math.log(2)] * 3)
