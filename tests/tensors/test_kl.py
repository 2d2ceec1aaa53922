"""What the Kullback–Leibler divergence itself must do, beyond the common battery."""

import math

import mpmath as mp
import pytest
import torch
from torch.nn import functional as F

import kullback as kl
import oracle


def softmax_pair(seed=0, shape=(6, 10)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator).softmax(-1) for _ in range(2))


def test_reproduces_the_tutorial_formula():
    p, q = softmax_pair()
    torch.testing.assert_close(kl.kl_divergence(p, q), (p * torch.log(p / q)).sum(1))


def test_mean_reproduces_batchmean():
    p, q = softmax_pair()
    torch.testing.assert_close(
        kl.kl_divergence(p, q).mean(), F.kl_div(q.log(), p, reduction="batchmean")
    )


def test_cross_entropy_is_entropy_plus_kl():
    p, q = (x.double() for x in softmax_pair())
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    total = kl.entropy(p) + kl.kl_divergence(p, q)
    torch.testing.assert_close(kl.cross_entropy(p, q), total, rtol=1e-14, atol=0)


def test_cross_entropy_with_one_hot_is_the_usual_loss():
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 3, 8, 2, 2])
    one_hot = F.one_hot(target, 9).float()
    value = kl.cross_entropy(one_hot, logits, space=("probs", "logits"))
    torch.testing.assert_close(value, F.cross_entropy(logits, target, reduction="none"))


def test_it_is_not_symmetric():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    assert kl.kl_divergence(p, q) > kl.kl_divergence(q, p) > 0


def test_it_is_infinite_where_q_misses_mass_of_p():
    p, q = torch.tensor([0.9, 0.1]), torch.tensor([1.0, 0.0])
    assert kl.kl_divergence(p, q) == math.inf
    assert kl.kl_divergence(q, p).item() == pytest.approx(-math.log(0.9), rel=1e-6)


@pytest.mark.parametrize(
    ("events", "scales"),
    [
        (4096, [1.0, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 4.5e-5]),
        (151_936, [4.5e-5]),
        pytest.param(151_936, [1.0, 3e-3], marks=pytest.mark.slow),
    ],
)
def test_accuracy_ladder_in_float32(events, scales):
    """Relative error ≤ 1e-5 for KL ≥ 1e-6 and ≤ 1e-3 down to 1e-9, where F.kl_div is noise."""
    generator = torch.Generator().manual_seed(0)
    for scale in scales:
        p = 3 * torch.randn(events, generator=generator) + 2
        q = p + scale * torch.randn(events, generator=generator)
        truth = oracle.kl(oracle.softmax(p.tolist()), oracle.softmax(q.tolist()))
        error = abs(mp.mpf(kl.kl_divergence(p, q, space="logits").item()) / truth - 1)
        assert truth > 8e-10
        assert error <= (1e-5 if truth >= 1e-6 else 1e-3)


def test_the_usual_computation_fails_where_ours_holds():
    """The reason for the ladder: the same inputs through F.kl_div, at a KL of about 4e-9."""
    generator = torch.Generator().manual_seed(0)
    p = 3 * torch.randn(4096, generator=generator)
    q = p + 1e-4 * torch.randn(4096, generator=generator)
    usual = F.kl_div(q.log_softmax(-1), p.log_softmax(-1), log_target=True, reduction="sum")
    truth = float(oracle.kl(oracle.softmax(p.tolist()), oracle.softmax(q.tolist())))
    assert abs(usual.item() / truth - 1) > 1
    assert kl.kl_divergence(p, q, space="logits").item() == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("space", ["logits", "log_probs", "probs"])
def test_never_negative_in_ten_thousand_nearly_equal_pairs(space):
    generator = torch.Generator().manual_seed(0)
    p = 3 * torch.randn(10_000, 64, generator=generator)
    q = p * (1 + 1e-6 * torch.randn(10_000, 64, generator=generator))
    if space != "logits":
        p, q = p.log_softmax(-1), q.log_softmax(-1)
    if space == "probs":
        p, q = p.exp(), q.exp()
    value = kl.kl_divergence(p, q, space=space)
    assert (value >= 0).all()
    assert (value < 1e-9).all()


