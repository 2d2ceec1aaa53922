"""KL of diagonal Gaussians given as means and log-variances, as encoders put them out.

With d the difference of the log-variances, a dimension costs half of eᵈ − 1 − d and of the squared
distance of the means in the prior's standard deviations. Neither is negative. As usually written,
½(eᵛ + μ² − 1 − v), the two are a small difference of numbers near 1: in float32 nothing is left of
a KL below 1e-7, which is where a latent is that begins to collapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor, peek_interpreter_stack
from torch.autograd import forward_ad

from kullback.errors import DtypeError, NonFiniteError, ShapeError
from kullback.numerics import compute_dtype, exp_remainder, expm1, lost_in_difference
from kullback.training.vae.one_pass import gaussian_kl_in_one_pass
from kullback.training.vae.reductions import LatentReduction, check_reduction, reduce_latents

__all__ = ["check_gaussians", "each_gaussian_kl", "gaussian_kl"]

_NAMES = ("mean", "log_variance", "prior_mean", "prior_log_variance")


def gaussian_kl(
    mean: Tensor,
    log_variance: Tensor,
    prior_mean: Tensor | None = None,
    prior_log_variance: Tensor | None = None,
    *,
    reduction: LatentReduction = "mean_over_samples",
    latent_dims: int = 1,
    validate: bool = True,
) -> Tensor:
    """KL(N(mean, exp(log_variance))‖prior), in nats: the second term of the ELBO.

    The prior is N(0, 1) in every dimension unless it is given. Never negative, exactly 0 for equal
    parameters, and as exact near 0 as far from it. The gradient is too, and so is the second.

    | reduction | value | divided by |
    | --- | --- | --- |
    | "mean_over_samples" | a number, the ELBO's term | the samples |
    | "mean_over_all" | a number | samples × latent dimensions |
    | "sum" | a number | nothing |
    | "per_sample" | [*samples], summed over the latents | nothing |
    | "none" | [*samples, *latents], of each dimension | nothing |
    | a number | a number | it |

    The ELBO's other term is the log-likelihood summed over a sample's features and averaged over
    samples. One averaged over features too needs this divided by their count; otherwise it is a
    β-VAE without saying so.

    Args:
        mean: [*samples, *latents].
        log_variance: log σ², not log σ; it broadcasts with `mean`.
        prior_mean: of the prior; 0 if None.
        prior_log_variance: of the prior; 0 if None.
        reduction: see above.
        latent_dims: how many of the last dimensions are one sample's latents: 1 for a vector, 3
            for channels × height × width. All others count samples.
        validate: raise where the parameters are none. It costs a look at the KLs, which is left
            out in compiled code.

    Returns:
        float32, also for half precision, or float64 if any side is. Where a variance makes the KL
        larger than the dtype holds (log σ² of about 88 in float32) it is +inf.

    Raises:
        DtypeError: parameters that are not floating tensors.
        ShapeError: shapes that do not broadcast, or nothing to add up.
        NonFiniteError: NaN in a parameter, or infinities that leave no KL.
        InputError: an unknown reduction.

    Source: Kingma & Welling (2014), Auto-Encoding Variational Bayes, appendix B.

    Example:
        >>> mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1e-4]])
        >>> gaussian_kl(mean, log_variance, reduction="none")
        tensor([[5.0000e-01, 2.5001e-09]])
        >>> gaussian_kl(mean, log_variance)
        tensor(0.5000)
        >>> gaussian_kl(mean, log_variance, mean, log_variance)
        tensor(0.)
    """
    given = (mean, log_variance, prior_mean, prior_log_variance)
    shape = check_gaussians(dict(zip(_NAMES, given, strict=True)))
    check_reduction(reduction, latent_dims, tuple(shape))
    quick = gaussian_kl_in_one_pass(_of_one_dtype(given), reduction, latent_dims)
    # Numbers that it serves have a KL: there is nothing to look for.
    if quick is not None:
        return quick
    each = each_gaussian_kl(*given)
    reduced = reduce_latents(each, reduction, latent_dims)
    unseen = torch.compiler.is_compiling() or is_functorch_wrapped_tensor(reduced)
    # No term is negative, so that a sum is NaN exactly where a term is.
    if validate and not unseen and bool(reduced.detach().isnan().any()):
        raise _no_gaussians(each, given)
    return reduced


def _of_one_dtype(given: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """Two sides against N(0, 1), else four."""
    told = [x for x in given if x is not None]
    dtype = compute_dtype(*told)
    if len(told) == 2 and given[2] is None and given[3] is None:
        return tuple(x.to(dtype) for x in told)
    zero = torch.zeros((), dtype=dtype, device=told[0].device)
    return tuple(zero if x is None else x.to(dtype) for x in given)


def each_gaussian_kl(
    mean: Tensor,
    log_variance: Tensor,
    prior_mean: Tensor | None,
    prior_log_variance: Tensor | None,
) -> Tensor:
    """½(eᵈ − 1 − d) + ½(μ − ν)²/τ² of each dimension, d = log σ² − log τ²."""
    sides = (mean, log_variance, prior_mean, prior_log_variance)
    dtype = compute_dtype(*(x for x in sides if x is not None))
    mu, v = mean.to(dtype), log_variance.to(dtype)
    z = mu if prior_mean is None else mu - prior_mean.to(dtype)
    if prior_log_variance is None:
        return 0.5 * (_remainder(v, None) + z * z)
    w = prior_log_variance.to(dtype)
    # In two factors: a distance far below 1 may meet a deviation that is as small.
    root = (-0.25 * w).exp()
    z = z * root * root
    # The exponential would make of what rounding took from d, half a unit in the last place of 20,
    # an error of 1e-6.
    return 0.5 * (_remainder(v - w, lost_in_difference(v, w)) + z * z)


def _remainder(d: Tensor, lost: Tensor | None) -> Tensor:
    """eᵈ − 1 − d ≥ 0, of which the exponential is that of d + lost."""
    # Forward mode and function transforms say whether they are on in private names only, of which
    # the compiler knows these two.
    if forward_ad._current_level >= 0 or peek_interpreter_stack() is not None:
        return _formula(d, lost)
    return _Remainder.apply(d, lost)  # type: ignore[no-any-return]


def _formula(d: Tensor, lost: Tensor | None) -> Tensor:
    ratio = d.exp()
    if lost is not None:
        ratio = ratio + ratio * lost
    return exp_remainder(d.new_ones(()), ratio, d)


class _Remainder(torch.autograd.Function):
    """The formula with its slope eᵈ − 1, instead of a recording of each term of its series."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, lost: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(d, lost)
        return _formula(d, lost)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        d, lost = ctx.saved_tensors
        slope = (expm1 if torch.compiler.is_compiling() else torch.expm1)(d)
        if lost is not None:
            slope = slope + (slope + 1) * lost
        return weight * slope, None


