"""Our exact KL inside `torch.distributions.kl_divergence`, for code that calls that and not us.

torch asks its registry for the most specific pair of types, and warns when two entries with
different functions fit equally well. So every pair gets one and the same function: each pair that
torch answers, each pair of our closed forms, and (Distribution, Distribution) for the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributions.kl as registry
from torch import Tensor
from torch.distributions import Distribution, ExponentialFamily

from kullback.distributions.dispatch import CLOSED_FORMS
from kullback.distributions.exact import kl_divergence
from kullback.errors import NoClosedForm

__all__ = ["register_with_torch", "unregister_from_torch"]

Pair = tuple[type[Distribution], type[Distribution]]


def register_with_torch() -> None:
    """Let `torch.distributions.kl_divergence` answer from our closed forms, in this process.

    Afterwards it gives what `kullback.kl_divergence` gives: for every pair that torch knew, for
    those it did not (finite and nested supports, +inf where the supports prove it), and for their
    subclasses, such as Pyro's. What has no exact answer raises `NoClosedForm`, which is a
    `NotImplementedError`, so that code which then draws samples still does. Pairs that somebody
    else has registered are left alone. Calling it again changes nothing, save that forms
    registered in between are added.

    Example:
        >>> import torch
        >>> from torch.distributions import Gamma, Weibull
        >>> register_with_torch()
        >>> torch.distributions.kl_divergence(Weibull(1.0, 2.0), Gamma(2.0, 1.0)).isfinite()
        tensor(True)
        >>> unregister_from_torch()
    """
    pairs = {pair: None for pair in registry._KL_REGISTRY if _is_torchs_own(pair)}
    for divergence, p, q in CLOSED_FORMS:
        if divergence == "kl" and q is not None:
            pairs[p, q] = None
    pairs[Distribution, Distribution] = None
    for pair in pairs:
        before = registry._KL_REGISTRY.get(pair)
        if before is None or _is_torchs_own(pair):
            _BEFORE[pair] = before
            registry.register_kl(*pair)(_kl)


def unregister_from_torch() -> None:
    """Give torch its own answers back; the opposite of `register_with_torch`."""
    for pair, before in _BEFORE.items():
        if registry._KL_REGISTRY.get(pair) is not _kl:
            continue  # somebody registered this pair since
        if before is None:
            del registry._KL_REGISTRY[pair]
        else:
            registry._KL_REGISTRY[pair] = before
    _BEFORE.clear()
    registry._KL_MEMOIZE.clear()


# What the registry had in the places that are ours now.
_BEFORE: dict[Pair, Callable[..., Tensor] | None] = {}


def _is_torchs_own(pair: Pair) -> bool:
    return registry._KL_REGISTRY[pair].__module__ == registry.__name__


def _kl(p: Distribution, q: Distribution) -> Tensor:
    try:
        return kl_divergence(p, q)
    except NoClosedForm:
        foreign = type(p) is type(q) and not type(p).__module__.startswith("torch.")
        if foreign and isinstance(p, ExponentialFamily) and isinstance(q, ExponentialFamily):
            return _bregman(p, q)
        raise


def _bregman(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """F(θ_q) − F(θ_p) − ⟨∇F(θ_p), θ_q − θ_p⟩ of a family that is not torch's own.

    Source: Nielsen & Nock (2010), Entropies and Cross-Entropies of Exponential Families, eq. 5.
    """
    at_p, at_q = p._natural_params, q._natural_params
    with torch.enable_grad():
        free = [x if x.requires_grad else x.detach().requires_grad_() for x in at_p]
        normalizer = p._log_normalizer(*free)
        slopes = torch.autograd.grad(normalizer.sum(), free, create_graph=True)
    value = q._log_normalizer(*at_q) - normalizer
    for x, y, slope in zip(free, at_q, slopes, strict=True):
        term = (y - x) * slope
        value = value - (term.flatten(-len(q.event_shape)).sum(-1) if q.event_shape else term)
    return value if any(x.requires_grad for x in (*at_p, *at_q)) else value.detach()
