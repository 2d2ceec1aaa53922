"""Independent: what is additive over independent parts is summed over the reinterpreted dims.

Two sides need not have reinterpreted the same dims: the outermost they share are summed, and
what is left of the deeper one stays an Independent, to be compared with the other's base.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from kullback.distributions.closed_forms.shared.structure import simplified
from kullback.distributions.dispatch import Declined, closed_form, find_closed_form
from kullback.errors import NoClosedForm
from kullback.numerics import safe_root

__all__ = ["sum_last", "wasserstein_in_full"]


@closed_form("kl", Independent, Independent, source="Cover & Thomas (2006), theorem 2.5.3")
def _kl(p: Independent, q: Independent) -> Tensor:
    """Σ KL(P_i‖Q_i)."""
    from kullback.distributions.answers import kl_in_full

    return _summed(p, q, kl_in_full)


@closed_form("renyi", Independent, Independent, source="van Erven & Harremoës (2014), theorem 28")
def _renyi(p: Independent, q: Independent, alpha: float) -> Tensor:
    """Σ R_α(P_i‖Q_i)."""
    from kullback.distributions import answers

    return _summed(p, q, lambda a, b: answers.renyi_in_full(a, b, alpha))


@closed_form("wasserstein", Independent, Independent, source="Peyré & Cuturi (2019), section 2.6")
def _wasserstein(p: Independent, q: Independent) -> Tensor:
    """√Σ W₂(P_i, Q_i)²: the squared distance is a sum over coordinates, and so is the plan."""
    return safe_root(_summed(p, q, lambda a, b: wasserstein_in_full(a, b).square()))


@closed_form("entropy", Independent, source="Cover & Thomas (2006), theorem 8.6.2")
def _entropy(p: Independent) -> Tensor:
    """Σ H(P_i)."""
    from kullback.distributions import answers

    base: Any = p.base_dist
    parts = answers.entropy_in_full(base).expand(base.batch_shape)
    return sum_last(parts, p.reinterpreted_batch_ndims)


def wasserstein_in_full(p: Distribution, q: Distribution) -> Tensor:
    """W₂(P, Q) before rounding."""
    form = find_closed_form("wasserstein", type(p), type(q))
    if form is None:
        raise Declined("no rule is registered for it")
    return form.formula(p, q)


def _summed(
    p: Independent, q: Independent, divergence: Callable[[Distribution, Distribution], Tensor]
) -> Tensor:
    """Σ of the divergence of the parts, over the outermost dims that both have reinterpreted."""
    left, right = simplified(p), simplified(q)
    shared = min(_dims(left), _dims(right))
    left, right = _peeled(left, shared), _peeled(right, shared)
    shape = torch.broadcast_shapes(left.batch_shape, right.batch_shape)
    try:
        parts = divergence(left, right)
    except NoClosedForm:
        pair = f"({type(left).__name__}, {type(right).__name__})"
        raise Declined(f"it would be the sum over independent parts of {pair}") from None
    return sum_last(parts.expand(shape), shared)


def _dims(p: Any) -> int:
    return p.reinterpreted_batch_ndims if isinstance(p, Independent) else 0


def _peeled(p: Any, dims: int) -> Distribution:
    """P with its outermost `dims` reinterpreted dims given back to the batch."""
    if dims == 0:
        return p
    left = p.reinterpreted_batch_ndims - dims
    return Independent(p.base_dist, left, validate_args=False) if left else p.base_dist


def sum_last(x: Tensor, dims: int) -> Tensor:
    """x summed over its last `dims` dimensions."""
    return x.sum(tuple(range(-dims, 0))) if dims else x
