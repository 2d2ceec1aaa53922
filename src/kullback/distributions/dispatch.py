"""The registry of closed forms: which formula answers for D(P‖Q), by the types of P and Q.

A form is registered for a pair of types and answers for their subclasses. The most specific form
wins; two that fit equally well are an error, not a coin toss. A form may decline: a pair of types
can have an exact value for some parameters only (the same transform, the same total count).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.parameters import is_traced
from kullback.errors import AmbiguousClosedForm

__all__ = [
    "CLOSED_FORMS",
    "ClosedForm",
    "Declined",
    "closed_form",
    "find_closed_form",
    "forget",
    "only_where",
]

Formula = Callable[..., Tensor]


@dataclass(frozen=True)
class ClosedForm:
    """One exact rule. `formula(p, q, ...)`, or `formula(p)` where `q` is None, as for entropy."""

    divergence: str
    p: type[Distribution]
    q: type[Distribution] | None
    source: str
    formula: Formula


CLOSED_FORMS: dict[tuple[str, type[Distribution], type[Distribution] | None], ClosedForm] = {}
"""Every registered form, by divergence and types, in the order of registration."""

_FOUND: dict[tuple[str, type[Distribution], type[Distribution] | None], ClosedForm | None] = {}


class Declined(Exception):
    """Raised by a form that is not exact for these parameters; says for which it would be."""


def closed_form(
    divergence: str,
    p: type[Distribution],
    q: type[Distribution] | None = None,
    *,
    source: str,
) -> Callable[[Formula], Formula]:
    """Register the decorated function as the closed form of `divergence` for the types (p, q).

    The function is given two distributions, whose batch shapes broadcast, and returns D(P‖Q) of
    the broadcast shape, in nats, differentiable in both; it computes in the dtype that
    `parameters.wide` gives, and the public door rounds. Registering a pair again replaces it.

    Args:
        divergence: "kl", "renyi" (called with alpha=, not 0, 1 or ∞), "entropy" (of P alone),
            "total_variation", "js" or "wasserstein" (order 2). The other divergences follow from
            these: `reverse_kl` and `jeffreys` from "kl", cross-entropy from "kl" and "entropy",
            the alpha, χ², Hellinger and Bhattacharyya divergences from "renyi".
        p: the type of P; the form answers for its subclasses too.
        q: the type of Q; None for "entropy".
        source: paper and equation, or book and section.

    Example:
        >>> import torch, kullback
        >>> from torch.distributions import Normal
        >>> class Shifted(Normal):
        ...     "A Normal whose divergence somebody knows better."
        >>> @closed_form("kl", Shifted, Shifted, source="an example")
        ... def _shifted(p, q):
        ...     return (p.loc - q.loc) ** 2 / 2
        >>> kullback.kl_divergence(Shifted(0.0, 1.0), Shifted(2.0, 1.0))
        tensor(2.)
        >>> forget("kl", Shifted, Shifted)
    """

    def register(formula: Formula) -> Formula:
        CLOSED_FORMS[divergence, p, q] = ClosedForm(divergence, p, q, source, formula)
        _FOUND.clear()
        return formula

    return register


def find_closed_form(
    divergence: str, p: type[Distribution], q: type[Distribution] | None
) -> ClosedForm | None:
    """The most specific form for the types, or None.

    Raises:
        AmbiguousClosedForm: two forms fit, neither more specific on both sides.
    """
    key = divergence, p, q
    if key not in _FOUND:
        _FOUND[key] = CLOSED_FORMS.get(key) or _most_specific(divergence, p, q)
    return _FOUND[key]


def _most_specific(
    divergence: str, p: type[Distribution], q: type[Distribution] | None
) -> ClosedForm | None:
    fitting = [form for form in CLOSED_FORMS.values() if _fits(form, divergence, p, q)]
    best = [form for form in fitting if all(_as_specific(form, other) for other in fitting)]
    if best or not fitting:
        return best[0] if best else None
    minimal = [
        form
        for form in fitting
        if not any(other is not form and _as_specific(other, form) for other in fitting)
    ]
    names = " and ".join(_signature(form) for form in minimal)
    raise AmbiguousClosedForm(
        f"{divergence} of ({p.__name__}, {_name(q)}) fits {names} equally well: register "
        f'@closed_form("{divergence}", {p.__name__}, {_name(q)}, source=…) to decide'
    )


def forget(divergence: str, p: type[Distribution], q: type[Distribution] | None = None) -> None:
    """Take a registered form out again."""
    del CLOSED_FORMS[divergence, p, q]
    _FOUND.clear()


def only_where(condition: Tensor, value: Tensor, reason: str) -> Tensor:
    """`value`, exact only where `condition` holds; declines with `reason` if it fails anywhere.

    Where conditions cannot be looked at (`torch.compile`, `vmap`) the other elements are NaN.
    """
    if is_traced(condition):
        return torch.where(condition, value, torch.nan)
    if not bool(condition.all()):
        raise Declined(reason)
    return value


def _fits(
    form: ClosedForm, divergence: str, p: type[Distribution], q: type[Distribution] | None
) -> bool:
    if form.divergence != divergence or not issubclass(p, form.p):
        return False
    return form.q is None if q is None else form.q is not None and issubclass(q, form.q)


def _as_specific(form: ClosedForm, other: ClosedForm) -> bool:
    same_q = form.q is None or (other.q is not None and issubclass(form.q, other.q))
    return issubclass(form.p, other.p) and same_q


def _signature(form: ClosedForm) -> str:
    return f"({form.p.__name__}, {_name(form.q)})"


def _name(kind: type[Distribution] | None) -> str:
    return "nothing" if kind is None else kind.__name__
