"""MixtureSameFamily: the few mixtures whose divergence is exact.

With weights w and v, KL(w‖v) + Σ w_i KL(P_i‖Q_i) is the divergence of draws that tell their
component. Without the label it is an upper bound (the log-sum inequality), also where the two
sides share their components and differ in weights. It is the divergence itself where a draw
tells its component anyway, since no two overlap; where there is one component; and where it is 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from kullback.distributions.dispatch import Declined, closed_form, only_where
from kullback.distributions.parameters import given, wide
from kullback.distributions.supports import support_of
from kullback.errors import NoClosedForm
from kullback.numerics import times

__all__: list[str] = []

REASON = (
    "mixtures are exact only where their components do not overlap, or are one, or where the two "
    "sides are equal; KL(weights) + Σ weight·KL(components) is an upper bound"
)


@closed_form(
    "kl", MixtureSameFamily, MixtureSameFamily, source="Cover & Thomas (2006), theorem 2.5.3"
)
def _kl(p: MixtureSameFamily, q: MixtureSameFamily) -> Tensor:
    """KL(w‖v) + Σ w_i KL(P_i‖Q_i), where no component overlaps another, or where that is 0."""
    parts_p, parts_q = p.component_distribution, q.component_distribution
    count = parts_p.batch_shape[-1]
    if count != parts_q.batch_shape[-1]:
        raise Declined(REASON)
    bound = _labelled(p, q)
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    exact = torch.ones((), dtype=torch.bool, device=bound.device)
    if count > 1:
        exact = (bound == 0) | _apart(parts_p, parts_q)
    return only_where(exact, bound, REASON).expand(shape)


def _labelled(p: MixtureSameFamily, q: MixtureSameFamily) -> Tensor:
    from kullback.distributions.answers import kl_in_full

    try:
        parts = kl_in_full(p.component_distribution, q.component_distribution)
        labels = kl_in_full(p.mixture_distribution, q.mixture_distribution)
    except NoClosedForm:
        raise Declined(REASON) from None
    # A component that P never draws from counts for nothing, were it infinitely far away.
    return labels + times(_weights(p.mixture_distribution), parts).sum(-1)


def _weights(labels: Any) -> Tensor:
    if given(labels) == "logits":
        return torch.softmax(wide(labels.logits)[0], -1)
    (weights,) = wide(labels.probs)
    return weights / weights.sum(-1, keepdim=True)


def _apart(p: Distribution, q: Distribution) -> Tensor:
    """Whether no component, of P or Q, overlaps one of another index; of batch shape."""
    of_p, of_q = support_of(p), support_of(q)
    if of_p.low is None or of_p.high is None or of_q.low is None or of_q.high is None:
        return torch.zeros((), dtype=torch.bool)
    dim = -1 - len(p.event_shape)
    low = torch.minimum(of_p.low, of_q.low).movedim(dim, 0)
    high = torch.maximum(of_p.high, of_q.high).movedim(dim, 0)
    below = high[:, None] < low if of_p.discrete else high[:, None] <= low
    # Boxes are apart once they are so in one of their dimensions.
    for _ in p.event_shape:
        below = below.any(-1)
    apart = below | below.transpose(0, 1)
    others = ~torch.eye(apart.shape[0], dtype=torch.bool, device=apart.device)
    shape = (*others.shape, *(1 for _ in apart.shape[2:]))
    return (apart | ~others.reshape(shape)).all(0).all(0)
