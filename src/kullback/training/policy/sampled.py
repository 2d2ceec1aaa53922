"""KL(π‖ref) from the actions taken: an estimate of the value, and one of the gradient.

The mean of an estimator's gradient is not the gradient of its mean, since the actions come from
the policy that is differentiated. So the value and the gradient are chosen apart, and what is
chosen when nothing is said has the right mean in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from kullback.errors import InputError, NonFiniteError
from kullback.numerics import compute_dtype, exp_remainder
from kullback.training.gradient import with_gradient_of
from kullback.training.plain import plain_number
from kullback.training.policy.inputs import check_log_probs, check_tensors, place, position
from kullback.training.positions import Reduction, count_positions
from kullback.training.uncompiled import uncompiled

__all__ = ["policy_kl"]


def _k1(r: Tensor) -> Tensor:
    return r


def _k2(r: Tensor) -> Tensor:
    return 0.5 * r.square()


def _k3(r: Tensor) -> Tensor:
    """e⁻ʳ − 1 + r ≥ 0."""
    return exp_remainder(torch.ones_like(r), (-r).exp(), -r)


_ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": _k1, "k2": _k2, "k3": _k3}


@uncompiled
def policy_kl(
    log_probs: Tensor,
    reference_log_probs: Tensor,
    *,
    value: Literal["k1", "k2", "k3"] = "k1",
    gradient: Literal["exact", "k1", "k2", "k3"] = "exact",
    importance_ratio: Literal["sampled"] | Tensor | None = None,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    clamp: float | None = None,
    density: bool = False,
    validate: bool = True,
) -> Tensor:
    """KL(π‖ref) in nats, estimated from actions taken, with the mean gradient ∇KL(π‖ref).

    With r = log π − log ref of an action that was drawn from π, and means over such actions:

    | value | estimate | mean | |
    | --- | --- | --- | --- |
    | "k1" | r | KL(π‖ref) | single actions can be negative |
    | "k2" | r²/2 | half the mean of r² | near KL(π‖ref) where the two are close |
    | "k3" | e⁻ʳ − 1 + r | KL(π‖ref) | never negative; grows as e⁻ʳ |

    The gradient of an action, as a multiple of ∇log π, and the mean gradient:

    | gradient | ratio constant | its mean | ratio differentiable | its mean |
    | --- | --- | --- | --- | --- |
    | "exact" | r | ∇KL(π‖ref) | r | ∇KL(π‖ref) |
    | "k1" | 1 | 0: noise | 1 + r | ∇KL(π‖ref), with more noise |
    | "k2" | r | ∇KL(π‖ref) | r + r²/2 | the gradient of half the mean of r² |
    | "k3" | 1 − e⁻ʳ | ∇KL(ref‖π) | r | ∇KL(π‖ref) |

    Importance ratio None says that the actions come from π itself, and is the constant 1.
    "sampled" says so too, and counts that the draw depends on π: it is 1 with the gradient ∇log π.
    A tensor is π/μ of actions from another policy μ (the one before the last updates, say); all
    of the above is multiplied by it, and the means over μ's actions are those of the tables. It
    is differentiable if it `requires_grad`, and "exact" takes it as a constant all the same.
    Ratios that were clipped, and actions of μ without a ratio, leave a bias.

    The mean of "k3" is less than KL(π‖ref) by the mass that ref has where π has none.

    Args:
        log_probs: [...], log π of the actions taken, differentiable.
        reference_log_probs: [...], log ref of the same actions; a constant.
        value: see above.
        gradient: see above.
        importance_ratio: None, "sampled", or [...], π/μ, at least 0.
        mask: [...], actions that count; others may hold anything, NaN included.
        reduction: "mean" over the actions that count; "sum"; "none", [...], 0 where an action
            does not count; a number divides the sum.
        clamp: for "k3", in the value or the gradient: r is held within ±clamp before e⁻ʳ is
            taken. Beyond, the value and the multiple of ∇log π are those at the bound, so the
            gradient never vanishes there; both are biased where it bites. None leaves r alone.
        density: whether these are log-densities, of continuous actions, which can be positive.
        validate: raise where an action that counts has no right log-probability or ratio.

    Returns:
        A scalar, or [...] for "none"; in float32 (float64 if either side is).

    Raises:
        ShapeError: shapes that do not fit, or no actions at all.
        DtypeError: log-probabilities or ratios that are not floating.
        NonFiniteError: NaN, or −inf (an action that one side cannot take), by position; or e⁻ʳ
            beyond the dtype.
        SpaceError: positive log-probabilities.
        InputError: an option that there is not, or negative ratios.

    Source: Schulman (2020), Approximating KL Divergence (k1, k2, k3 as values); Tang & Munos
    (2025), On a Few Pitfalls in KL Divergence Gradient Estimation for RL, arXiv:2506.09477 (what
    their gradients are); the ratios by ∇(π/μ) = (π/μ) ∇log π.

    Example:
        >>> policy = torch.tensor([0.5, 0.3, 0.2]).log().requires_grad_()
        >>> reference = torch.tensor([0.2, 0.3, 0.5]).log()
        >>> actions = torch.tensor([0, 2, 0, 1])
        >>> kl = policy_kl(policy[actions], reference[actions])
        >>> print(f"{kl.item():.4f}")
        0.2291
        >>> kl.backward()
        >>> policy.grad
        tensor([ 0.4581,  0.0000, -0.2291])
    """
    _check_options(value, gradient, importance_ratio, clamp)
    tensors = {"log_probs": log_probs, "reference_log_probs": reference_log_probs}
    if isinstance(importance_ratio, Tensor):
        tensors["importance_ratio"] = importance_ratio
    check_tensors(tensors, "action")
    positions = count_positions(log_probs.shape, log_probs.device, mask=mask, reduction=reduction)
    dtype = compute_dtype(log_probs, reference_log_probs)
    if positions.counted is None:
        counted = torch.ones_like(log_probs, dtype=torch.bool)
    else:
        counted = positions.counted.reshape(log_probs.shape)
    policy = torch.where(counted, log_probs, 0.0).to(dtype)
    reference = torch.where(counted, reference_log_probs.detach(), 0.0).to(dtype)
    if validate:
        _check_sides(policy.detach(), reference, density)
    ratio = _ratio(importance_ratio, policy, counted, validate)
    r = policy - reference
    held = _held(r, clamp, validate) if "k3" in (value, gradient) else r
    found = _ESTIMATORS[value]((held if value == "k3" else r).detach())
    if gradient == "exact":
        aim = ratio.detach() * _k2(r)
    else:
        aim = ratio * _ESTIMATORS[gradient](held if gradient == "k3" else r)
    each = with_gradient_of(aim, ratio.detach() * found)
    weight = positions.weight.reshape(each.shape)
    if positions.reduced:
        return (each.double() * weight).sum().to(dtype)
    return each * weight.to(dtype)


def _check_options(value: str, gradient: str, ratio: object, clamp: float | None) -> None:
    if not isinstance(value, str) or value not in _ESTIMATORS:
        raise InputError(f"value={value!r} is not one of {list(_ESTIMATORS)}")
    if not isinstance(gradient, str) or gradient not in ("exact", *_ESTIMATORS):
        raise InputError(f"gradient={gradient!r} is not one of {['exact', *_ESTIMATORS]}")
    if not (
        ratio is None
        or isinstance(ratio, Tensor)
        or (isinstance(ratio, str) and ratio == "sampled")
    ):
        raise InputError(
            f'importance_ratio={ratio!r}: None, "sampled", or a tensor of π/μ of the actions'
        )
    if clamp is None:
        return
    bound = plain_number(clamp, "clamp")
    if not (bound > 0 and math.isfinite(bound)):
        raise InputError(f"clamp={clamp}: the bound must be positive, such as 20.0")
    if "k3" not in (value, gradient):
        raise InputError(
            f'clamp={clamp} goes with "k3", the only one with an exponential, and not with '
            f"value={value!r} and gradient={gradient!r}"
        )


def _check_sides(policy: Tensor, reference: Tensor, density: bool) -> None:
    check_log_probs(
        policy,
        "log_probs",
        density=density,
        impossible="The policy has probability 0 for an action that was taken: was it drawn with "
        "another temperature, top-k or action mask? Otherwise mask the position",
    )
    check_log_probs(
        reference,
        "reference_log_probs",
        density=density,
        impossible="The reference cannot take an action that was taken, so KL(π‖ref) is "
        "infinite: keep such actions from the policy, or mask the position",
    )


def _ratio(
    given: Literal["sampled"] | Tensor | None, policy: Tensor, counted: Tensor, validate: bool
) -> Tensor:
    if given is None:
        return policy.new_ones(())
    if isinstance(given, str):
        return (policy - policy.detach()).exp()
    ratio = torch.where(counted, given, 0.0).to(policy.dtype)
    wrong = ~((ratio >= 0) & ratio.isfinite())
    if validate and bool(wrong.any()):
        at = place(wrong)
        raise InputError(
            f"importance_ratio, {position(at)}: {float(ratio[at]):.6g}. It is π/μ of the action, "
            "(log_probs − behaviour_log_probs).exp(), finite and at least 0"
        )
    return ratio


def _held(r: Tensor, clamp: float | None, validate: bool) -> Tensor:
    """r within ±clamp, its gradient as at the bound; where e⁻ʳ is a number."""
    held = r if clamp is None else with_gradient_of(r, r.detach().clamp(-clamp, clamp))
    if validate:
        _check_exponent(held.detach())
    return held


def _check_exponent(r: Tensor) -> None:
    wrong = -r > math.log(torch.finfo(r.dtype).max)
    if bool(wrong.any()):
        at = place(wrong)
        raise NonFiniteError(
            f"log_probs − reference_log_probs, {position(at)}: {float(r[at]):.6g}, whose e⁻ʳ is "
            f'beyond {r.dtype}. Take value="k1" and gradient="exact", which have no exponential, '
            "or bound it, clamp=20.0"
        )
