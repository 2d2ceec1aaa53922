"""The step against closed forms, its promise over many problems, and what it leaves on failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

import kullback as kl
from kullback.errors import DtypeError, InputError, KullbackError, NonFiniteError, ShapeError
from kullback.training.trust_region import TrustRegion, TrustRegionStep

F64 = torch.float64


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def positive(n: int, seed: int = 0) -> Tensor:
    """A symmetric matrix with eigenvalues of order one."""
    root = rand(n, n, seed=seed)
    return root @ root.T / n + 0.1 * torch.eye(n, dtype=F64)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


class TestClosedForms:
    @pytest.mark.parametrize("damping", [0.0, 0.3])
    def test_a_linear_objective_within_a_quadratic(self, damping: float) -> None:
        """x = x₀ + β (F + λ)⁻¹g with ½ β² sᵀFs = max_kl, for KL = ½ (x − x₀)ᵀF(x − x₀)."""
        start, g, F = rand(6), rand(6, seed=1), positive(6)
        x = start.clone().requires_grad_()
        found = TrustRegion([x], 0.02, damping=damping, cg_tolerance=1e-12, cg_iterations=20).step(
            lambda: g @ x, lambda: 0.5 * (x - start) @ F @ (x - start)
        )
        s = torch.linalg.solve(F + damping * torch.eye(6, dtype=F64), g)
        full = s * (2 * 0.9999 * 0.02 / (s @ F @ s)).sqrt()
        assert torch.allclose(x.detach() - start, full, rtol=0, atol=1e-12)
        assert found.accepted
        assert found.step_fraction == 1
        assert found.line_search_steps == 1
        assert found.kl == pytest.approx(0.9999 * 0.02, rel=1e-12)
        # The objective is linear: what was promised is what came.
        assert found.improvement == pytest.approx(float(g @ full), rel=1e-12)
        assert found.expected_improvement == pytest.approx(float(g @ full), rel=1e-12)
        assert found.gradient_norm == pytest.approx(float(g.norm()), rel=1e-12)
        assert found.surrogate == pytest.approx(float(g @ start), rel=1e-12)
        assert found.cg_residual < 1e-11
        assert found.cg_iterations == 6

    def test_a_damped_length(self) -> None:
        """½ β² sᵀ(F + λ)s = max_kl, of which ½ β² sᵀFs is the KL."""
        g, F = rand(6, seed=1), positive(6)
        x = torch.zeros(6, dtype=F64, requires_grad=True)
        region = TrustRegion([x], 0.02, damping=0.3, cg_iterations=20, damped_length=True)
        found = region.step(lambda: g @ x, lambda: 0.5 * x @ F @ x)
        A = F + 0.3 * torch.eye(6, dtype=F64)
        s = torch.linalg.solve(A, g)
        full = s * (2 * 0.9999 * 0.02 / (s @ A @ s)).sqrt()
        assert torch.allclose(x.detach(), full, rtol=0, atol=1e-6)
        assert found.kl == pytest.approx(float(0.5 * full @ F @ full), rel=1e-5)

    def test_the_residual_is_that_of_the_direction(self) -> None:
        """After two of six products, s is the best in span{g, Ag}: Galerkin by a direct solver."""
        g, F = rand(6, seed=1), positive(6)
        A = F + 0.1 * torch.eye(6, dtype=F64)
        x = torch.zeros(6, dtype=F64, requires_grad=True)
        found = TrustRegion([x], cg_iterations=2).step(lambda: g @ x, lambda: 0.5 * x @ F @ x)
        basis = torch.linalg.qr(torch.stack([g, A @ g], 1)).Q
        s = basis @ torch.linalg.solve(basis.T @ A @ basis, basis.T @ g)
        assert found.cg_iterations == 2
        assert found.cg_residual == pytest.approx(float((g - A @ s).norm() / g.norm()), rel=1e-10)
        assert cosine(x.detach(), s) == pytest.approx(1, abs=1e-12)

    def test_the_mean_of_a_gaussian(self) -> None:
        """KL = ‖μ − μ₀‖²_{Σ⁻¹}/2, so that the natural gradient is Σg: a known variance, no more."""
        scale, g = torch.tensor([0.1, 1.0, 5.0], dtype=F64), rand(3, seed=2)
        mean = torch.zeros(3, dtype=F64, requires_grad=True)
        old = Independent(Normal(torch.zeros(3, dtype=F64), scale), 1)
        TrustRegion([mean], 0.5, damping=0, cg_tolerance=1e-14).step(
            lambda: g @ mean, lambda: kl.kl_divergence(old, Independent(Normal(mean, scale), 1))
        )
        expected = scale**2 * g * (0.9999 / (scale * g).square().sum()).sqrt()
        assert torch.allclose(mean.detach(), expected, rtol=1e-12, atol=0)

    def test_float32_takes_the_whole_step_where_the_kl_is_quadratic(self) -> None:
        """On the bound itself rounding would turn half of these down."""
        for seed in range(40):
            mean = rand(50, seed=seed).float().requires_grad_()
            old, g = mean.detach().clone(), rand(50, seed=seed + 1000).float()
            found = TrustRegion([mean], 10.0 ** -(seed % 7)).step(
                lambda g=g, mean=mean: g @ mean,
                lambda old=old, mean=mean: kl.kl_divergence(Normal(old, 1), Normal(mean, 1)).sum(),
            )
            assert found.step_fraction == 1

    @pytest.mark.parametrize("factor", [1e-30, 1e30])
    def test_the_unit_of_the_objective_does_not_matter(self, factor: float) -> None:
        """Not even where the square of a float32 gradient would underflow or overflow."""
        reached = []
        for scale in (1.0, factor):
            x = rand(4).float().requires_grad_()
            old = x.detach().clone()
            found = TrustRegion([x]).step(
                lambda x=x, scale=scale: scale * x.softmax(-1)[0],
                lambda x=x, old=old: kl.kl_divergence(old, x, space="logits"),
            )
            assert found.accepted
            reached.append(x.detach())
        assert torch.allclose(*reached, rtol=1e-5, atol=0)


class TestReparameterisation:
    """The natural gradient moves the policy alike whatever it is parameterised by."""

    @staticmethod
    def moved(make: Callable[[Tensor], Tensor], at: Tensor, max_kl: float) -> Tensor:
        leaf = at.clone().requires_grad_()
        old, reward = make(at), rand(5, seed=9)
        region = TrustRegion([leaf], max_kl, damping=0, cg_iterations=30, cg_tolerance=1e-13)
        found = region.step(
            lambda: make(leaf).softmax(-1) @ reward,
            lambda: kl.kl_divergence(old, make(leaf), space="logits"),
        )
        assert found.accepted
        # Divided by the share: the line search may stop at another one.
        return (make(leaf.detach()).log_softmax(-1) - old.log_softmax(-1)) / found.step_fraction

    def test_exactly_for_a_linear_map(self) -> None:
        A, logits = positive(5, seed=4), rand(5)
        one = self.moved(lambda x: x, logits, 1e-10)
        other = self.moved(lambda x: A @ x, torch.linalg.solve(A, logits), 1e-10)
        assert float((one - other).norm() / one.norm()) < 1e-6

    def test_to_first_order_for_any_map(self) -> None:
        logits = rand(5)
        errors = []
        for max_kl in (1e-4, 1e-6, 1e-8):
            one = self.moved(lambda x: x, logits, max_kl)
            other = self.moved(torch.sinh, torch.asinh(logits), max_kl)
            errors.append(float((one - other).norm() / one.norm()))
        # Steps are of length √max_kl, so a hundredth of the KL is a tenth of the error.
        assert errors[0] < 0.05
        # The shares that the line search took may differ, which is of that order as well.
        assert 0.05 < errors[1] / errors[0] < 0.2
        assert 0.05 < errors[2] / errors[1] < 0.2


class Mixed(nn.Module):
    """A policy that chooses one of four and two numbers, with a shared trunk."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 8, dtype=dtype)
        self.choice = nn.Linear(8, 4, dtype=dtype)
        self.mean = nn.Linear(8, 2, dtype=dtype)
        self.log_scale = nn.Parameter(torch.zeros(2, dtype=dtype))
        for number, x in enumerate(self.parameters()):
            x.data = 0.7 * rand(*x.shape, seed=seed * 100 + number).to(dtype)

    def forward(self, states: Tensor) -> tuple[Categorical, Independent]:
        hidden = self.trunk(states).tanh()
        return Categorical(logits=self.choice(hidden)), Independent(
            Normal(self.mean(hidden), self.log_scale.exp()), 1
        )


