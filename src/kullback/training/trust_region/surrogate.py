"""The objective of a policy's step, from the actions that the old policy took."""

from __future__ import annotations

from torch import Tensor

from kullback.errors import NonFiniteError
from kullback.numerics import compute_dtype
from kullback.training.policy.inputs import check_tensors, place, position

__all__ = ["policy_surrogate"]


def policy_surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    """The mean of exp(log π − log π_old)·A over actions drawn from π_old: TRPO's objective.

    Nothing is broadcast: [64] beside [64, 1] would make 64 × 64 ratios of strangers.

    What does not change from trial to trial is checked. log π is not: a trial may give an action
    that was taken probability 0, whose ratio is 0, and one that makes NaN of it is turned down by
    the step, which tells of NaN before it.

    Args:
        log_probs: [...], log π of the actions taken, differentiable; densities too. Sum the
            components of an action first, as `Independent` does.
        old_log_probs: of the same shape, those of the policy that took them; a constant.
        advantages: of the same shape, as from `generalized_advantages`; a constant.

    Returns:
        A scalar, in float32 (float64 if any input is).

    Raises:
        ShapeError: shapes that differ, or no actions at all.
        DtypeError: inputs that are not floating.
        NonFiniteError: advantages, or log-probabilities of the old policy, that are NaN or
            infinite; by position.

    Source: Schulman et al. (2015), Trust Region Policy Optimization, eq. 14.

    Example:
        >>> import torch
        >>> old = torch.tensor([0.5, 0.25]).log()
        >>> new = torch.tensor([0.75, 0.125]).log()
        >>> print(f"{policy_surrogate(new, old, torch.tensor([1.0, -1.0])):.4f}")
        0.5000
    """
    check_tensors(
        {"log_probs": log_probs, "old_log_probs": old_log_probs, "advantages": advantages}, "action"
    )
    old, weight = old_log_probs.detach(), advantages.detach()
    _check(
        old,
        "old_log_probs",
        "The old policy took this action, so its log-probability is finite: was it drawn with "
        "another temperature or action mask?",
    )
    _check(weight, "advantages", "Look for where the rewards or the critic made it")
    dtype = compute_dtype(log_probs, old, weight)
    ratios = (log_probs.to(dtype) - old.to(dtype)).exp()
    return (ratios * weight.to(dtype)).mean()


def _check(x: Tensor, name: str, advice: str) -> None:
    wrong = ~x.isfinite()
    if bool(wrong.any()):
        at = place(wrong)
        raise NonFiniteError(f"{name}, {position(at)}: {float(x[at])}. {advice}")
