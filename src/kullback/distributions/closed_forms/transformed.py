"""Images under transforms: what a one-to-one map leaves as it is, and what it adds to entropy.

A divergence of densities does not change when both sides pass through the same one-to-one map:
the Jacobians cancel. So both sides are brought to their simplest form, and the maps they share
at the end are taken off, until a pair is left that has a closed form. A map that is not
one-to-one (an absolute value) loses information: there the divergence of the bases is a bound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, transforms

from kullback.distributions.closed_forms.independent import sum_last, wasserstein_in_full
from kullback.distributions.closed_forms.shared.structure import (
    injective,
    last_transform,
    same_transform,
    simplified,
)
from kullback.distributions.dispatch import Declined, closed_form, only_where
from kullback.distributions.parameters import parameter_tensors, wide
from kullback.distributions.supports import support_of
from kullback.errors import NoClosedForm

__all__: list[str] = []

SOURCE = "Liese & Vajda (2006), On Divergences and Informations (sufficient maps)"

Divergence = Callable[[Distribution, Distribution], Tensor]


@closed_form("kl", Distribution, Distribution, source=SOURCE)
def _kl(p: Distribution, q: Distribution) -> Tensor:
    """KL(T(P)‖T(Q)) = KL(P‖Q)."""
    from kullback.distributions.answers import kl_in_full

    return _of_simpler(p, q, kl_in_full)


@closed_form("renyi", Distribution, Distribution, source=SOURCE)
def _renyi(p: Distribution, q: Distribution, alpha: float) -> Tensor:
    """R_α(T(P)‖T(Q)) = R_α(P‖Q)."""
    from kullback.distributions import answers

    return _of_simpler(p, q, lambda a, b: answers.renyi_in_full(a, b, alpha))


@closed_form("total_variation", Distribution, Distribution, source=SOURCE)
def _total_variation(p: Distribution, q: Distribution) -> Tensor:
    """TV(T(P), T(Q)) = TV(P, Q)."""
    from kullback.distributions.exact import total_variation

    return _of_simpler(p, q, total_variation)


@closed_form("wasserstein", Distribution, Distribution, source="the same laws, simplified")
def _wasserstein(p: Distribution, q: Distribution) -> Tensor:
    """Distances do change with a map: the two sides are only simplified."""
    return wasserstein_in_full(*_simplified_pair(p, q))


@closed_form("entropy", TransformedDistribution, source="Cover & Thomas (2006), theorem 8.6.4")
def _entropy(p: TransformedDistribution) -> Tensor:
    """H(a + bX) = H(X) + log |b| of densities, H(X) of probabilities."""
    from kullback.distributions import answers

    simple = simplified(p)
    if simple is not p:
        return answers.entropy_in_full(simple)
    taken = last_transform(p)
    if taken is None or not isinstance(taken[1], transforms.AffineTransform):
        raise Declined("the entropy of an image adds the mean log-Jacobian, known if it is affine")
    if support_of(taken[0]).discrete and injective(taken[1], taken[0]):
        return answers.entropy_in_full(taken[0])
    like = wide(next(parameter_tensors(taken[0])))[0]
    scale = torch.as_tensor(taken[1].scale, dtype=like.dtype, device=like.device)
    stretch = scale.abs().log().expand(p.batch_shape + p.event_shape)
    return answers.entropy_in_full(taken[0]) + sum_last(stretch, len(p.event_shape))


def _of_simpler(p: Distribution, q: Distribution, divergence: Divergence) -> Tensor:
    """The divergence of the sides simplified; else with the map that both end in taken off."""
    try:
        simple = _simplified_pair(p, q)
    except Declined:
        return _of_bases(p, q, divergence)
    return _answer(*simple, divergence)


def _simplified_pair(p: Distribution, q: Distribution) -> tuple[Distribution, Distribution]:
    left, right = simplified(p), simplified(q)
    if left is p and right is q:
        raise Declined("no rule is registered for it")
    return left, right


def _of_bases(p: Distribution, q: Distribution, divergence: Divergence) -> Tensor:
    taken_p, taken_q = last_transform(p), last_transform(q)
    if taken_p is None or taken_q is None:
        raise Declined("no rule is registered for it")
    (base_p, of_p), (base_q, of_q) = taken_p, taken_q
    same = same_transform(of_p, of_q)
    if same is False or base_p.event_shape != base_q.event_shape:
        raise Declined(f"P ends in {type(of_p).__name__}, Q in another {type(of_q).__name__}")
    if not (injective(of_p, base_p) and injective(of_q, base_q)):
        raise Declined(
            f"{type(of_p).__name__} is not one-to-one there, so that the divergence of the bases "
            "is an upper bound only"
        )
    value = _answer(base_p, base_q, divergence)
    if not isinstance(same, Tensor):
        return value
    reason = f"the two sides end in a {type(of_p).__name__} with other parameters"
    return only_where(same, value, reason)


def _answer(p: Distribution, q: Distribution, divergence: Divergence) -> Tensor:
    try:
        return divergence(p, q)
    except NoClosedForm:
        pair = f"({type(p).__name__}, {type(q).__name__})"
        raise Declined(f"it is that of {pair}, for which no rule is registered") from None
