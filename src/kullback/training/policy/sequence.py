"""The KL of whole sequences, whose gradient has a term that a sum over tokens leaves out.

A token changes the context of all that follow, and with it their KL. The expected sum of the
tokens' KLs depends on the policy twice, through each KL and through the contexts it is taken in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.errors import ShapeError
from kullback.numerics import compute_dtype
from kullback.training.gradient import with_gradient_of
from kullback.training.policy.inputs import check_finite, check_log_probs, check_tensors
from kullback.training.positions import Reduction, count_positions
from kullback.training.uncompiled import uncompiled

__all__ = ["sequence_kl"]


@uncompiled
def sequence_kl(
    token_kl: Tensor,
    log_probs: Tensor,
    *,
    mask: Tensor | None = None,
    baseline: Tensor | None = None,
    reduction: Reduction = "mean",
    validate: bool = True,
) -> Tensor:
    """KL(π‖ref) of sequences that π wrote, in nats, with its whole gradient in the mean.

    With KL_t that of token t given those before, KL(π‖ref) = E[Σ_t KL_t] over sequences from π.
    Since E differentiates to E[(Σ_t KL_t) Σ_s ∇log π_s], and a token s has no say in KL_t for
    t ≤ s, whose terms have mean 0,

        ∇KL(π‖ref) = E[Σ_t (∇KL_t + (Σ_(u>t) KL_u) ∇log π_t)].

    The value is the sum Σ_t KL_t of each sequence and the gradient is what stands in E. Either of
    these gives right KL_t, with reduction="none" and the same mask:

    - `policy_kl_from_logits`, over the whole vocabulary: the smallest variance;
    - `policy_kl` as it is, from the tokens written; the sum is then log π/ref of the sequence.

    For sequences that another policy μ wrote, reduction="none" times the constant ratio
    π/μ of each whole sequence has the right mean too.

    Args:
        token_kl: [..., tokens], KL_t in the contexts that were written, differentiable.
        log_probs: [..., tokens], log π of the tokens that were written, differentiable, without
            temperature or truncation that they were not written with.
        mask: [..., tokens], tokens that count (no prompt, no padding); others may hold anything.
        baseline: [..., tokens], a constant that is taken off Σ_(u>t) KL_u. It may depend on what
            stands before token t and on other sequences, never on token t or later ones; the
            mean stays as it is, and a good guess of the sum has less variance.
        reduction: "mean" over the sequences that have a token; "sum"; "none", [...]; a number
            divides the sum.
        validate: raise where an entry that counts is not finite, or no log-probability.

    Returns:
        A scalar, or [...] for "none"; in float32 (float64 if either input is).

    Raises:
        ShapeError: shapes that do not fit, or no tokens at all.
        DtypeError: inputs that are not floating.
        NonFiniteError: NaN or an infinity, by position.
        InputError: an unknown reduction.

    Source: Tang & Munos (2025), On a Few Pitfalls in KL Divergence Gradient Estimation for RL,
    arXiv:2506.09477 (what the sum over tokens leaves out); Amini, Vieira & Cotterell (2025),
    arXiv:2504.10637 (KL_t over the whole vocabulary); the derivation is the one above.

    Example:
        >>> from kullback.training.policy import policy_kl
        >>> policy = torch.tensor([[-0.7, -1.2, -0.3]], requires_grad=True)
        >>> reference = torch.tensor([[-0.9, -0.8, -1.3]])
        >>> each = policy_kl(policy, reference, reduction="none")
        >>> kl = sequence_kl(each, policy)
        >>> print(f"{kl.item():.4f}")
        0.8000
        >>> kl.backward()
        >>> policy.grad
        tensor([[0.8000, 0.6000, 1.0000]])
    """
    tensors = {"token_kl": token_kl, "log_probs": log_probs}
    if baseline is not None:
        tensors["baseline"] = baseline
    check_tensors(tensors, "token")
    if not token_kl.dim():
        raise ShapeError("token_kl has no dimension of tokens: pass [..., tokens]")
    tokens = count_positions(token_kl.shape, token_kl.device, mask=mask, reduction="none").weight
    counted = (tokens > 0).reshape(token_kl.shape)
    dtype = compute_dtype(token_kl, log_probs)
    kl, log_pi = (torch.where(counted, x, 0.0).to(dtype) for x in (token_kl, log_probs))
    guess = None if baseline is None else torch.where(counted, baseline.detach(), 0.0).double()
    if validate:
        check_finite(kl.detach(), "token_kl")
        check_log_probs(
            log_pi.detach(),
            "log_probs",
            density=True,
            impossible="The policy has probability 0 for a token that it wrote: was it drawn with "
            "another temperature or truncation? Otherwise mask the position",
        )
        if guess is not None:
            check_finite(guess, "baseline")
    future = _later(kl.detach().double())
    if guess is not None:
        future = future - guess
    sequences = count_positions(
        token_kl.shape[:-1], token_kl.device, mask=counted.any(-1), reduction=reduction
    )
    aim = (kl.double() + future * log_pi.double()).sum(-1)
    each = with_gradient_of(aim, kl.detach().double().sum(-1))
    each = each * sequences.weight.reshape(each.shape)
    return (each.sum() if sequences.reduced else each).to(dtype)


def _later(x: Tensor) -> Tensor:
    """At each place the sum of what comes after it, added up without what does not."""
    later = x[..., 1:].flip(-1).cumsum(-1).flip(-1)
    return torch.cat([later, torch.zeros_like(x[..., :1])], -1)
