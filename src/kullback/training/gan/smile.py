"""SMILE: Donsker–Varadhan with e^T clipped under the logarithm, for less variance."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from kullback.divergences import GAN
from kullback.errors import InputError
from kullback.training.gan.fgan import FGAN
from kullback.training.gan.scores import checked, log_mean_exp
from kullback.training.gradient import with_gradient_of
from kullback.training.plain import plain_number

__all__ = ["smile"]

Gradient = Literal["jensen_shannon", "value"]

_GAME = FGAN(GAN)


def smile(
    p_scores: Tensor,
    q_scores: Tensor,
    *,
    clip: float = 5.0,
    gradient: Gradient = "jensen_shannon",
    validate: bool = True,
) -> Tensor:
    """E_P[T] − log E_Q[clip(e^T, e^−clip, e^clip)]: KL(P‖Q) estimated; not a bound of it.

    With scores within ±clip it is `donsker_varadhan`. Beyond, clipping from above lowers the
    variance and raises the value, past KL(P‖Q) too, even with all the draws there are: a critic
    that has T large everywhere is given any value. So it is not what a critic should raise:

    | gradient | what a step raises |
    | --- | --- |
    | "jensen_shannon" | the game of `FGAN("gan")`, whose best T is log p/q, as the authors do |
    | "value" | the value itself; draws of Q beyond ±clip have no part in it |

    Args:
        p_scores: T of draws of P, of any shape; in mutual information, of pairs.
        q_scores: T of draws of Q; there need not be as many.
        clip: τ, the largest |T| under the logarithm; the bias falls and the variance grows with
            it, and at ∞ the value is that of `donsker_varadhan`.
        gradient: see above.
        validate: raise where a score is not finite. It costs a look at the scores.

    Returns:
        A scalar in nats, to be raised, in float32 (float64 if the scores are).

    Raises:
        ShapeError: no scores.
        DtypeError: scores that are not floating.
        NonFiniteError: NaN or an infinity among them; the message says where.
        InputError: a clip that is no positive number, or an unknown gradient.

    Source: Song & Ermon (2020), Understanding the Limitations of Variational Mutual Information
    Estimators, section 5; for the gradient, the code they published with it.

    Example:
        >>> import torch
        >>> p_scores, q_scores = torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0, 1.0])
        >>> print(f"{smile(p_scores, q_scores):.4f}")
        1.1910
        >>> print(f"{smile(p_scores, q_scores, clip=0.5):.4f}")
        1.4183
    """
    clip = plain_number(clip, "clip")
    if not clip > 0:
        raise InputError(f"clip={clip}: it must be positive, such as 5.0")
    if gradient not in get_args(Gradient):
        raise InputError(f"gradient={gradient!r} is not one of {list(get_args(Gradient))}")
    p = checked(p_scores, "p_scores", validate)
    q = checked(q_scores, "q_scores", validate)
    value = p.mean() - log_mean_exp(q.clamp(-clip, clip))
    if gradient == "value":
        return value
    surrogate = -_GAME.discriminator_loss(p, q, validate=False)
    return with_gradient_of(surrogate, value)
