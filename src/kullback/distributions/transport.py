"""The Wasserstein distance of any two distributions on the line, and of others where it is known.

On the line the best coupling matches quantiles, so that the distance is an integral over levels;
elsewhere it is known between Gaussians, and between what is made of independent parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.exact import wasserstein_distance
from kullback.distributions.questions import check_sides
from kullback.distributions.widening import in_float64
from kullback.errors import InputError, NoClosedForm
from kullback.results import Estimate

__all__ = ["estimated_wasserstein"]

_METHODS = ("auto", "exact", "quadrature")


def estimated_wasserstein(p: Any, q: Any, order: float, method: str) -> Estimate[Tensor]:
    """W_order(P, Q), from a closed form or by the quantile functions.

    Raises:
        InputError: an order below 1, or events of several numbers without a closed form.
        NoClosedForm: method="exact" and there is none.
    """
    if not 1 <= order < float("inf"):
        raise InputError(f"order={order} must be at least 1 and finite")
    if method not in _METHODS:
        raise InputError(f'method={method!r} does not make "wasserstein": one of {_METHODS} does')
    side_p, _, _ = check_sides(p, q)
    missing = "closed forms are known for torch.distributions only"
    if method != "quadrature" and isinstance(p, Distribution) and isinstance(q, Distribution):
        try:
            return _known(wasserstein_distance(in_float64(p), in_float64(q), order=order))
        except NoClosedForm as refusal:
            missing = str(refusal)
    if method == "exact":
        raise NoClosedForm(missing)
    if side_p.event_shape:
        raise InputError(
            f"events of {type(p).__name__} have shape {tuple(side_p.event_shape)}: beyond the "
            "line the Wasserstein distance is answered only where it has a closed form"
        )
    return _by_quantiles(p, q, order)


def _known(value: Tensor) -> Estimate[Tensor]:
    return Estimate(
        value=value,
        low=value.detach(),
        high=value.detach(),
        stderr=torch.zeros_like(value),
        confidence=1.0,
        method="closed form",
    )


def _by_quantiles(p: Any, q: Any, order: float) -> Estimate[Tensor]:
    from kullback.distributions.quantiles import wasserstein

    found = wasserstein(p, q, order)
    value, error = found.value, found.error.detach()
    return Estimate(
        value=value,
        low=torch.where(error > value, 0.0, value - error).detach(),
        high=(value + error).detach(),
        stderr=error,
        confidence=1.0,
        method="quadrature over quantiles, bound on the error",
        evaluations=found.evaluations,
        trusted=bool(found.trusted.all()),
        diagnosis=found.note,
    )
