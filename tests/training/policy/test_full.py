"""KL over all actions: against the formula, and against the mean of the sampled ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.training.policy import policy_kl, policy_kl_from_logits


def rand(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(logits: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
    p, q = ((x.double() / temperature).log_softmax(-1) for x in (logits, reference))
    return (p.exp() * (p - q)).sum(-1)


def gradient_of(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss, at)[0]


# Sums over 30 events: a few roundings of each dtype.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value_and_gradient(dtype: torch.dtype, tolerance: float, temperature: float) -> None:
    logits, reference = rand(3, 4, 30, seed=0).to(dtype), rand(3, 4, 30, seed=1).to(dtype)
    mask, weights = rand(3, 4, seed=2) > -0.5, rand(3, 4, seed=3).abs()
    ours, plain = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found = policy_kl_from_logits(
        ours, reference, temperature=temperature, mask=mask, weights=weights
    )
    each = truth(plain, reference, temperature)
    expected = (each * weights)[mask].sum() / weights[mask].sum()
    close: dict[str, Any] = {"rtol": tolerance, "atol": 0}
    torch.testing.assert_close(found.detach().double(), expected.detach(), **close)
    found_gradient = gradient_of(found, ours).double()
    expected_gradient = gradient_of(expected, plain)
    error = (found_gradient - expected_gradient).norm() / expected_gradient.norm()
    assert float(error) < tolerance


def test_it_is_the_mean_of_the_sampled_ones_over_the_actions() -> None:
    reference = rand(7, seed=1)
    logits, other = (rand(7, seed=0).requires_grad_() for _ in range(2))
    log_pi = logits.log_softmax(-1)
    sampled = policy_kl(log_pi, reference.log_softmax(-1), reduction="none")
    mean = (log_pi.detach().exp() * sampled).sum()
    full = policy_kl_from_logits(other, reference)
    torch.testing.assert_close(full, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        gradient_of(full, other), gradient_of(mean, logits), rtol=1e-12, atol=1e-15
    )


def test_actions_that_cannot_be_taken() -> None:
    logits, reference = rand(2, 6, seed=0), rand(2, 6, seed=1)
    logits[:, 4] = -torch.inf
    reference[0, 4] = -torch.inf
    ours = logits.clone().requires_grad_()
    found = policy_kl_from_logits(ours, reference, reduction="none")
    keep = [0, 1, 2, 3, 5]
    torch.testing.assert_close(
        found[0], truth(logits[:1, keep], reference[:1, keep])[0], rtol=1e-12, atol=0
    )
    assert bool(found[1].isfinite())
    assert bool(gradient_of(found.sum(), ours).isfinite().all())


def test_an_action_that_only_the_policy_can_take() -> None:
    logits, reference = rand(2, 3, 6, seed=0), rand(2, 3, 6, seed=1)
    reference[1, 2, 5] = reference[0, 1, 3] = reference[0, 0, 2] = -torch.inf
    logits[1, 2, 3] = reference[1, 2, 3] = -torch.inf
    mask, weights = torch.ones(2, 3), torch.ones(2, 3)
    mask[0, 0] = weights[0, 1] = 0
    counted: dict[str, Any] = {"mask": mask, "weights": weights}
    assert float(policy_kl_from_logits(logits, reference, **counted)) == torch.inf
    logits.requires_grad_()
    with pytest.raises(NonFiniteError, match=r"\(1, 2\).*infinite.*5") as caught:
        policy_kl_from_logits(logits, reference, **counted)
    for word in ("student", "teacher", "token", '"js"'):
        assert word not in str(caught.value)
    mask[1, 2] = 0
    assert bool(policy_kl_from_logits(logits, reference, **counted).isfinite())


def test_errors_name_what_was_passed() -> None:
    good, bad = torch.zeros(2, 3), torch.zeros(2, 3)
    bad[1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=r"^logits, position 1: action 2 has the logit nan"):
        policy_kl_from_logits(bad, good)
    with pytest.raises(NonFiniteError, match=r"^reference_logits, position 1"):
        policy_kl_from_logits(good, bad)
    with pytest.raises(ShapeError, match=r"^logits has shape.*reference_logits \(2, 4\)"):
        policy_kl_from_logits(good, torch.zeros(2, 4))
    with pytest.raises(DtypeError, match=r"^reference_logits is of torch\.int64"):
        policy_kl_from_logits(good, good.long())
    with pytest.raises(ShapeError, match="empty batch"):
        policy_kl_from_logits(good[:0], good[:0])
    with pytest.raises(InputError, match="reduction=None"):
        policy_kl_from_logits(good, good, reduction=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="temperature=0"):
        policy_kl_from_logits(good, good, temperature=0.0)
    mask = torch.tensor([1, 0])
    assert float(policy_kl_from_logits(bad, good, mask=mask)) == 0
