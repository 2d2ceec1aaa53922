"""KL of any pair: the exact one where there is one, and draws that agree with it if asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Exponential,
    Gamma,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
)
from torch.distributions.constraints import Constraint

from kullback.errors import InputError, NoClosedForm, NonFiniteError, ShapeError
from kullback.training.vae import gaussian_kl, latent_kl


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def mixture() -> Distribution:
    """A prior of two modes, from which no Gaussian has a closed form."""
    zero = torch.zeros(2, dtype=torch.float64)
    return MixtureSameFamily(
        Categorical(logits=zero), Normal(zero + torch.tensor([-2.0, 2.0]), 1.0)
    )


class TestExact:
    mean, v = rand(4, 3), rand(4, 3, seed=1)

    @pytest.mark.parametrize("reduction", ["mean_over_samples", "mean_over_all", "sum", 5.0])
    def test_gaussians_however_they_are_written(self, reduction: Any) -> None:
        scale = (0.5 * self.v).exp()
        expected = gaussian_kl(self.mean, self.v, reduction=reduction)
        zero, one = torch.zeros(3).double(), torch.ones(3).double()
        found = latent_kl(Normal(self.mean, scale), Normal(zero, one), reduction=reduction)
        assert torch.allclose(found, expected, rtol=1e-12, atol=0)
        if reduction == "mean_over_all":
            # Events are whole latents here, and there is nothing to say how long they are.
            expected = expected * 3
        for posterior, prior in (
            (Independent(Normal(self.mean, scale), 1), Independent(Normal(zero, one), 1)),
            (
                MultivariateNormal(self.mean, torch.diag_embed(scale**2)),
                MultivariateNormal(zero, torch.eye(3).double()),
            ),
        ):
            found = latent_kl(posterior, prior, reduction=reduction)
            assert torch.allclose(found, expected, rtol=1e-12, atol=0)

    def test_each(self) -> None:
        posterior = Laplace(self.mean, self.v.exp())
        each = latent_kl(posterior, Normal(0.0, 1.0), reduction="none")
        assert each.shape == (4, 3)
        per_sample = latent_kl(posterior, Normal(0.0, 1.0), reduction="per_sample")
        assert torch.allclose(per_sample, each.sum(-1), rtol=1e-12, atol=0)
        whole = latent_kl(posterior, Normal(0.0, 1.0), reduction="per_sample", latent_dims=2)
        assert torch.allclose(whole, each.sum(), rtol=1e-12, atol=0)

    def test_one_pair_of_numbers(self) -> None:
        assert float(latent_kl(Normal(1.0, 1.0), Normal(0.0, 1.0))) == 0.5


class TestDrawn:
    @pytest.mark.parametrize("family", [Normal, Laplace, Gamma])
    def test_value_and_gradient_are_those_of_the_exact(self, family: Any) -> None:
        first, second = torch.tensor([1.5, 2.5]).double(), torch.tensor([0.6, 1.2]).double()
        prior = Gamma(2.0, 1.5) if family is Gamma else Laplace(0.0, 1.2)
        samples = 40_000

        def kl_and_gradients(**options: Any) -> list[Tensor]:
            parameters = [x.clone().requires_grad_() for x in (first, second)]
            each = latent_kl(family(*parameters), prior, reduction="none", **options)
            each.sum().backward()
            return [each.detach(), *(x.grad for x in parameters)]  # type: ignore[misc]

        torch.manual_seed(0)
        for found, expected in zip(
            kl_and_gradients(samples=samples), kl_and_gradients(), strict=True
        ):
            # Values and gradients of one draw deviate by less than 3 here: five standard errors.
            assert bool(((found - expected).abs() < 5 * 3 / math.sqrt(samples)).all())

    def test_where_nothing_is_exact(self) -> None:
        mean = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
        with pytest.raises(NoClosedForm, match=r"latent_kl\(posterior, prior, samples=8\)"):
            latent_kl(Normal(mean, 0.5), mixture())
        torch.manual_seed(0)
        found = latent_kl(Normal(mean, 0.5), mixture(), samples=4000, reduction="per_sample")
        z = torch.linspace(-6, 6, 20001, dtype=torch.float64)
        q, p = Normal(0.0, 0.5).log_prob(z), mixture().log_prob(z)
        exact = 2 * float(torch.trapezoid(q.exp() * (q - p), z))
        # log q − log p of one draw has a standard deviation of 0.8.
        assert bool(((found - exact).abs() < 5 * 0.8 * math.sqrt(2 / 4000)).all())
        assert found.requires_grad

    def test_half_precision_is_widened(self) -> None:
        posterior = Normal(torch.zeros(3, 2, dtype=torch.bfloat16), 1.0)
        assert latent_kl(posterior, Normal(0.0, 1.0), samples=2).dtype == torch.float32


@pytest.fixture(params=[True, False], ids=["validated", "unvalidated"])
def validated(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Torch's validation on and off: `torch.compile` turns it off for everything after it."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(request.param)
    yield request.param
    Distribution.set_default_validate_args(before)


def gap() -> Distribution:
    """On [0, 1] and on [2, 3]: the supports prove nothing of what lies between."""
    low = torch.tensor([0.0, 2.0])
    parts = Uniform(low, low + 1, validate_args=False)
    return MixtureSameFamily(Categorical(torch.ones(2)), parts, validate_args=False)


class _Above(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return value >= 0


class Waiting(Distribution):
    """The exponential law by someone who has a constraint of his own."""

    arg_constraints: ClassVar = {}
    support = _Above()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -value


class TestMassThatThePriorLacks:
    @pytest.mark.parametrize(
        "prior", [Exponential(torch.ones(2)), Gamma(2.0, 1.0), Uniform(-9.0, 9.0)]
    )
    def test_a_proof_is_infinite(self, prior: Distribution, validated: bool) -> None:
        prior = prior.expand((2,))
        prior._validate_args = validated
        mean = torch.zeros(3, 2, requires_grad=True)
        posterior = Normal(mean, 1.0)
        found = latent_kl(posterior, prior, samples=2, reduction="none")
        assert torch.equal(found, torch.full((3, 2), torch.inf))
        assert torch.equal(found, latent_kl(posterior, prior, reduction="none"))
        found.sum().backward()
        assert torch.equal(mean.grad, torch.zeros(3, 2))  # type: ignore[arg-type]

    def test_for_some_of_a_batch(self, validated: bool) -> None:
        # 1/(1 − low) over 1/3: the KL of a uniform law from one that is wider is log of the widths.
        low = torch.tensor([0.0, -1.0, 0.5], requires_grad=True)
        found = latent_kl(Uniform(low, 1.0), Uniform(0.0, 3.0), samples=5, reduction="none")
        assert found.tolist() == pytest.approx([math.log(3), math.inf, math.log(6)], rel=1e-6)
        found.sum().backward()
        assert low.grad.tolist() == pytest.approx([1, 0, 2], rel=1e-6)  # type: ignore[union-attr]

    def test_where_the_formula_of_the_prior_is_nan(self, validated: bool) -> None:
        low = torch.tensor([0.5, -1.0], requires_grad=True)
        rate = torch.ones(2, requires_grad=True)
        found = latent_kl(Uniform(low, 1.0), Gamma(2.0, rate), samples=5, reduction="none")
        assert found.isinf().tolist() == [False, True]
        found.sum().backward()
        for x in (low, rate):
            assert bool(x.grad.isfinite().all())  # type: ignore[union-attr]
            assert float(x.grad[1]) == 0  # type: ignore[index]

    def test_a_draw_without_a_proof(self, validated: bool) -> None:
        posterior = Uniform(0.5, torch.tensor([1.0, 2.0]))
        found = latent_kl(posterior, Waiting(), samples=4000, reduction="none")
        # E z − log of the width; the deviation of z is at most 0.43.
        exact = torch.tensor([0.75 + math.log(2), 1.25 - math.log(1.5)])
        assert bool(((found - exact).abs() < 5 * 0.43 / math.sqrt(4000)).all())
        with pytest.raises(
            InputError, match=r"z\[\d+, 1\]=-.* outside of the support of the prior"
        ):
            latent_kl(Uniform(torch.tensor([0.5, -1.0]), 1.0), Waiting(), samples=50)
        with pytest.raises(NonFiniteError, match=r"the prior \(MixtureSameFamily\) is -inf at z\["):
            latent_kl(Uniform(0.5, 2.5), gap(), samples=50)
        vague = Independent(Normal(torch.tensor([torch.nan, 0.0]), 1.0, validate_args=False), 1)
        vague._validate_args = False
        with pytest.raises(
            NonFiniteError, match=r"the posterior \(Independent\) is nan at z\[0\],"
        ):
            latent_kl(vague, Independent(Laplace(torch.zeros(2), 1.0), 1), samples=2)

    def test_what_only_torch_refuses_is_said_in_few_words(self) -> None:
        parts = Uniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]), validate_args=True)
        prior = MixtureSameFamily(Categorical(torch.ones(2)), parts, validate_args=True)
        with pytest.raises(InputError, match="need validate_args=False") as raised:
            latent_kl(Uniform(0.1, 0.9), prior, samples=500)
        assert len(str(raised.value)) < 300
        # Half of the prior's mass is on [0, 1].
        found = latent_kl(Uniform(0.1, 0.9), gap(), samples=5)
        assert float(found) == pytest.approx(math.log(2 / 0.8), rel=1e-6)

    def test_an_error_of_the_density_itself_is_its_own(self) -> None:
        class Broken(Laplace):
            def log_prob(self, value: Tensor) -> Tensor:
                raise ValueError("out of order")

        with pytest.raises(ValueError, match="out of order"):
            latent_kl(Normal(0.0, 1.0), Broken(0.0, 1.0), samples=2)


def test_a_prior_of_more_dimensions_than_the_posterior() -> None:
    posterior, prior = Laplace(torch.tensor([0.5, 1.0]), 1.0), Normal(torch.zeros(3, 1), 1.0)
    torch.manual_seed(0)
    found = latent_kl(posterior, prior, samples=20_000, reduction="none")
    exact = latent_kl(posterior, prior, reduction="none")
    assert found.shape == exact.shape == (3, 2)
    # log q − log p of one draw has a standard deviation below 4.
    assert bool(((found - exact).abs() < 5 * 4 / math.sqrt(20_000)).all())


def test_compiled_code_gives_the_same() -> None:
    def loss(mean: Tensor) -> Tensor:
        torch.manual_seed(0)
        return latent_kl(Normal(mean, 1.0), Laplace(torch.zeros(2), 1.0), samples=4)

    mean = torch.zeros(3, 2)
    before = Distribution._validate_args
    compiled = torch.compile(loss, backend="eager")(mean)
    Distribution.set_default_validate_args(before)
    assert torch.allclose(compiled, loss(mean), rtol=1e-6)


class TestRefusals:
    def test_draws_without_a_gradient(self) -> None:
        with pytest.raises(InputError, match="Categorical has no rsample"):
            latent_kl(Categorical(torch.ones(3)), Categorical(torch.ones(3)), samples=2)
        for samples in (0, 2.5, True, "8"):
            with pytest.raises(InputError, match=f"samples={samples!r}.* whole number"):
                latent_kl(Normal(0.0, 1.0), Normal(0.0, 1.0), samples=samples)  # type: ignore[arg-type]

    def test_shapes_and_reductions(self) -> None:
        with pytest.raises(ShapeError):
            latent_kl(Normal(0.0, 1.0), Independent(Normal(torch.zeros(3), 1.0), 1), samples=2)
        with pytest.raises(InputError, match="not one of"):
            latent_kl(Normal(0.0, 1.0), Normal(0.0, 1.0), reduction="mean")  # type: ignore[arg-type]