class Problem:
    """States, actions and advantages for a policy, with TRPO's two closures."""

    def __init__(self, seed: int, dtype: torch.dtype, kinds: str, forward: bool) -> None:
        self.policy = Mixed(seed, dtype)
        self.kinds, self.forward = (
            [slice(0, 1), slice(1, 2), slice(0, 2)][
                ["categorical", "gaussian", "mixed"].index(kinds)
            ],
            forward,
        )
        self.states = rand(32, 3, seed=seed).to(dtype)
        self.advantages = rand(32, seed=seed + 1).to(dtype)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.old = self.parts()
            choices = torch.multinomial(self.policy(self.states)[0].probs, 1, generator=generator)
            mean, scale = self.policy(self.states)[1].mean, self.policy.log_scale.exp()
            noise = torch.randn(mean.shape, generator=generator, dtype=dtype)
            self.actions = [choices[:, 0], mean + scale * noise][self.kinds]
            self.old_log_prob = self.log_prob()

    def parts(self) -> list[Any]:
        return list(self.policy(self.states))[self.kinds]

    def log_prob(self) -> Tensor:
        pairs = zip(self.parts(), self.actions, strict=True)
        return torch.stack([part.log_prob(action) for part, action in pairs]).sum(0)

    def surrogate(self) -> Tensor:
        return ((self.log_prob() - self.old_log_prob).exp() * self.advantages).mean()

    def kl(self) -> Tensor:
        pairs = zip(self.old, self.parts(), strict=True)
        each = [
            kl.kl_divergence(old, new) if self.forward else kl.kl_divergence(new, old)
            for old, new in pairs
        ]
        return torch.stack(each).sum(0).mean()

    def true_kl(self) -> float:
        """By torch's own formulas, in float64."""
        total = torch.zeros(32, dtype=F64)
        for old, new in zip(self.old, self.parts(), strict=True):
            wide = [_double(old), _double(new)]
            total += torch.distributions.kl_divergence(*(wide if self.forward else wide[::-1]))
        return float(total.mean())


