"""What only the Numba kernels can get wrong: threads, memory, the guess, bit casts, the cache."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numba import njit

import oracle
from kullback.kernels import cpu
from kullback.kernels.cpu_math import bounded_exp, cast, exp_to_zero, narrow, ratio_terms
from kullback.kernels.cpu_rows import BLOCK

HALF = [torch.bfloat16, torch.float16]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def everything(p, q):
    saved = cpu.kl_forward(p, q, normalized=False)
    weight = torch.linspace(-1, 1, p.shape[0])
    grads = cpu.kl_backward(p, q, saved, weight, normalized=False, needs=(True, True))
    return [*saved, *grads, *cpu.row_statistics(p, q, torch.arange(p.shape[0]))]


def assert_identical(found, expected):
    for x, y in zip(found, expected, strict=True):
        assert torch.equal(x, y)


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_any_number_of_threads_gives_the_same_bits(set_threads):
    p, q = normal(150, 1 << 14), normal(150, 1 << 14, seed=1)
    assert p.numel() > 4 * cpu.PORTION
    set_threads(1)
    alone = everything(p, q)
    for threads in (2, 3):
        set_threads(threads)
        assert_identical(everything(p, q), alone)


def test_several_callers_at_once(set_threads):
    set_threads(2)
    pairs = [(normal(70, 1 << 14, seed=2 * i), normal(70, 1 << 14, seed=2 * i + 1)) for i in (0, 1)]
    alone = [everything(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(lambda i: everything(*pairs[i % 2]), range(8))):
            assert_identical(found, alone[i % 2])


def test_an_error_in_a_thread_reaches_the_caller(set_threads):
    set_threads(2)

    def portion(first, last):
        if first > 0:
            raise RuntimeError("in a portion")

    with pytest.raises(RuntimeError, match="in a portion"):
        cpu.over_rows(portion, 8, cpu.PORTION)


FORK = """
import os, torch
from kullback.kernels import cpu
torch.set_num_threads(2)
p, q = torch.randn(2, 80, 1 << 14)
expected = cpu.kl_forward(p, q, normalized=False).kl
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(cpu.kl_forward(p, q, normalized=False).kl, expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_works_in_a_forked_child():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=120)


def test_columns_of_a_wider_matrix():
    wide_p, wide_q = normal(5, 3000), normal(5, 3000, seed=1)
    p, q = wide_p[::2, 7:2500], wide_q[::2, 7:2500]
    assert_identical(everything(p, q), everything(p.contiguous(), q.contiguous()))


def test_the_gradient_touches_only_the_columns_it_is_given():
    wide = normal(4, 3000, seed=1)
    p, q, before = normal(4, 2000), wide[:, 500:2500], wide.clone()
    saved = cpu.kl_forward(p, q, normalized=False)
    arguments = {"normalized": False, "needs": (False, True)}
    _, plain = cpu.kl_backward(p, q, saved, torch.ones(4), **arguments)
    _, into = cpu.kl_backward(p, q, saved, torch.ones(4), **arguments, out_q=q)
    assert into is q
    assert torch.equal(q, plain)
    assert torch.equal(wide[:, :500], before[:, :500])
    assert torch.equal(wide[:, 2500:], before[:, 2500:])


def test_the_gradient_may_overwrite_both_sides_at_once():
    """p and q are one tensor of log-probabilities that do not sum to one, so that none is 0."""
    x = normal(3, 1500)
    saved = cpu.kl_forward(x, x, normalized=True)
    grad_p, grad_q = cpu.kl_backward(
        x, x, saved, torch.ones(3), normalized=True, needs=(True, True), out_q=x
    )
    assert grad_q is x
    assert (grad_p == 0).all()
    assert (grad_q == 0).all()


