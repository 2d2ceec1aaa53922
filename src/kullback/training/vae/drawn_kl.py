"""KL as a mean over draws of the posterior, which carries a gradient to both sides.

Draws show a KL where there is one. That there is none, the posterior having mass where the prior
has not, they can miss, and torch's densities say it only where its validation is on: Exponential's
formula gives a number below 0 too. So the supports are asked first, and then every draw.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.parameters import is_traced
from kullback.distributions.supports import escape
from kullback.errors import InputError, NonFiniteError
from kullback.numerics import accumulation_dtype, compute_dtype

__all__ = ["drawn_kl"]


def drawn_kl(posterior: Any, prior: Any, samples: int) -> Tensor:
    """The mean of log q(z) − log p(z) over reparameterised draws z of q, of broadcast batch shape.

    It is +inf, with a gradient of 0, where the supports prove it. In compiled or mapped code nobody
    looks at the draws.

    Raises:
        InputError: a draw outside of a support, though the supports prove nothing.
        NonFiniteError: a log-density that is not finite at a draw.

    Example:
        >>> from torch.distributions import Exponential, Normal
        >>> drawn_kl(Normal(0.0, 1.0), Exponential(1.0), 8)
        tensor(inf)
    """
    z = posterior.rsample((samples,))
    log_q = _log_density(posterior, z, "posterior")
    batch = torch.broadcast_shapes(posterior.batch_shape, prior.batch_shape)
    # The prior's batch may have more dimensions; that of the draws stays in front of them.
    more = (1,) * (len(batch) - len(posterior.batch_shape))
    z, log_q = (x.reshape(samples, *more, *x.shape[1:]) for x in (z, log_q))
    proof = escape(posterior, prior)
    if proof is None:
        _check_inside(prior, z)
        return _mean(log_q - _log_density(prior, z, "prior"))
    infinite = proof.where
    if not is_traced(infinite):
        if bool(infinite.all()):
            return torch.where(infinite, math.inf, _mean(log_q))
        if bool(infinite.any()):
            # There a point of the prior's own stands in for the draw: it has a density.
            escaped = infinite[(..., *(None for _ in prior.event_shape))]
            z = torch.where(escaped, prior.sample().to(z.dtype), z)
    return torch.where(infinite, math.inf, _mean(log_q - _log_density(prior, z, "prior")))


def _mean(log_ratios: Tensor) -> Tensor:
    mean = log_ratios.mean(0, dtype=accumulation_dtype(log_ratios))
    return mean.to(compute_dtype(log_ratios))


def _log_density(side: Any, z: Tensor, name: str) -> Tensor:
    try:
        values = side.log_prob(z)
    except ValueError as refusal:
        # Torch's validation, which goes on to print every draw.
        if "within the support" not in str(refusal):
            raise
        raise InputError(
            f"the {name} ({type(side).__name__}) refuses draws of the posterior as outside of its "
            "support: take a prior with mass wherever the posterior has some. Parts of a mixture "
            "that differ in support need validate_args=False"
        ) from None
    if is_traced(values):
        return values
    wrong = ~values.detach().isfinite()
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        raise NonFiniteError(
            f"the log-density of the {name} ({type(side).__name__}) is "
            f"{float(values.detach()[tuple(place)])} at {_shown(z, place)}, a draw of the "
            "posterior, and the mean over draws needs it finite: look at the parameters, and "
            "whether the prior has mass wherever the posterior has some"
        )
    return values


def _check_inside(prior: Any, z: Tensor) -> None:
    if is_traced(z):
        return
    try:
        outside = ~prior.support.check(z.detach())
    except (AttributeError, NotImplementedError):
        return  # a distribution may leave its support open
    if bool(outside.any()):
        raise InputError(
            f"{_shown(z, outside.nonzero()[0].tolist())}, a draw of the posterior, is outside of "
            f"the support of the prior ({type(prior).__name__}): the KL is +inf unless rounding "
            "moved the draw over an edge; take a prior with mass wherever the posterior has some"
        )


def _shown(z: Tensor, place: list[int]) -> str:
    """The draw that was found wrong, which may have been broadcast, and its value if a number."""
    sizes = zip(place, z.shape, strict=False)
    draw = z.detach()[tuple(index if size > 1 else 0 for index, size in sizes)]
    return f"z{place}" if draw.dim() else f"z{place}={float(draw)}"