def check_gaussians(given: Mapping[str, Tensor | None]) -> torch.Size:
    """The shape of the dimensions that means and log-variances, by their names, describe.

    Raises:
        DtypeError: parameters that are not floating tensors.
        ShapeError: shapes that do not broadcast, or several devices.
    """
    named = [(name, x) for name, x in given.items() if x is not None]
    for name, x in named:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise DtypeError(f"{name} is of {kind}: pass a floating tensor")
        if x.device != named[0][1].device:
            raise ShapeError(
                f"{named[0][0]} is on {named[0][1].device} and {name} on {x.device}: move one, "
                f"{name}.to({named[0][0]}.device)"
            )
    shapes = [x.shape for _, x in named]
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in named)
        raise ShapeError(
            f"the shapes do not broadcast: {shapes}. An encoder's output of both is split by "
            "mean, log_variance = output.chunk(2, dim=-1)"
        ) from None


def _no_gaussians(each: Tensor, given: tuple[Tensor | None, ...]) -> NonFiniteError:
    """The error that names the first pair of parameters without a KL."""
    place = tuple(each.detach().isnan().nonzero()[0].tolist())
    values = ", ".join(
        f"{name} is {float(x.detach().expand(each.shape)[place])}"
        for name, x in zip(_NAMES, given, strict=True)
        if x is not None
    )
    return NonFiniteError(
        f"at {list(place)} {values}: there is no such Gaussian pair. If training diverged, look "
        "at the loss of the steps before"
    )