MEMORY = """
import json, torch
from kullback.kernels import cpu
torch.set_num_threads(2)
rows, events = 256, 1 << 16
p, q = (torch.randn(rows, events).to(getattr(torch, "{dtype}")) for _ in range(2))
weight = torch.ones(rows)

def peak():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1])

def grown(call):
    call(p[:2], q[:2], weight[:2], None)  # compiles
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    before = peak()
    call(p, q, weight, q)
    return 1024 * (peak() - before) / p.untyped_storage().nbytes()

def forward(p, q, weight, out):
    cpu.kl_forward(p, q, normalized=False)

def backward(p, q, weight, out):
    saved = cpu.kl_forward(p, q, normalized=False)
    cpu.kl_backward(p, q, saved, weight, normalized=False, needs=(False, True))

def in_place(p, q, weight, out):
    saved = cpu.kl_forward(p, q, normalized=False)
    cpu.kl_backward(p, q, saved, weight, normalized=False, needs=(False, True), out_q=out)

def statistics(p, q, weight, out):
    cpu.row_statistics(p, q, None)

print(json.dumps({{f.__name__: grown(f) for f in (forward, backward, statistics, in_place)}}))
"""


@linux
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_temporary_of_the_size_of_the_input(dtype):
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY.format(dtype=dtype)],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    grown = json.loads(ran.stdout)
    assert 0.9 < grown.pop("backward") < 1.1  # the gradient itself
    for name, tensors in grown.items():
        assert tensors < 0.1, name


