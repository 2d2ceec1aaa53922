"""KL of any posterior from any prior: by closed form, or by draws that carry a gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.exact import kl_divergence
from kullback.distributions.pairs import check_pair
from kullback.errors import InputError, NoClosedForm
from kullback.training.plain import plain_int
from kullback.training.vae.drawn_kl import drawn_kl
from kullback.training.vae.reductions import LatentReduction, check_reduction, reduce_latents

__all__ = ["latent_kl"]


def latent_kl(
    posterior: Distribution,
    prior: Distribution,
    *,
    samples: int | None = None,
    reduction: LatentReduction = "mean_over_samples",
    latent_dims: int | None = None,
) -> Tensor:
    """KL(posterior‖prior), in nats: for latents that are not two diagonal Gaussians.

    By default it is exact, `kullback.kl_divergence`. With `samples` it is the mean of
    log q(z) − log p(z) over that many reparameterised draws z of the posterior: unbiased, in value
    and in gradient, and negative at times. Which of the two it is, is never chosen for you. Where
    the supports prove that it is +inf, both are, and no gradient comes from there.

    Args:
        posterior: q(z|x), such as an encoder gives it.
        prior: p(z); its batch shape broadcasts with the posterior's.
        samples: None for the exact divergence, else how many draws are averaged.
        reduction: as in `gaussian_kl`.
        latent_dims: how many of the last batch dimensions are one sample's latents. By default 1
            where events are numbers, as for `Normal`, and 0 where they are whole latents.

    Returns:
        As `gaussian_kl`: "none" is of the broadcast batch shape.

    Raises:
        NoClosedForm: nothing exact is known, and no `samples` were asked for.
        InputError: a posterior whose draws carry no gradient, or of which one is outside of the
            prior's support; `samples` that are no whole number from 1 on; an unknown reduction.
        NonFiniteError: a log-density that is not finite at a draw.
        ShapeError: event shapes that differ, or shapes that leave nothing to add up.

    Source: Kingma & Welling (2014), Auto-Encoding Variational Bayes, section 2.3.

    Example:
        >>> import torch
        >>> from torch.distributions import Laplace, Normal
        >>> posterior = Laplace(torch.zeros(4, 2), torch.ones(4, 2))
        >>> print(f"{latent_kl(posterior, Normal(0.0, 1.0)):.4f}")
        0.4516
        >>> a = torch.full((4, 2), 2.0, requires_grad=True)
        >>> latent_kl(Normal(a, 1.0), Laplace(0.0, 1.0), samples=8).backward()
        >>> bool((a.grad > 0).all())
        True
    """
    check_pair(posterior, prior)
    each = _exact(posterior, prior) if samples is None else _drawn(posterior, prior, samples)
    if latent_dims is None:
        latent_dims = 0 if posterior.event_shape else min(1, each.dim())
    check_reduction(reduction, latent_dims, tuple(each.shape))
    return reduce_latents(each, reduction, latent_dims)


def _exact(posterior: Distribution, prior: Distribution) -> Tensor:
    try:
        return kl_divergence(posterior, prior)
    except NoClosedForm as unknown:
        raise NoClosedForm(
            f"{unknown}; as a loss, latent_kl(posterior, prior, samples=8) averages draws and "
            "carries a gradient"
        ) from None


def _drawn(posterior: Any, prior: Any, samples: int) -> Tensor:
    samples = plain_int(samples, "samples", least=1, advice="; None asks for exactness")
    if not posterior.has_rsample:
        raise InputError(
            f"{type(posterior).__name__} has no rsample: a mean over its draws has no gradient in "
            "where they fall. Sum over its events with latent_kl(posterior, prior), or take a "
            "relaxed distribution"
        )
    return drawn_kl(posterior, prior, samples)
