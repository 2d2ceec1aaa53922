"""One-dimensional optimal transport against linear programming and SciPy."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

import kullback as kl
from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError


def problem(seed, left=5, right=5):
    random = np.random.default_rng(seed)
    p, q = random.dirichlet(np.ones(left)), random.dirichlet(np.ones(right))
    return p, q, random.normal(size=left), random.normal(size=right)


def linear_program(p, q, x, y, order):
    """min Σ T|x − y|^order over couplings T, the definition itself."""
    cost = np.abs(x[:, None] - y) ** order
    rows = np.kron(np.eye(len(p)), np.ones(len(q)))
    columns = np.kron(np.ones(len(p)), np.eye(len(q)))
    found = optimize.linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])
    )
    return found.fun ** (1 / order)


@pytest.mark.parametrize("order", [1, 1.5, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_against_the_linear_program(order, seed):
    p, q, x, y = problem(seed, 5, 7)
    value = kl.wasserstein_distance(p, q, support=(x, y), order=order)
    # HiGHS stops at a feasibility tolerance of 1e-7.
    assert value == pytest.approx(linear_program(p, q, x, y, order), rel=1e-6)


def test_shared_support_against_scipy_and_the_quantile_route():
    p, q, x, _ = problem(3)
    value = kl.wasserstein_distance(p, q, support=x)
    assert value == pytest.approx(stats.wasserstein_distance(x, x, p, q), rel=1e-12)
    assert value == pytest.approx(kl.wasserstein_distance(p, q, support=(x, x)), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_for_masses_and_supports(order, shared):
    p, q, x, y = (torch.tensor(side, requires_grad=True) for side in problem(4))

    def function(p, q, x, y):
        support = x if shared else (x, y)
        return kl.wasserstein_distance(p, q, support=support, order=order, space="logits")

    assert torch.autograd.gradcheck(function, (p, q, x, y))


def test_batches_dims_and_broadcast_supports():
    p, q, x, y = (
        torch.tensor(np.stack(side)) for side in zip(*map(problem, range(3)), strict=True)
    )
    each = [
        kl.wasserstein_distance(*row[:2], support=row[2:], order=2)
        for row in zip(p, q, x, y, strict=True)
    ]
    batch = kl.wasserstein_distance(p, q, support=(x, y), order=2)
    torch.testing.assert_close(batch, torch.stack(each))
    moved = kl.wasserstein_distance(p.T, q.T, support=(x.T, y.T), order=2, dim=0)
    torch.testing.assert_close(moved, batch)
    shared = kl.wasserstein_distance(p, q[0], support=x[0])
    torch.testing.assert_close(shared[1], kl.wasserstein_distance(p[1], q[0], support=x[0]))


def test_nearly_equal_sides_in_float32():
    """The pieces between nearly equal levels are differences of sums: float32 sums lose them."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(5000, generator=generator).softmax(-1)
    q = p * (1 + 1e-6 * torch.randn(5000, generator=generator))
    q = q / q.sum()
    support = torch.linspace(0, 1, 5000)
    for order in (1, 2):
        value = kl.wasserstein_distance(p, q, support=(support, support), order=order)
        exact = kl.wasserstein_distance(
            p.double(), q.double(), support=(support.double(), support.double()), order=order
        )
        assert value.item() == pytest.approx(exact.item(), rel=1e-3)


def test_it_is_a_metric_and_zero_when_equal():
    p, q, x, _ = problem(5)
    assert kl.wasserstein_distance(p, p, support=x) == 0
    assert kl.wasserstein_distance(p, p, support=(x, x), order=2) == 0
    forward = kl.wasserstein_distance(p, q, support=x, order=3)
    assert forward == pytest.approx(kl.wasserstein_distance(q, p, support=x, order=3), rel=1e-12)


def test_equal_sides_have_a_finite_gradient():
    p = torch.tensor([0.5, 0.5], requires_grad=True)
    support = torch.tensor([0.0, 1.0])
    kl.wasserstein_distance(p, p.detach(), support=(support, support), order=2).backward()
    assert torch.isfinite(p.grad).all()


def test_a_point_mass_moves_its_own_distance():
    p, q = torch.tensor([1.0]), torch.tensor([1.0])
    support = (torch.tensor([2.0]), torch.tensor([-1.5]))
    for order in (1, 2, 7):
        value = kl.wasserstein_distance(p, q, support=support, order=order)
        assert value.item() == pytest.approx(3.5, rel=1e-6)


def test_refusals():
    p, q, x, _ = problem(6, 5, 7)
    with pytest.raises(ShapeError, match=r"q has 3 events .* or a pair of supports"):
        kl.wasserstein_distance(p, q[:3] / q[:3].sum(), support=x)
    with pytest.raises(ShapeError, match="q has 7 events and its support has shape"):
        kl.wasserstein_distance(p, q, support=(x, x))
    with pytest.raises(InputError, match=r"order=0\.5"):
        kl.wasserstein_distance(p, p, support=x, order=0.5)
    with pytest.raises(NonFiniteError, match="the support has a NaN"):
        kl.wasserstein_distance(p, p, support=x * np.nan)
    with pytest.raises(ShapeError, match="do not broadcast"):
        kl.wasserstein_distance(np.stack([p, p]), p, support=np.stack([x, x, x]))
    with pytest.raises(DtypeError, match="two of a kind"):
        kl.wasserstein_distance(p, torch.from_numpy(p), support=x)
    with pytest.raises(InputError, match="sum to"):
        kl.wasserstein_distance(2 * p, p, support=x)
