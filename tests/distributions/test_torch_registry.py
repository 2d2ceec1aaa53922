"""Our forms inside torch's registry: each check in a process of its own, whose registry is lost."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PREAMBLE = """
import math, warnings
warnings.simplefilter("error")
import torch
import torch.distributions as td
from torch.distributions import kl_divergence
from torch.distributions.kl import _KL_REGISTRY
from kullback.distributions import register_with_torch, unregister_from_torch
"""


def run(code: str, *, registered: bool = True) -> None:
    program = PREAMBLE + ("register_with_torch()\n" if registered else "") + textwrap.dedent(code)
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_without_it_torch_is_wrong() -> None:
    """So that the tests below can fail: these are what torch 2.13 answers by itself."""
    run(
        """
        assert kl_divergence(td.Normal(0.0, 1e-25), td.Normal(0.0, 1.0)) == math.inf
        try:
            kl_divergence(td.Bernoulli(torch.tensor([0.3])), td.Bernoulli(torch.full((3,), 0.6)))
        except IndexError:
            pass
        else:
            raise AssertionError
        """,
        registered=False,
    )


def test_it_answers_as_we_do() -> None:
    """Where torch was wrong, where it had no answer, and where nothing exact is known."""
    run(
        """
        assert abs(kl_divergence(td.Normal(0.0, 1e-25), td.Normal(0.0, 1.0)) - 57.0646) < 1e-3
        p, q = td.ContinuousBernoulli(torch.tensor(0.3)), td.Uniform(0.0, 1.0)
        assert kl_divergence(p, q).isfinite() and kl_divergence(q, p).isfinite()
        p, q = td.Bernoulli(torch.tensor([0.3])), td.Bernoulli(torch.full((3,), 0.6))
        assert kl_divergence(p, q).shape == (3,)
        p, q = (td.Bernoulli(logits=torch.tensor(x)) for x in (0.0, 17.0))
        assert abs(kl_divergence(p, q) - 7.8069) < 1e-3
        assert kl_divergence(td.Normal(0.0, 1.0), td.Uniform(torch.zeros(3), 1.0)).shape == (3,)

        assert kl_divergence(td.Weibull(1.0, 2.0), td.Gamma(2.0, 1.0)).isfinite()
        p, q = td.Binomial(3, torch.tensor(0.3)), td.Categorical(torch.ones(4))
        assert kl_divergence(p, q).isfinite()
        assert kl_divergence(td.Gumbel(0.0, 1.0), td.HalfCauchy(1.0)) == math.inf

        parts = td.Normal(torch.zeros(2), torch.ones(2))
        mixture = td.MixtureSameFamily(td.Categorical(torch.ones(2)), parts)
        try:
            kl_divergence(mixture, td.StudentT(3.0))
        except NotImplementedError as error:
            assert "kullback.estimate" in str(error)
        else:
            raise AssertionError
        """
    )


def test_a_variational_autoencoder_trains_as_before() -> None:
    """The code of an ordinary ELBO, which knows only torch."""
    run(
        """
        torch.manual_seed(0)
        encoder, decoder = torch.nn.Linear(8, 4), torch.nn.Linear(2, 8)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.05)
        data = (torch.rand(64, 8) < torch.linspace(0.1, 0.9, 8)).float()
        losses = []
        for _ in range(60):
            loc, log_scale = encoder(data).chunk(2, -1)
            posterior = td.Independent(td.Normal(loc, log_scale.exp()), 1)
            prior = td.Independent(td.Normal(torch.zeros(2), torch.ones(2)), 1)
            likelihood = td.Independent(td.Bernoulli(logits=decoder(posterior.rsample())), 1)
            kl = kl_divergence(posterior, prior)
            assert kl.shape == (64,) and (kl >= 0).all()
            loss = (kl - likelihood.log_prob(data)).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        """
    )


def test_every_pair_of_torch_is_ours_and_none_is_ambiguous() -> None:
    """Warnings are errors, and torch's dispatch warns when two functions fit equally well."""
    run(
        """
        from kullback.distributions.examples import CLASSES
        from kullback.distributions.torch_registry import _kl
        from torch.distributions.kl import _dispatch_kl
        assert len(_KL_REGISTRY) > 87
        for p in CLASSES:
            for q in CLASSES:
                assert _dispatch_kl(p, q) is _kl
                class SubP(p): pass
                class SubQ(q): pass
                assert _dispatch_kl(SubP, SubQ) is _kl
        """
    )


def test_calling_it_twice_and_taking_it_back() -> None:
    run(
        """
        before = dict(_KL_REGISTRY)
        register_with_torch()
        once = dict(_KL_REGISTRY)
        register_with_torch()
        assert _KL_REGISTRY == once != before
        unregister_from_torch()
        assert _KL_REGISTRY == before
        assert kl_divergence(td.Normal(0.0, 1e-25), td.Normal(0.0, 1.0)) == math.inf
        """,
        registered=False,
    )


def test_what_others_registered_stays() -> None:
    run(
        """
        class Mine(td.Normal): pass
        @td.register_kl(Mine, Mine)
        def mine(p, q): return torch.tensor(42.0)
        @td.register_kl(td.Laplace, td.Cauchy)
        def theirs(p, q): return torch.tensor(7.0)
        register_with_torch()
        assert kl_divergence(Mine(0.0, 1.0), Mine(1.0, 1.0)) == 42
        assert kl_divergence(td.Laplace(0.0, 1.0), td.Cauchy(0.0, 1.0)) == 7
        assert abs(kl_divergence(Mine(0.0, 1.0), td.Normal(1.0, 1.0)) - 0.5) < 1e-6
        """,
        registered=False,
    )


def test_an_exponential_family_of_ones_own() -> None:
    """torch differentiates the log-normaliser, and loses P's gradient; here it arrives."""
    run(
        """
        class Rate(td.ExponentialFamily):
            arg_constraints = {"rate": td.constraints.positive}

            def __init__(self, rate, event):
                self.rate = rate
                batch = rate.shape[: rate.dim() - len(event)]
                super().__init__(batch, torch.Size(event), validate_args=False)

            @property
            def _natural_params(self):
                return (-self.rate,)

            def _log_normalizer(self, x):
                value = -torch.log(-x)
                return value.sum(-1) if self.event_shape else value

        for event in ((), (3,)):
            rate = torch.ones(2, *event).requires_grad_()
            kl = kl_divergence(Rate(rate, event), Rate(torch.full((2, *event), 2.0), event))
            # Of each coordinate log(½) − 1 + 2, and its slope 1/1 − 2/1².
            expected = (1 - math.log(2.0)) * math.prod(event)
            assert kl.shape == (2,) and torch.allclose(kl, torch.tensor(expected), atol=1e-6)
            (slope,) = torch.autograd.grad(kl.sum(), rate)
            assert torch.allclose(slope, torch.tensor(-1.0)), slope
        """
    )