def _double(p: Any) -> Any:
    if isinstance(p, Categorical):
        return Categorical(logits=p.logits.detach().double())
    base = p.base_dist
    return Independent(Normal(base.loc.detach().double(), base.scale.detach().double()), 1)


@pytest.mark.parametrize("forward", [True, False], ids=["old‖new", "new‖old"])
@pytest.mark.parametrize("kinds", ["categorical", "gaussian", "mixed"])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_every_accepted_step_keeps_its_promise(
    kinds: str, dtype: torch.dtype, forward: bool
) -> None:
    accepted, backtracked = 0, 0
    for seed in range(8):
        for max_kl in (1e-8, 1e-2, 1.0):
            problem = Problem(seed, dtype, kinds, forward)
            region = TrustRegion(problem.policy.parameters(), max_kl, damping=1e-2)
            found = region.step(problem.surrogate, problem.kl)
            with torch.no_grad():
                after = float(problem.surrogate())
            assert found.kl <= max_kl
            accepted += found.accepted
            backtracked += found.line_search_steps > 1
            true = problem.true_kl()
            # What float32 rounds, and at 1e-8 the truth, a difference of float64 logarithms.
            assert found.kl == pytest.approx(true, rel=1e-6)
            assert true <= max_kl * (1 + 1e-6)
            assert found.improvement > 0
            assert found.improvement >= 0.0999 * found.expected_improvement
            assert found.improvement == pytest.approx(after - found.surrogate, rel=1e-12)
    assert accepted == 24
    # Else the bound was kept by luck.
    assert backtracked >= 6


