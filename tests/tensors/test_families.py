"""The battery that every divergence on finite alphabets inherits."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kullback as kl
import oracle
from cases import CASES, Case
from kullback.divergences import DIVERGENCES

NAMES = sorted(DIVERGENCES)
SPACES = ("probs", "log_probs", "logits")
# A sum of V non-negative float32 terms, each right to a few units in the last place.
FLOAT32 = 1e-5


def logit_pair(seed, shape=(5, 7), scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    p = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    q = p + scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return p.to(dtype), q.to(dtype)


def to_space(logits, space):
    if space == "logits":
        return logits
    log_probs = torch.log_softmax(logits, -1)
    return log_probs if space == "log_probs" else log_probs.exp()


def from_probs(row, space, dtype):
    p = torch.tensor(row, dtype=dtype)
    return p if space == "probs" else p.log()


def test_every_registered_divergence_has_rows_and_an_oracle():
    assert {case.divergence for case in CASES} == set(NAMES) == set(oracle.DIVERGENCES)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.divergence}-{c.p}-{c.q}")
def test_known_answers(case: Case, space, dtype):
    p, q = from_probs(case.p, space, dtype), from_probs(case.q, space, dtype)
    value = kl.f_divergence(p, q, case.divergence, space=space)
    tolerance = FLOAT32 if dtype == torch.float32 else 1e-13
    assert value.dtype == dtype
    assert value.item() == pytest.approx(case.value, rel=tolerance)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [3.0, 1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("space", SPACES)
def test_value_against_mpmath(name, scale, space):
    p, q = (to_space(x, space).float() for x in logit_pair(1, (3, 50), scale))
    values = kl.f_divergence(p, q, name, space=space)
    for value, row_p, row_q in zip(values.tolist(), p.tolist(), q.tolist(), strict=True):
        # The oracle reads the float32 numbers as they are stored; rows that are not quite
        # normalised are normalised, which moves every value by less than the tolerance.
        exact = oracle.softmax([x if space != "probs" else float(np.log(x)) for x in row_p])
        other = oracle.softmax([x if space != "probs" else float(np.log(x)) for x in row_q])
        truth = float(oracle.DIVERGENCES[name](exact, other))
        # Beyond the accumulation, the stored probabilities carry their own rounding, 6e-8 of
        # each, which is a relative 6e-8 / scale of the log-ratio.
        assert value == pytest.approx(truth, rel=FLOAT32 + 1e-6 / scale, abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", SPACES)
def test_gradients_are_right_twice(name, space):
    p, q = (to_space(x, space).requires_grad_() for x in logit_pair(2, (2, 4)))

    def function(p, q):
        return kl.f_divergence(p, q, name, space=space)

    assert torch.autograd.gradcheck(function, (p, q))
    assert torch.autograd.gradgradcheck(function, (p, q))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spaces", [("probs", "logits"), ("logits", "log_probs")])
def test_sides_may_be_in_different_spaces(name, spaces):
    p, q = logit_pair(3)
    mixed = kl.f_divergence(to_space(p, spaces[0]), to_space(q, spaces[1]), name, space=spaces)
    torch.testing.assert_close(mixed, kl.f_divergence(p, q, name, space="logits"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("space", ["log_probs", "logits"])
def test_half_precision_is_its_float32_upcast(name, dtype, space):
    p, q = (to_space(x, space).to(dtype) for x in logit_pair(4, (3, 40)))
    value = kl.f_divergence(p, q, name, space=space)
    assert value.dtype == torch.float32
    upcast = kl.f_divergence(p.float(), q.float(), name, space=space, validate=False)
    # Both round in float32 only; chunks may be summed in another order.
    torch.testing.assert_close(value, upcast, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gradients_come_back_in_their_dtype(name):
    p, q = (x.to(torch.bfloat16).requires_grad_() for x in logit_pair(5))
    kl.f_divergence(p, q, name, space="logits").sum().backward()
    wide_p, wide_q = (x.detach().double().requires_grad_() for x in (p, q))
    kl.f_divergence(wide_p, wide_q, name, space="logits").sum().backward()
    for narrow, wide in ((p, wide_p), (q, wide_q)):
        assert narrow.grad.dtype == torch.bfloat16
        # One rounding to bfloat16's 8 bits of mantissa.
        torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=2**-8, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_masked_events_count_for_nothing(name):
    p, q = logit_pair(6)
    plain = kl.f_divergence(p, q, name, space="logits")
    hole = torch.full((5, 2), -torch.inf, dtype=p.dtype)
    p, q = (torch.cat([x, hole], -1).requires_grad_() for x in (p, q))
    value = kl.f_divergence(p, q, name, space="logits")
    torch.testing.assert_close(value, plain, rtol=1e-13, atol=0)
    value.sum().backward()
    for side in (p, q):
        assert torch.isfinite(side.grad).all()
        assert (side.grad[:, -2:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("create_graph", [False, True])
def test_an_event_without_probability_has_no_nan_gradient(name, create_graph):
    p = torch.tensor([0.0, 0.4, 0.6], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64, requires_grad=True)
    value = kl.f_divergence(p, q, name)
    of_p, of_q = torch.autograd.grad(value, (p, q), create_graph=create_graph)
    assert not of_p.isnan().any()
    assert not of_q.isnan().any()
    if name == "kl":
        assert of_p[0] == 0
        # ∂/∂p = log(p/q), ∂/∂q = 1 − p/q of the generalised divergence.
        torch.testing.assert_close(of_p[1:], (p / q).log()[1:].detach())
        torch.testing.assert_close(of_q, (1 - p / q).detach())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", SPACES)
def test_equal_rows_are_exactly_zero(name, space):
    p = to_space(logit_pair(7, (20, 100))[0], space).float().requires_grad_()
    q = p.detach().clone().requires_grad_()
    value = kl.f_divergence(p, q, name, space=space)
    assert (value == 0).all()
    value.sum().backward()
    assert (p.grad == 0).all()
    assert (q.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_logits_that_differ_by_a_constant_are_equal(name):
    # Multiples of 2⁻¹⁰ plus a small integer are exact in float32, so the rows do differ by it.
    p = (logit_pair(8, (20, 100))[0] * 1024).round().float() / 1024
    assert (kl.f_divergence(p, p + 16.0, name, space="logits") == 0).all()


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-7, 1e-6, 1e-4, 1e-2, 1.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_gibbs_inequality(name, seed, scale):
    p, q = logit_pair(seed, (8, 33), scale, torch.float32)
    value = kl.f_divergence(p, q, name, space="logits")
    assert (value >= 0).all()
    assert (value <= DIVERGENCES[name].upper * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_merging_events_loses_divergence(name, seed):
    """The data-processing inequality (Csiszár 1967)."""
    p, q = (to_space(x, "probs") for x in logit_pair(seed, (6, 8), 2.0))
    fine = kl.f_divergence(p, q, name)
    coarse = kl.f_divergence(p.view(6, 4, 2).sum(-1), q.view(6, 4, 2).sum(-1), name)
    assert (coarse <= fine * (1 + 1e-12) + 1e-15).all()


@pytest.mark.parametrize("name", NAMES)
def test_permutation_batch_dim_and_symmetry(name):
    p, q = logit_pair(9, (4, 3, 6))
    value = kl.f_divergence(p, q, name, space="logits")
    assert value.shape == (4, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    close = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(
        kl.f_divergence(p[..., order], q[..., order], name, space="logits"), value, **close
    )
    moved = kl.f_divergence(p.movedim(-1, 0), q.movedim(-1, 0), name, space="logits", dim=0)
    torch.testing.assert_close(moved, value, **close)
    one = kl.f_divergence(p[1, 2], q[1, 2], name, space="logits")
    torch.testing.assert_close(one, value[1, 2], **close)
    shared = kl.f_divergence(p, q[0, 0], name, space="logits")
    torch.testing.assert_close(shared[0, 0], value[0, 0], **close)
    swapped = kl.f_divergence(q, p, name, space="logits")
    assert torch.allclose(swapped, value) == DIVERGENCES[name].symmetric


@pytest.mark.parametrize("name", NAMES)
def test_generator_agrees_with_terms(name):
    """Σ q f(p/q) with the record's own f, through the path for generators that callers write."""
    p, q = (to_space(x, "probs") for x in logit_pair(10))
    value = (
        kl.f_divergence(p, q, DIVERGENCES[name].generator, slope_at_infinity=1.0, validate=True)
        if name not in ("reverse_kl", "jeffreys", "js")
        else None
    )
    if value is None:
        ratio = p / q
        value = (q * DIVERGENCES[name].generator(ratio)).sum(-1)
    torch.testing.assert_close(value, kl.f_divergence(p, q, name), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.9])
