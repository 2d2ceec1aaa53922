"""Exact answers before rounding to the dtype asked for, which composed closed forms build on.

A question is answered, in this order, by the most specific closed form; by summing the events of
two finite supports; by a proof from the supports that the answer is +inf. Nothing else: what has
no exact answer raises `NoClosedForm`, which names the call that estimates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.closed_forms.finite import aligned_log_probs
from kullback.distributions.dispatch import Declined, find_closed_form
from kullback.distributions.integrands import infinite_without
from kullback.distributions.pairs import check_pair
from kullback.distributions.parameters import is_traced, result_dtype
from kullback.distributions.supports import escape
from kullback.distributions.targets import target_of
from kullback.distributions.unanswered import no_closed_form
from kullback.divergences import Functional
from kullback.errors import InputError, NoClosedForm
from kullback.numerics import expm1
from kullback.tensors import kl_divergence as kl_of_rows
from kullback.tensors import renyi_divergence as renyi_of_rows
from kullback.tensors.function import row_divergence
from kullback.tensors.orders import number_of


def kl_in_full(p: Distribution, q: Distribution) -> Tensor:
    """KL(P‖Q)."""
    return resolve("kl", p, q, lambda a, b: kl_of_rows(a, b, space="log_probs", validate=False))


def resolve(
    name: str,
    p: Distribution,
    q: Distribution,
    of_rows: Callable[[Tensor, Tensor], Tensor],
    without: tuple[bool, bool] = (True, False),
) -> Tensor:
    """The exact answer; `without`: whether it is +inf once Q, or P, lacks mass of the other."""
    form = find_closed_form(name, type(p), type(q))
    known = "no rule is registered for it"
    if form is not None:
        try:
            return form.formula(p, q)
        except Declined as declined:
            known = str(declined)
    rows = aligned_log_probs(p, q)
    if rows is not None:
        return of_rows(*rows)
    return _infinite(name, p, q, known, without)


def _infinite(
    name: str,
    p: Distribution,
    q: Distribution,
    known: str,
    without: tuple[bool, bool] = (True, False),
) -> Tensor:
    """+inf where the supports prove it for the whole batch; `NoClosedForm` elsewhere."""
    sides = zip(((p, q), (q, p)), without, strict=True)
    found = (escape(*pair) for pair, matters in sides if matters)
    proofs = [proof.where for proof in found if proof is not None]
    if proofs:
        where = torch.stack(proofs).any(0)
        # Compiled or mapped code cannot look, and carries NaN where nothing is proven.
        if is_traced(where) or bool(where.all()):
            return torch.where(where, math.inf, math.nan).to(result_dtype(p, q))
    raise no_closed_form(name, p, q, known, without)


def entropy_in_full(p: Distribution) -> Tensor:
    """H(P)."""
    form = find_closed_form("entropy", type(p), None)
    if form is not None:
        try:
            return form.formula(p)
        except Declined:
            pass
    rows = aligned_log_probs(p, p)
    if rows is not None:
        return row_divergence(*rows, target_of("cross_entropy").record, "log_probs", "log_probs")
    known = f"the entropy of {type(p).__name__} has no closed form here"
    error = NoClosedForm(f'{known}: kullback.estimate(p, p, "cross_entropy") estimates it')
    error.known = known
    raise error


def renyi_in_full(p: Distribution, q: Distribution, alpha: float) -> Tensor:
    """R_α(P‖Q), 0 < α < ∞."""
    alpha = number_of(alpha)
    if not 0 < alpha < math.inf:
        raise InputError(f"alpha={alpha!r}: between distributions the order is 0 < alpha < ∞")
    if alpha == 1:
        return kl_in_full(p, q)
    form = find_closed_form("renyi", type(p), type(q))
    known = "no rule is registered for it"
    if form is not None:
        try:
            return form.formula(p, q, alpha)
        except Declined as declined:
            known = str(declined)
    rows = aligned_log_probs(p, q)
    if rows is not None:
        return renyi_of_rows(*rows, alpha=alpha, space="log_probs", validate=False)
    if alpha > 1:
        return _infinite(f"renyi, alpha={alpha}", p, q, known)
    raise no_closed_form(f"renyi, alpha={alpha}", p, q, known, (False, False))


def alpha_in_full(p: Distribution, q: Distribution, alpha: float) -> Tensor:
    """D_α(P‖Q) = expm1((α − 1)·R_α)/(α(α − 1))."""
    alpha = number_of(alpha)
    if alpha == 1:
        return kl_in_full(p, q)
    if alpha == 0:
        return kl_in_full(q, p)
    if alpha < 0:
        return alpha_in_full(q, p, 1 - alpha)
    return expm1((alpha - 1) * renyi_in_full(p, q, alpha)) / (alpha * (alpha - 1))


def of_rows(record: Functional, p: Distribution, q: Distribution) -> Tensor:
    """The divergence of a record: a closed form of its name, or the sum over finite supports."""
    check_pair(p, q)
    return resolve(
        record.name,
        p,
        q,
        lambda a, b: row_divergence(a, b, record, "log_probs", "log_probs"),
        infinite_without(record),
    ).to(result_dtype(p, q))