def test_a_policy_that_is_no_distribution_of_torch() -> None:
    """Ratings of pairs by a user's own module, in log-probabilities."""
    layer = nn.Linear(3, 1, dtype=F64)
    layer.weight.data, layer.bias.data = rand(1, 3, seed=5), torch.zeros(1, dtype=F64)
    options = rand(16, 4, 3)

    def log_probs() -> Tensor:
        return layer(options)[..., 0].log_softmax(-1)

    old, reward = log_probs().detach(), rand(16, 4, seed=1)
    found = TrustRegion(layer.parameters()).step(
        lambda: (log_probs().exp() * reward).sum(-1).mean(),
        lambda: kl.kl_divergence(old, log_probs(), space="log_probs").mean(),
    )
    assert found.accepted
    assert 0 < found.kl <= 0.01


def test_a_bandit_is_solved() -> None:
    reward = torch.tensor([0.1, 0.9, 0.5, 0.8, 0.0])
    logits = torch.zeros(5, requires_grad=True)
    region = TrustRegion([logits], 0.05, damping=1e-3)
    for _ in range(40):
        old = logits.detach().clone()
        region.step(
            lambda: logits.softmax(-1) @ reward,
            lambda old=old: kl.kl_divergence(old, logits, space="logits"),
        )
    assert float(logits.softmax(-1)[1].detach()) > 0.99


@pytest.mark.parametrize("gap", [5.0, 18.0])
def test_a_policy_that_is_nearly_sure_of_the_wrong_arm_recovers(gap: float) -> None:
    """Where π(best) is 1e-8 so are gradient and curvature, and damping hides both of them."""
    reward, logits = torch.tensor([0.0, 1.0, 0.5]), torch.tensor([gap, 0, 0], requires_grad=True)
    region = TrustRegion([logits])
    for _ in range(25):
        old = logits.detach().clone()
        found = region.step(
            lambda: logits.softmax(-1) @ reward,
            lambda old=old: kl.kl_divergence(old, logits, space="logits"),
        )
        assert found.accepted
    assert float(logits.softmax(-1)[1].detach()) > 0.9


class TestParameters:
    def test_those_that_a_closure_does_not_use(self) -> None:
        objective, distance, neither, both = (
            torch.ones(2, dtype=F64, requires_grad=True) for _ in range(4)
        )
        one = torch.ones(2, dtype=F64)
        found = TrustRegion([objective, distance, neither, both]).step(
            lambda: (objective + both).sum(),
            lambda: ((distance - one).square() + (both - one).square()).sum(),
        )
        assert found.accepted
        # (F + λ) s = g parts by parameter: s is g/λ, 0, 0 and g/(2 + λ).
        assert distance.tolist() == neither.tolist() == [1, 1]
        moved = [float((x - one).detach()[0]) for x in (objective, both)]
        assert moved[0] / moved[1] == pytest.approx(2.1 / 0.1)

    def test_frozen_ones_stay_and_no_grad_is_touched(self) -> None:
        policy = Mixed(0, F64)
        policy.trunk.requires_grad_(False)
        before = {name: x.detach().clone() for name, x in policy.named_parameters()}
        policy.mean.weight.grad = torch.full_like(policy.mean.weight, 7)
        problem = Problem(0, F64, "mixed", True)
        problem.policy.trunk.requires_grad_(False)
        problem.policy.mean.weight.grad = policy.mean.weight.grad.clone()
        assert TrustRegion(problem.policy.parameters()).step(problem.surrogate, problem.kl).accepted
        for name, x in problem.policy.named_parameters():
            assert torch.equal(x, before[name]) == name.startswith("trunk")
        assert problem.policy.mean.weight.grad.eq(7).all()
        assert problem.policy.choice.weight.grad is None

    def test_dtypes_and_grad_mode(self) -> None:
        first = nn.Linear(3, 8, dtype=torch.bfloat16)
        second = nn.Linear(8, 4)
        first.weight.data = rand(8, 3).bfloat16()
        second.weight.data = rand(4, 8, seed=1).float()
        states = rand(32, 3, seed=2).bfloat16()

        def logits() -> Tensor:
            return second(first(states).tanh().float())

        old, reward = logits().detach(), rand(32, 4, seed=3).float()
        with torch.no_grad():
            found = TrustRegion([*first.parameters(), *second.parameters()]).step(
                lambda: (logits().softmax(-1) * reward).sum(-1).mean(),
                lambda: kl.kl_divergence(old, logits(), space="logits").mean(),
            )
        assert found.accepted
        assert found.kl == pytest.approx(
            float(kl.kl_divergence(old, logits().detach(), space="logits").mean()), rel=1e-6
        )
        assert first.weight.dtype == torch.bfloat16