def test_a_constant_that_rounds_leaves_no_more_than_its_rounding():
    """p + c in float32 is another row than p: each entry moved by at most half an ulp of 8."""
    p = torch.randn(100, 512, generator=torch.Generator().manual_seed(0))
    value = kl.kl_divergence(p, p + 5.3, space="logits")
    # KL ≤ ½ max|δ|² to leading order, with δ the rounding of the sum, below 2⁻²¹.
    assert (value <= 0.5 * 2.0**-42 * 4).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_is_right_where_probabilities_nearly_agree(dtype):
    """∂/∂logits_q = q − p loses everything to cancellation as a difference of softmaxes."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(4, 1000, generator=generator).to(dtype)
    q = (p.float() * (1 + 2**-7 * (torch.rand(4, 1000, generator=generator) < 0.1))).to(dtype)
    leaf = q.clone().requires_grad_()
    kl.kl_divergence(p, leaf, space="logits").sum().backward()
    exact = q.double().softmax(-1) - p.double().softmax(-1)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8
    error = (leaf.grad.double() - exact).norm() / exact.norm()
    assert error < tolerance


def test_rows_with_weight_zero_do_not_poison_the_gradient():
    """The where-after-the-fact trap: an infinite row that the loss masks out."""
    p = torch.tensor([[0.5, 0.5], [0.5, 0.5]], requires_grad=True)
    q = torch.tensor([[1.0, 0.0], [0.25, 0.75]], requires_grad=True)
    value = kl.kl_divergence(p, q)
    torch.where(value.isinf(), 0.0, value).sum().backward()
    assert (p.grad[0] == 0).all()
    assert (q.grad[0] == 0).all()
    assert torch.isfinite(p.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_overwriting_puts_the_gradient_into_the_logits(dtype):
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(3, 50, generator=generator).to(dtype) for _ in range(2))
    plain, overwritten = q.clone().requires_grad_(), q.clone().requires_grad_()
    kl.kl_divergence(p, plain, space="logits").sum().backward()
    place = overwritten.data_ptr()
    kl.kl_divergence(p, overwritten, space="logits", overwrite_q=True).sum().backward()
    assert overwritten.grad.data_ptr() == place
    torch.testing.assert_close(overwritten.grad, plain.grad)


def test_overwriting_is_heard_by_whoever_saved_the_logits():
    p, leaf = (torch.randn(3, 50, requires_grad=True) for _ in range(2))
    q = leaf * 1.0
    other = (q * q).sum()
    loss = kl.kl_divergence(p.detach(), q, space="logits", overwrite_q=True).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        other.backward()


def test_overwriting_a_shared_row_is_refused():
    p, q = torch.randn(3, 5), torch.randn(5, requires_grad=True)
    with pytest.raises(kl.errors.InputError, match="overwrite_q=True writes the gradient"):
        kl.kl_divergence(p, q, space="logits", overwrite_q=True)


def test_entropy_bounds_and_gradient():
    uniform = torch.full((8,), 1 / 8, dtype=torch.float64)
    assert kl.entropy(uniform).item() == pytest.approx(math.log(8), rel=1e-15)
    assert kl.entropy(torch.tensor([1.0, 0.0])) == 0
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: kl.entropy(x, space="logits"), logits)
    assert torch.autograd.gradgradcheck(lambda x: kl.entropy(x, space="logits"), logits)


def test_cross_entropy_gradients_in_every_space():
    logits = [torch.randn(2, 4, dtype=torch.float64) for _ in range(2)]
    for space in ("probs", "log_probs", "logits"):
        sides = [x if space == "logits" else x.log_softmax(-1) for x in logits]
        sides = [(x.exp() if space == "probs" else x).detach().requires_grad_() for x in sides]
        assert torch.autograd.gradcheck(
            lambda p, q, space=space: kl.cross_entropy(p, q, space=space), sides
        )


def test_cross_entropy_gradient_where_p_is_zero():
    """It is linear in p, so its slope at p = 0 is −log q, not nothing."""
    p = torch.tensor([0.0, 1.0], requires_grad=True)
    q = torch.tensor([0.25, 0.75])
    kl.cross_entropy(p, q).backward()
    torch.testing.assert_close(p.grad, -q.log())


def test_overwriting_memory_that_p_reads_is_refused():
    whole = torch.randn(4, 5)
    for p, q in ((whole[:1], whole), (whole[:-1], whole[1:]), (whole, whole)):
        with pytest.raises(kl.errors.InputError, match="memory that p does not share"):
            kl.kl_divergence(p, q, space="logits", overwrite_q=True)
    with pytest.raises(kl.errors.InputError, match="inside vmap"):
        torch.func.vmap(
            lambda p, q: kl.kl_divergence(p, q, space="logits", overwrite_q=True), (0, None)
        )(whole, torch.randn(5))
    with pytest.raises(kl.errors.InputError, match="with smoothing"):
        kl.kl_divergence(
            whole, whole + 1, space="logits", overwrite_q=True, smoothing=("uniform", 0.1)
        )