def test_js_weights_against_mpmath(weight):
    p, q = (to_space(x, "probs") for x in logit_pair(11, (2, 9)))
    for value, a, b in zip(kl.js_divergence(p, q, weight=weight), p, q, strict=True):
        truth = oracle.js([mp.mpf(x) for x in a.tolist()], [mp.mpf(x) for x in b.tolist()], weight)
        assert value.item() == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.parametrize("weight", [1e-6, 1 - 1e-6])
def test_js_over_its_weights_meets_kl(weight):
    p, q = (to_space(x, "probs") for x in logit_pair(12))
    scaled = kl.js_divergence(p, q, weight=weight) / (weight * (1 - weight))
    limit = kl.kl_divergence(p, q) if weight < 0.5 else kl.kl_divergence(q, p)
    # The next term of the expansion is of relative order 1e-6 times a χ².
    torch.testing.assert_close(scaled, limit, rtol=1e-4, atol=0)


ORDERS = [0, 1e-6, 0.25, 0.5, 0.999999, 1, 1.000001, 2, 5, math.inf]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_renyi_against_mpmath(order, scale):
    p, q = (to_space(x, "probs") for x in logit_pair(13, (2, 9), scale))
    for value, a, b in zip(kl.renyi_divergence(p, q, alpha=order), p, q, strict=True):
        a, b = ([mp.mpf(x) for x in row.tolist()] for row in (a, b))
        a, b = ([x / mp.fsum(row) for x in row] for row in (a, b))
        truth = oracle.renyi(a, b, order)
        assert value.item() == pytest.approx(float(truth), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("order", [-1.5, 1e-7, 0.3, 0.9999999, 1.5, 3.0])
def test_alpha_against_mpmath_and_gradients(order):
    p, q = (to_space(x, "probs") for x in logit_pair(14, (2, 5)))
    for value, a, b in zip(kl.alpha_divergence(p, q, alpha=order), p, q, strict=True):
        a, b = ([mp.mpf(x) for x in row.tolist()] for row in (a, b))
        a, b = ([x / mp.fsum(row) for x in row] for row in (a, b))
        assert value.item() == pytest.approx(float(oracle.alpha(a, b, order)), rel=1e-9)
    logits = [x.requires_grad_() for x in logit_pair(15, (2, 4))]

    def function(p, q):
        return kl.alpha_divergence(p, q, alpha=order, space="logits")

    assert torch.autograd.gradcheck(function, logits)
    assert torch.autograd.gradgradcheck(function, logits)


@pytest.mark.parametrize("order", [0.5, 2.0, math.inf])
def test_renyi_gradients(order):
    for scale in (0.1, 10.0):  # either route
        logits = [x.requires_grad_() for x in logit_pair(16, (2, 4), scale)]

        def function(p, q):
            return kl.renyi_divergence(p, q, alpha=order, space="logits")

        assert torch.autograd.gradcheck(function, logits)
        assert torch.autograd.gradgradcheck(function, logits)


def test_renyi_is_infinite_and_finite_where_it_should_be():
    p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert kl.renyi_divergence(p, q, alpha=0.5) == math.inf
    assert kl.renyi_divergence(p, q, alpha=0) == math.inf
    full = torch.tensor([0.5, 0.5])
    assert kl.renyi_divergence(full, p, alpha=2) == math.inf
    assert kl.renyi_divergence(full, p, alpha=0.5).item() == pytest.approx(math.log(2), rel=1e-6)


def test_numpy_in_numpy_out():
    p, q = np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0.25, 0.75])
    value = kl.kl_divergence(p, q)
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, [0.5 * math.log(4 / 3), 0], rtol=1e-14)
    assert isinstance(kl.entropy(q), np.float64)


def test_hellinger_distance_is_the_root_with_a_quiet_zero():
    p, q = (to_space(x, "probs") for x in logit_pair(17))
    distance = kl.hellinger_distance(p, q)
    torch.testing.assert_close(distance**2, kl.f_divergence(p, q, "squared_hellinger"))
    p = p.requires_grad_()
    kl.hellinger_distance(p, p.detach()).sum().backward()
    assert (p.grad == 0).all()