ODD = [-0.0, 1e-45, 1.0, -3.7]


def bits(x: Tensor) -> list[int]:
    return x.detach().view({2: torch.int16, 4: torch.int32}[x.dtype.itemsize]).tolist()


class TestFailure:
    """The parameters are bit for bit as they were: a minus zero, a denormal, and bfloat16."""

    @pytest.fixture
    def leaves(self) -> Iterator[list[Tensor]]:
        made = [torch.tensor(ODD), torch.tensor(ODD, dtype=torch.bfloat16)]
        before = [bits(x) for x in made]
        yield [x.requires_grad_() for x in made]
        assert [bits(x) for x in made] == before

    @staticmethod
    def run(
        leaves: list[Tensor],
        surrogate: Callable[[Tensor], Any] = lambda value: value,
        distance: Callable[[Tensor], Any] = lambda value: value,
    ) -> TrustRegionStep:
        """A step whose closures are changed once the parameters have moved."""
        old = [x.detach().clone() for x in leaves]

        def moved() -> bool:
            return any(bool((x != o).any()) for x, o in zip(leaves, old, strict=True))

        def objective() -> Tensor:
            value = torch.stack([x.float().sum() for x in leaves]).sum()
            return surrogate(value) if moved() else value

        def kl() -> Tensor:
            pairs = zip(leaves, old, strict=True)
            value = torch.stack([(x.float() - o.float()).square().sum() for x, o in pairs]).sum()
            return distance(value) if moved() else value

        return TrustRegion(leaves, line_search_steps=4).step(objective, kl)

    @pytest.mark.parametrize(
        ("surrogate", "distance", "words"),
        [
            (lambda x: x * math.nan, lambda x: x, "surrogate changes by nan"),
            (lambda x: x + math.inf, lambda x: x, "surrogate changes by inf"),
            (lambda x: x, lambda x: x * math.inf, "KL is inf"),
            (lambda x: x, lambda x: x * math.nan, "KL is nan"),
            (lambda x: x, lambda x: x - math.inf, "KL is -inf"),
            (lambda x: x, lambda x: x + 1, "above 0.01"),
            (lambda x: x * 0 - 50, lambda x: x, "is the least"),
        ],
    )
    def test_nothing_is_accepted(
        self, leaves: list[Tensor], surrogate: Any, distance: Any, words: str
    ) -> None:
        found = self.run(leaves, surrogate, distance)
        assert not found.accepted
        assert found.reason.startswith("none of 4 trials was accepted; the last, 0.512 of")
        assert words in found.reason
        assert found.line_search_steps == 4
        assert found.improvement == found.kl == found.step_fraction == 0
        assert found.expected_improvement > 0

    @pytest.mark.parametrize("which", [0, 1])
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_closure_raises(
        self, leaves: list[Tensor], which: int, error: type[BaseException]
    ) -> None:
        def fail(_: Tensor) -> Tensor:
            raise error("in the closure")

        with pytest.raises(error, match="in the closure"):
            self.run(leaves, *([fail] if which == 0 else [lambda x: x, fail]))

    def test_a_closure_returns_no_number(self, leaves: list[Tensor]) -> None:
        with pytest.raises(ShapeError, match=r"kl\(\) returned shape \(2,\)"):
            self.run(leaves, distance=lambda x: x.expand(2))

    def test_no_gradient(self, leaves: list[Tensor]) -> None:
        found = TrustRegion(leaves).step(
            lambda: torch.stack([(0 * x.float()).sum() for x in leaves]).sum(),
            lambda: pytest.fail("there is nothing to measure"),
        )
        assert not found.accepted
        assert "gradient is 0" in found.reason
        assert found.line_search_steps == found.gradient_norm == 0

    def test_no_curvature(self, leaves: list[Tensor]) -> None:
        found = TrustRegion(leaves).step(
            lambda: leaves[0].sum(), lambda: (leaves[1].float() * 0).square().sum()
        )
        assert not found.accepted
        assert "no curvature" in found.reason
        assert found.gradient_norm == pytest.approx(2)

    def test_it_can_go_on_afterwards(self) -> None:
        leaves = [torch.tensor(ODD, requires_grad=True)]
        assert not self.run(leaves, lambda x: x * math.nan).accepted
        assert self.run(leaves).accepted


