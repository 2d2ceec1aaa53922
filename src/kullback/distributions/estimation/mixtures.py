"""KL between mixtures: bounds that hold, and the approximations in use, which are none.

With f = Σ π_a f_a and g = Σ ω_b g_b, two numbers per component make everything: D_ab =
KL(f_a‖g_b), and for Gaussians the overlap t_ab = ∫ f_a g_b.

| name | is it a bound? | needs |
| --- | --- | --- |
| `variational_upper_bound` | yes, from above, for components of any kind | D_ab |
| `product_bounds` | yes, from below and from above | Gaussian components |
| `variational` | no: the difference of two lower bounds | D_ab |
| `matched_bound` | from above only if no two components of f match the same one of g | D_ab |
| `moment_matching` | no | Gaussian components |
| `unscented` | no | Gaussian components |
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from kullback.distributions.estimation.components import Gaussian, Parts, gaussian, parts_of
from kullback.distributions.widening import in_float64
from kullback.errors import InputError
from kullback.numerics import times

__all__ = [
    "bracket",
    "matched_bound",
    "moment_matching",
    "product_bounds",
    "unscented",
    "variational",
    "variational_upper_bound",
]

# Each step costs little and can only lower the bound; it has settled long before.
_STEPS = 200


def bracket(p: Any, q: Any) -> tuple[Tensor, Tensor]:
    """The closest bounds below and above KL(P‖Q) that hold for these mixtures, in nats.

    Example:
        >>> part = td.Normal(torch.tensor([-2.0, 2.0]), 1.0)
        >>> p = td.MixtureSameFamily(td.Categorical(torch.tensor([0.5, 0.5])), part)
        >>> low, high = bracket(p, td.Normal(0.0, 1.0))
        >>> print(f"{low:.3f} {high:.3f}")
        0.154 1.478
    """
    f, g = parts_of(p), parts_of(q)
    upper = variational_upper_bound(p, q)
    lower = torch.zeros_like(upper)
    if gaussian(f.each) is not None and gaussian(g.each) is not None:
        below, above = product_bounds(p, q)
        lower, upper = torch.maximum(lower, below), torch.minimum(upper, above)
    return lower, upper


def variational(p: Any, q: Any) -> Tensor:
    """Σ π_a log(Σ_α π_α e^(−KL(f_a‖f_α)) / Σ_b ω_b e^(−D_ab)), not a bound on KL(P‖Q).

    Source: Hershey & Olsen (2007), Approximating the Kullback Leibler Divergence between Gaussian
    Mixture Models, eq. 18.
    """
    f, g = parts_of(p), parts_of(q)
    return _mean(f, _log_similarity(f, f) - _log_similarity(f, g))


def variational_upper_bound(p: Any, q: Any) -> Tensor:
    """The least KL(φ‖ψ) + Σ φ_ab D_ab ≥ KL(P‖Q), over φ with margins π and ψ with margins ω.

    A part of P is split among the parts of Q, and the log-sum inequality holds for any way to
    split: the alternation over φ and ψ can stop anywhere. Parts that stay whole, in their order or
    as they match best, are such ways, which the alternation would come near only slowly.

    Source: Hershey & Olsen (2007), eqs. 21 to 25.
    """
    f, g = parts_of(p), parts_of(q)
    apart = f.kl(g)
    log_pi, log_omega = f.log_weights[..., :, None], g.log_weights[..., None, :]
    log_phi = (log_pi + log_omega).expand(apart.shape)
    log_psi = log_phi
    for _ in range(_STEPS):
        log_psi = log_omega + log_phi - _log_sum(log_phi, -2)
        far = log_psi - apart
        log_phi = log_pi + far - _log_sum(far, -1)
    cost = torch.where(log_phi > -math.inf, log_phi - log_psi + apart, 0.0)
    bound = times(log_phi.exp(), cost).sum((-2, -1))
    # A part of P that every part of Q is infinitely far from has nowhere to be sent.
    lonely = (apart == math.inf).all(-1) & (f.weights > 0)
    bound = torch.where(lonely.any(-1), math.inf, bound)
    whole, one_to_one = _matched(f, g)
    bound = torch.where(one_to_one & (whole < bound), whole, bound)
    if apart.shape[-1] != apart.shape[-2]:
        return bound
    gap = torch.where(f.weights > 0, f.log_weights - g.log_weights, 0.0)
    in_order = _mean(f, gap + apart.diagonal(dim1=-2, dim2=-1))
    return torch.where(in_order < bound, in_order, bound)


def product_bounds(p: Any, q: Any) -> tuple[Tensor, Tensor]:
    """Bounds on KL(P‖Q) from below and from above, for Gaussian components.

    Of E_{f_a} log f and E_{f_a} log g, each is bounded from above by Jensen's inequality, which
    brings in the overlaps, and from below by the variational bound.

    Source: Durrieu, Thiran & Kelly (2012), Lower and Upper Bounds for Approximation of the
    Kullback-Leibler Divergence between Gaussian Mixture Models, eqs. 15 and 16.
    """
    f, g = parts_of(p), parts_of(q)
    of_f, of_g = _gaussian_parts(f, "P"), _gaussian_parts(g, "Q")
    entropy = of_f.entropy
    own = (f.log_weights[..., None, :] + of_f.log_overlap(of_f)).logsumexp(-1)
    other = (g.log_weights[..., None, :] + of_f.log_overlap(of_g)).logsumexp(-1)
    lower = _mean(f, _log_similarity(f, f) - entropy - other)
    upper = _mean(f, own + entropy - _log_similarity(f, g))
    return lower, upper


def matched_bound(p: Any, q: Any) -> Tensor:
    """Σ π_a (D_am + log π_a/ω_m), where part m(a) of Q matches part a of P best.

    An upper bound on KL(P‖Q) if the match is one-to-one; not in general.

    Source: Goldberger, Gordon & Greenspan (2003), An Efficient Image Similarity Measure Based on
    Approximations of KL-Divergence between Two Gaussian Mixtures, eq. 3.
    """
    return _matched(parts_of(p), parts_of(q))[0]


def moment_matching(p: Any, q: Any) -> Tensor:
    """KL of the two Gaussians that have the mixtures' means and covariances; not a bound.

    Source: Hershey & Olsen (2007), section 3 (the Gaussian approximations).
    """
    from kullback.distributions.answers import kl_in_full

    sides = []
    for side, name in ((p, "P"), (q, "Q")):
        parts = parts_of(side)
        one = _gaussian_parts(parts, name).matched(parts.weights)
        sides.append(
            td.MultivariateNormal(one.mean, covariance_matrix=one.covariance, validate_args=False)
        )
    return kl_in_full(*sides)


def unscented(p: Any, q: Any) -> Tensor:
    """Σ π_a times the mean of log f/g over the 2d sigma points of part a; not a bound.

    Exact where log f/g is a polynomial of degree 3 on each part, as for one Gaussian against one.

    Source: Hershey & Olsen (2007), eqs. 6 and 7.
    """
    parts = parts_of(p)
    of_p = _gaussian_parts(parts, "P")
    steps = math.sqrt(of_p.dimension) * of_p.root.transpose(-2, -1)
    # Sigma points and parts lead, so that log_prob sees them as draws.
    points = torch.cat([of_p.mean[..., None, :] + steps, of_p.mean[..., None, :] - steps], -2)
    points = points.movedim((-3, -2), (0, 1))
    wide_p, wide_q = in_float64(p), in_float64(q)
    points = points.reshape(*points.shape[:-1], *wide_p.event_shape)
    missing = max(len(wide_q.batch_shape) - len(wide_p.batch_shape), 0)
    points = points.reshape(*points.shape[:2], *(1,) * missing, *points.shape[2:])
    ratios = wide_p.log_prob(points) - wide_q.log_prob(points)
    return _mean(parts, ratios.mean(1).movedim(0, -1))


def _matched(f: Parts, g: Parts) -> tuple[Tensor, Tensor]:
    """Σ π_a (D_am + log π_a/ω_m) for the best matches m(a), and whether those are one-to-one."""
    best, match = (f.kl(g) - g.log_weights[..., None, :]).min(-1)
    value = _mean(f, best + torch.where(f.log_weights > -math.inf, f.log_weights, 0.0))
    in_order = match.sort(-1).values
    return value, (in_order[..., 1:] != in_order[..., :-1]).all(-1)


def _mean(parts: Parts, values: Tensor) -> Tensor:
    """Σ π_a values_a."""
    return times(parts.weights, values).sum(-1)


def _log_similarity(f: Parts, g: Parts) -> Tensor:
    """log Σ_b ω_b e^(−D_ab), for each a."""
    return (g.log_weights[..., None, :] - f.kl(g)).logsumexp(-1)


def _log_sum(x: Tensor, dim: int) -> Tensor:
    """log Σ eˣ with 0 for an empty sum: what it normalises is −inf already."""
    total = x.logsumexp(dim, keepdim=True)
    return torch.where(total == -math.inf, 0.0, total)


def _gaussian_parts(parts: Parts, name: str) -> Gaussian:
    found = gaussian(parts.each)
    if found is None:
        raise InputError(
            f"the components of {name} are {type(parts.each).__name__}: this method needs Normal "
            'or MultivariateNormal components; method="variational" needs only closed forms'
        )
    return found