CACHE = """
import torch
from kullback.kernels import cpu, cpu_rows
p, q = torch.randn(2, 3, 50)
cpu.kl_forward(p, q, normalized=False)
stats = cpu_rows.forward_rows.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_compiled_code_is_kept_on_disk(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", CACHE],
            env=environment,
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert found == [["0", "1"], ["1", "0"]]


def exact_kl(p, q):
    return [
        float(oracle.kl(oracle.softmax(a), oracle.softmax(b)))
        for a, b in zip(p.tolist(), q.tolist(), strict=True)
    ]


@pytest.mark.parametrize("shift", [0.0, 1e-3, 0.03, 1.0, 15.0, 60.0, 400.0, -60.0, -400.0])
@pytest.mark.parametrize("spread", [1e-4, 1e-2, 1.0])
def test_first_events_that_mislead_the_guess(shift, spread):
    """Log q − log p of the first block differs by `shift` from that of the rest."""
    p = normal(2, 2 * BLOCK + 500)
    q = p + spread * normal(*p.shape, seed=1)
    q[:, :BLOCK] += shift
    found = cpu.kl_forward(p, q, normalized=False)
    # At most a correction of four times the result, from sums right to a few 1e-7.
    assert found.kl.tolist() == pytest.approx(exact_kl(p, q), rel=5e-6)
    expected = q.double().logsumexp(-1) - p.double().logsumexp(-1)
    torch.testing.assert_close(
        found.log_normalizer_q - found.log_normalizer_p, expected, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([3e38, -3e38], [-3e38, 3e38], torch.inf),  # 6e38, which float32 does not have
        ([3e38, 0.0], [-3e38, 0.0], 3e38),
        ([0.0, 3e38], [0.0, 0.0], np.log(2)),
        ([-3e38, 1.0, -3e38], [3e38, -3e38, 3e38], torch.inf),
        ([0.0, -3e38, 3e38], [-1.0, 3e38, 3e38], np.log(2)),
    ],
)
def test_logits_whose_difference_is_beyond_the_largest_number(p, q, expected):
    p, q = torch.tensor([p]), torch.tensor([q])
    saved = cpu.kl_forward(p, q, normalized=False)
    assert saved.kl.item() == pytest.approx(expected)
    arguments = {"normalized": False, "needs": (True, True)}
    grads = cpu.kl_backward(p, q, saved, torch.ones(1), **arguments)
    assert not any(grad is None or grad.isnan().any() for grad in grads)


@pytest.mark.parametrize("first", [-torch.inf, -1e9, torch.finfo(torch.float32).min])
def test_first_events_without_any_mass(first):
    p, q = normal(2, 3000), normal(2, 3000, seed=1)
    q[:, :1500] = first
    p[0, :1500] = first
    p[1, :1500] = -300.0  # e^-300 is 0 in float32, and counts as such
    p[:, 2000:2100], q[:, 2000:2100] = first, first
    expected = exact_kl(p[:, 1500:].double(), q[:, 1500:].double())
    found = cpu.kl_forward(p, q, normalized=False).kl.tolist()
    assert found == pytest.approx(expected, rel=2e-6)


def test_never_negative_for_ten_thousand_nearly_equal_pairs():
    p = normal(10_000, 1300) * torch.logspace(-1, 1, 10_000)[:, None]
    q = p * (1 + torch.logspace(-8, -4, 1300) * normal(*p.shape, seed=1))
    q[::2, :BLOCK] += 1e-4
    values = cpu.kl_forward(p, q, normalized=False).kl
    assert (values >= 0).all()
    assert (values > 0).any()
    statistics = cpu.row_statistics(p, q, None)
    assert (statistics.reverse_kl >= 0).all()
    assert (statistics.js >= 0).all()


@njit
def _widened(bits, like):
    out = np.empty(bits.size, dtype=like.dtype)
    for i in range(bits.size):
        out[i] = cast(bits[i], like[0])
    return out


@njit
def _narrowed(values, like):
    out = np.empty_like(like)
    for i in range(values.size):
        out[i] = narrow(values[i], like)
    return out


HALVES = [(torch.bfloat16, np.int16), (torch.float16, np.uint16)]


@pytest.mark.parametrize(("dtype", "bits"), HALVES)
@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_every_half_precision_number_is_read_exactly(dtype, bits, wide):
    patterns = np.arange(1 << 16, dtype=np.uint16)
    expected = torch.from_numpy(patterns.view(np.int16)).view(dtype).double().numpy()
    found = _widened(patterns.view(bits), np.zeros(1, wide))
    with np.errstate(invalid="ignore"):  # some of the patterns are signalling NaNs
        np.testing.assert_array_equal(found.astype(np.float64), expected)


@pytest.mark.parametrize(("dtype", "bits"), HALVES)
def test_half_precision_is_rounded_to_nearest_even(dtype, bits):
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype).float()
    halfway = (patterns[:-1] + patterns[1:]) / 2
    values = torch.cat([patterns, halfway, halfway * (1 + 2**-20), 1e-3 * normal(5000)])
    values = values[~values.isnan()]
    found = _narrowed(values.numpy(), np.zeros(len(values), bits)).view(np.int16)
    assert torch.equal(torch.from_numpy(found), values.to(dtype).view(torch.int16))
    nan = _narrowed(np.array([np.nan], np.float32), np.zeros(1, bits)).view(np.int16)
    assert torch.from_numpy(nan).view(dtype).isnan().all()


def test_float64_is_split_and_summed_in_float64():
    """The bits that float32 would lose decide these values."""
    p = normal(2, 1500).double()
    q = p + 1e-9 * normal(2, 1500, seed=1).double()
    assert cpu.kl_forward(p, q, normalized=False).kl.tolist() == pytest.approx(
        exact_kl(p, q),
        rel=1e-6,  # d = 1e-9 carries 7 digits in float64
    )


@pytest.mark.parametrize(
    ("kind", "ulp", "lowest"), [(np.float32, 1.2e-7, -87), (float, 3e-16, -708)]
)
def test_the_exponential(kind, ulp, lowest):
    for x in np.linspace(lowest, 80, 2001).astype(kind):
        assert bounded_exp(x) == pytest.approx(float(np.exp(np.longdouble(x))), rel=2 * ulp)
    assert exp_to_zero(kind(-np.inf)) == 0 == exp_to_zero(kind(1.3 * lowest))
    subnormal = kind(1.01 * lowest)
    assert exp_to_zero(subnormal) == pytest.approx(np.exp(np.float64(subnormal)), rel=1e-5)
    assert np.isnan(bounded_exp(kind(np.nan)))


@pytest.mark.parametrize(("kind", "ulp"), [(np.float32, 1.2e-7), (float, 2.3e-16)])
def test_expm1_and_its_excess_keep_their_digits_at_every_size(kind, ulp):
    sizes = np.concatenate([np.logspace(-18, np.log10(20), 500), [0.34, 0.3466, 0.35, 1.0398]])
    for d in (kind(sign * size) for sign in (1, -1) for size in sizes):
        change, excess = ratio_terms(d)
        exact = oracle.mp.expm1(oracle.mp.mpf(float(d)))
        # Just past ±ln(2)/2 a difference of 0.06 is left of numbers near 0.4.
        assert change == pytest.approx(float(exact), rel=4 * ulp)
        assert excess == pytest.approx(float(exact - float(d)), rel=12 * ulp)
    assert ratio_terms(kind(0)) == (0, 0)