@pytest.mark.parametrize(("ratio", "accepted"), [(0.8, True), (0.95, False)])
def test_how_much_improvement_is_enough(ratio: float, accepted: bool) -> None:
    """f = x − c x² rises by 1 − cx of what its slope promises: 0.9 at the whole step."""
    x = torch.zeros((), dtype=F64, requires_grad=True)
    whole = math.sqrt(2 * 0.9999 * 0.01)
    found = TrustRegion([x], line_search_steps=1, accept_ratio=ratio).step(
        lambda: x - 0.1 / whole * x**2, lambda: 0.5 * x**2
    )
    assert found.accepted == accepted
    if accepted:
        assert found.improvement / found.expected_improvement == pytest.approx(0.9)


def test_a_share_of_the_step_owes_its_share_of_the_improvement() -> None:
    """Of its promise the whole step keeps a half, and half of the step three quarters."""
    x = torch.zeros((), dtype=F64, requires_grad=True)
    whole = math.sqrt(2 * 0.9999 * 0.01)
    found = TrustRegion([x], backtracking=0.5, accept_ratio=0.7).step(
        lambda: x - 0.5 / whole * x**2, lambda: 0.5 * x**2
    )
    assert found.step_fraction == 0.5
    assert found.improvement == pytest.approx(0.75 * found.expected_improvement)


def test_no_change_is_no_improvement() -> None:
    """Even where any improvement will do: the objective is flat beyond the place itself."""
    x = torch.zeros((), dtype=F64, requires_grad=True)
    found = TrustRegion([x], accept_ratio=0).step(lambda: x.clamp(max=0), lambda: 0.5 * x**2)
    assert not found.accepted
    assert "changes by 0, and 0 is the least" in found.reason


def test_the_line_search_takes_the_first_share_that_fits() -> None:
    """KL = x²/2 + c x⁴, with c so that the largest share within the bound is known."""
    x = torch.zeros((), dtype=F64, requires_grad=True)
    whole = math.sqrt(2 * 0.9999 * 0.01)
    found = TrustRegion([x], backtracking=0.5).step(
        lambda: x.clone(), lambda: 0.5 * x**2 + 0.5 * x**4 * 20 / whole**2
    )
    # Of a share a the KL is 0.009999 (a² + 20 a⁴): 21, 1.5, and 0.14 of the bound.
    assert (found.step_fraction, found.line_search_steps) == (0.25, 3)
    assert found.kl == pytest.approx(0.009999 * (0.25**2 + 20 * 0.25**4))
    assert float(x.detach()) == pytest.approx(0.25 * whole)


