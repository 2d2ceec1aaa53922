"""Lower bounds of log p(x) from draws z ~ q(z|x), each with its weight log p(x, z) − log q(z|x)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from kullback.errors import DtypeError, NonFiniteError, ShapeError
from kullback.numerics import accumulation_dtype, compute_dtype
from kullback.training.plain import plain_int

__all__ = ["elbo", "importance_weighted_bound"]


def elbo(log_weights: Tensor, dim: int = 0, *, validate: bool = True) -> Tensor:
    """The evidence lower bound E_q[log p(x, z) − log q(z|x)] ≤ log p(x), in nats, over draws.

    It is log p(x) − KL(q(z|x)‖p(z|x)). With KL(q(z|x)‖p(z)) in closed form, the mean of log p(x|z)
    less `gaussian_kl` is the same with less noise.

    Args:
        log_weights: log p(x, z) − log q(z|x), the draws along `dim`: [draws, *samples] by default.
        dim: the dimension of the draws.
        validate: raise where a weight is NaN or +inf. It costs a look, left out in compiled code.

    Returns:
        Of each sample, [*samples], float32 or float64. Average it over samples; its negative is
        the loss.

    Raises:
        DtypeError: weights that are not floating.
        ShapeError: no such dimension, no draws, or no samples.
        InputError: a `dim` that is no whole number.
        NonFiniteError: a weight of NaN or +inf.

    Source: Kingma & Welling (2014), Auto-Encoding Variational Bayes, eq. 2.

    Example:
        >>> elbo(torch.tensor([[-3.0, -1.0], [-5.0, -1.0]]))
        tensor([-4., -1.])
    """
    weights = _checked(log_weights, dim, validate)
    return weights.mean(dim, dtype=accumulation_dtype(weights)).to(weights.dtype)


def importance_weighted_bound(
    log_weights: Tensor, dim: int = 0, *, validate: bool = True
) -> Tensor:
    """log of the mean weight over K draws, in nats: a bound E[·] ≤ log p(x) that rises with K.

    K = 1 is the ELBO; K → ∞ gives log p(x). On the same draws it is never below `elbo`.

    Args:
        log_weights: log p(x, z) − log q(z|x), the draws along `dim`: [draws, *samples] by default.
            −inf, a draw that explains nothing of x, is a weight of 0.
        dim: the dimension of the draws.
        validate: raise where a weight is NaN or +inf. It costs a look, left out in compiled code.

    Returns:
        Of each sample, [*samples], float32 or float64. Average it over samples.

    Raises:
        DtypeError: weights that are not floating.
        ShapeError: no such dimension, no draws, or no samples.
        InputError: a `dim` that is no whole number.
        NonFiniteError: a weight of NaN or +inf.

    Source: Burda, Grosse & Salakhutdinov (2016), Importance Weighted Autoencoders, eq. 8.

    Example:
        >>> importance_weighted_bound(torch.tensor([[-3.0, -1.0], [-5.0, -1.0]]))
        tensor([-3.5662, -1.0000])
    """
    weights = _checked(log_weights, dim, validate)
    top = weights.detach().amax(dim, keepdim=True)
    top = torch.where(top == -torch.inf, 0.0, top)
    # A sample whose weights are all 0 has the bound −inf, and no gradient rather than NaN.
    summed = (weights - top).exp().sum(dim, dtype=accumulation_dtype(weights))
    nothing = summed == 0
    mean_log = torch.where(nothing, 1.0, summed).log() - math.log(weights.shape[dim])
    bound = torch.where(nothing, -torch.inf, mean_log + top.squeeze(dim))
    return bound.to(weights.dtype)


def _checked(log_weights: Tensor, dim: int, validate: bool) -> Tensor:
    if not isinstance(log_weights, Tensor) or not log_weights.is_floating_point():
        is_tensor = isinstance(log_weights, Tensor)
        kind = log_weights.dtype if is_tensor else type(log_weights).__name__
        raise DtypeError(f"log_weights is of {kind}: pass a floating tensor")
    shape = tuple(log_weights.shape)
    if not -len(shape) <= plain_int(dim, "dim") < len(shape):
        raise ShapeError(
            f"log_weights has shape {shape} and no dimension {dim}: stack the draws along one, "
            "such as [draws, *samples] with dim=0"
        )
    if not shape[dim]:
        raise ShapeError(f"log_weights has shape {shape}: there are no draws along {dim}")
    if 0 in shape:
        raise ShapeError(
            f"log_weights has shape {shape}: there are no samples, and the mean over none is NaN; "
            "leave out empty batches"
        )
    weights = log_weights.to(compute_dtype(log_weights))
    if validate and not (torch.compiler.is_compiling() or is_functorch_wrapped_tensor(log_weights)):
        # NaN is not below +inf either.
        wrong = ~(weights.detach() < torch.inf)
        if bool(wrong.any()):
            place = wrong.nonzero()[0].tolist()
            raise NonFiniteError(
                f"log_weights is {float(weights.detach()[tuple(place)])} at {place}: log p(x, z) "
                "must be below +inf, and log q(z|x) finite at a draw of its own"
            )
    return weights
