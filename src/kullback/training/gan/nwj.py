"""The bound of Nguyen, Wainwright & Jordan: KL(P‖Q) from below, without bias on any batch."""

from __future__ import annotations

from torch import Tensor

from kullback.training.gan.scores import checked, refuse_overflow

__all__ = ["nwj"]


def nwj(p_scores: Tensor, q_scores: Tensor, *, validate: bool = True) -> Tensor:
    """E_P[T] − E_Q[e^(T−1)] over two batches: at most KL(P‖Q) for every T, reached at 1 + log p/q.

    It is linear in the two means, so that value and gradient are unbiased, with any number of
    draws; a single batch's value can lie above KL(P‖Q). The price is variance: at the best T the
    second mean over n draws has χ²(P‖Q)/n, which is at least (e^KL − 1)/n. At equal scores it is
    at most `donsker_varadhan`. Its negative is the loss of `FGAN("kl")`.

    Args:
        p_scores: T of draws of P, of any shape; in mutual information, of pairs.
        q_scores: T of draws of Q; there need not be as many.
        validate: raise where a score or the bound is not finite. It costs a look at them.

    Returns:
        A scalar in nats, to be raised, in float32 (float64 if the scores are).

    Raises:
        ShapeError: no scores.
        DtypeError: scores that are not floating.
        NonFiniteError: NaN or an infinity among them, or a bound beyond the dtype, as of scores
            of 200 in float32; the message says where.

    Source: Nguyen, Wainwright & Jordan (2010), Estimating Divergence Functionals and the
    Likelihood Ratio by Convex Risk Minimization, lemma 1 with f* of KL.

    Example:
        >>> import torch
        >>> p_scores, q_scores = torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0, 1.0])
        >>> print(f"{nwj(p_scores, q_scores):.4f}")
        0.9989
    """
    p = checked(p_scores, "p_scores", validate)
    q = checked(q_scores, "q_scores", validate)
    bound = p.mean() - (q - 1).exp().mean()
    if validate:
        refuse_overflow(bound, "the bound", {"q_scores": q})
    return bound
