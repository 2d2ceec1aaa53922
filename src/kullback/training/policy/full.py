"""KL(π‖ref) over all actions at once: what `policy_kl` estimates, without the actions' noise."""

from __future__ import annotations

from torch import Tensor

from kullback.errors import InputError, ShapeError
from kullback.training.distillation.loss import distillation_loss
from kullback.training.positions import Reduction
from kullback.training.uncompiled import uncompiled

__all__ = ["policy_kl_from_logits"]

_WORDS = {
    "teacher_logits": "reference_logits",
    "student_logits": "logits",
    'mask the token on both sides, or take a bounded divergence, such as "js" or "skew"': "keep "
    "actions that the reference cannot take from the policy, or mask the position",
    "no token is left to predict": "no action is left",
    "token ": "action ",
}


@uncompiled
def policy_kl_from_logits(
    logits: Tensor,
    reference_logits: Tensor,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    validate: bool = True,
) -> Tensor:
    """KL(π‖ref) of the next action at every position, in nats, summed over all actions.

    This is the mean of `policy_kl` over the actions, given the states, in value and in gradient
    (Rao–Blackwell): its variance is never larger, and what is left of it comes from the states.
    Nothing depends on which actions were taken, so there is no importance ratio; with states of
    another policy, `weights` can hold theirs. That later states depend on the policy too is left
    out, as in every KL by token: see `sequence_kl`.

    Value and gradient are made in one pass by the kernels of `distillation_loss`, in float32 from
    half precision, and are right near equality. It cannot be differentiated twice; where that is
    needed, take `kullback.kl_divergence`.

    Args:
        logits: [..., actions], of the policy; differentiable. Log-probabilities are logits too.
        reference_logits: of the same shape; a constant.
        temperature: both sides' logits are divided by it, as when the actions are drawn.
        mask: [...], positions that count; others may hold anything, NaN included.
        weights: [...], of the positions, at least 0.
        reduction: "mean" is Σ weight·KL/Σ weight over the positions that count; "sum"; "none",
            [...], 0 where a position does not count; a number divides the sum.
        validate: raise where a row that counts is no distribution, or has an infinite KL to be
            differentiated.

    Returns:
        A scalar, or [...] for "none"; in float32 (float64 if either side is). +inf where the
        policy can take an action that the reference cannot, if no gradient is asked for; actions
        that neither can take (−inf) add nothing.

    Raises:
        ShapeError: shapes that do not fit, or no positions at all.
        DtypeError: logits that are not floating.
        NonFiniteError: NaN or +inf in a row that counts, a row of −inf; an infinite KL, if a
            gradient is asked for. The message says which position.
        InputError: an option out of its range.

    Source: Amini, Vieira & Cotterell (2025), Better Estimation of the Kullback–Leibler Divergence
    Between Language Models, arXiv:2504.10637.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]], requires_grad=True)
        >>> kl = policy_kl_from_logits(logits, torch.zeros(2, 3), reduction="none")
        >>> [f"{x:.4f}" for x in kl.tolist()]
        ['0.2662', '0.7320']
    """
    if isinstance(logits, Tensor) and not logits.shape[:-1].numel():
        raise ShapeError(
            f"logits of shape {tuple(logits.shape)} hold no position: leave an empty batch out"
        )
    try:
        return distillation_loss(
            logits,
            reference_logits,
            divergence="reverse_kl",
            temperature=temperature,
            scale_by_temperature=False,
            mask=mask,
            weights=weights,
            reduction=reduction,
            validate=validate,
        )
    except InputError as error:
        # The loss speaks of student, teacher and tokens, which nobody has named here.
        words = str(error)
        for theirs, ours in _WORDS.items():
            words = words.replace(theirs, ours)
        raise type(error)(words) from None