class TestBadInput:
    @pytest.mark.parametrize(
        ("surrogate", "kl", "error", "words"),
        [
            (lambda x: x.sum() * math.nan, None, NonFiniteError, "advantages"),
            (lambda x: (x * 0).sqrt().sum(), None, NonFiniteError, r"parameter 0.*\(3,\)"),
            (lambda x: x.detach().sum(), None, InputError, "does not depend"),
            (lambda x: x, None, ShapeError, r"shape \(3,\)"),
            (lambda x: 1.0, None, InputError, "returned float"),
            (None, lambda x: x.sum() * math.nan, NonFiniteError, "masked"),
            (None, lambda x: x.detach().sum(), InputError, "does not depend"),
            (None, lambda x: (x - 1).square().sum(), InputError, "evaluation mode"),
            (None, lambda x: 0 * x.sum(), InputError, "no second derivative"),
            (None, lambda x: (x * 0).square().sum().sqrt(), NonFiniteError, "sqrt"),
        ],
    )
    def test_closures(self, surrogate: Any, kl: Any, error: Any, words: str) -> None:
        x = torch.zeros(3, requires_grad=True)
        region = TrustRegion([x])
        with pytest.raises(error, match=words):
            region.step(lambda: (surrogate or torch.sum)(x), lambda: (kl or (lambda x: x @ x))(x))
        assert x.tolist() == [0, 0, 0]

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (lambda x: x, InputError, "one tensor"),
            (lambda x: [], InputError, "of 0 parameters"),
            (lambda x: nn.Linear(2, 2), InputError, "a Linear.*parameters()"),
            (lambda x: [x.detach()], InputError, "of 1 parameters none"),
            (lambda x: [x, x], InputError, "parameter 1.*twice"),
            (lambda x: [2 * x], InputError, "computed from others"),
            (lambda x: [{"params": [x]}], InputError, "parameter groups"),
            (
                lambda x: [torch.zeros(2, dtype=torch.complex64, requires_grad=True)],
                DtypeError,
                "view_as_real",
            ),
        ],
    )
    def test_parameters(self, make: Any, error: type[KullbackError], words: str) -> None:
        x = torch.zeros(3, requires_grad=True)
        with pytest.raises(error, match=words):
            TrustRegion(make(x))

    @pytest.mark.parametrize(
        "option",
        [
            {"max_kl": 0.0},
            {"max_kl": math.inf},
            {"max_kl": math.nan},
            {"damping": -1.0},
            {"damping": math.nan},
            {"cg_iterations": 0},
            {"cg_iterations": 2.5},
            {"cg_tolerance": -1e-3},
            {"cg_tolerance": 1.0},
            {"backtracking": 1.0},
            {"backtracking": 0.0},
            {"line_search_steps": 0},
            {"accept_ratio": -0.1},
            {"accept_ratio": 1.0},
            {"max_kl": "a"},
            {"max_kl": torch.tensor(0.01)},
            {"max_kl": True},
            {"damping": None},
            {"cg_iterations": True},
            {"line_search_steps": "10"},
            {"accept_ratio": [0.1]},
            {"damped_length": "yes"},
            {"damped_length": 1},
        ],
    )
    def test_options(self, option: dict[str, Any]) -> None:
        (name,) = option
        with pytest.raises(InputError, match=f"{name}="):
            TrustRegion([torch.zeros(3, requires_grad=True)], **option)


def test_options_are_stored_as_plain_numbers() -> None:
    x = torch.zeros(3, requires_grad=True)
    region = TrustRegion([x], np.float32(0.5), damping=0, cg_iterations=np.int64(3))  # type: ignore[arg-type]
    state = region.state_dict()
    found = [type(state[name]) for name in ("max_kl", "damping", "cg_iterations", "damped_length")]
    assert found == [float, float, int, bool]


def test_options_are_saved_and_loaded() -> None:
    x = torch.zeros(3, requires_grad=True)
    one, other = TrustRegion([x], 0.5, damping=0.2, cg_iterations=3), TrustRegion([x])
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict()
    assert other.options.max_kl == 0.5
    assert "3 parameters, max_kl=0.5, damping=0.2" in repr(other)
    with pytest.raises(InputError, match="max_kl=-1"):
        other.load_state_dict({**one.state_dict(), "max_kl": -1})
    with pytest.raises(InputError, match="NoneType"):
        other.load_state_dict(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lr"):
        other.load_state_dict({"lr": 1e-3})
    assert other.state_dict() == one.state_dict()


def test_the_outcome_is_frozen() -> None:
    x = torch.zeros((), dtype=F64, requires_grad=True)
    found = TrustRegion([x]).step(lambda: x.clone(), lambda: 0.5 * x**2)
    assert found.reason == (
        "accepted: the KL is 0.009999 of at most 0.01, and the surrogate rose by 0.1414, "
        "0.1414 expected"
    )
    with pytest.raises(FrozenInstanceError):
        found.accepted = False  # type: ignore[misc]
