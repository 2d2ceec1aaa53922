"""The exact divergences of two distributions, each as its public function.

What has no exact answer raises `NoClosedForm`, which names the call that estimates it; how an
answer is found is in `answers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.answers import (
    alpha_in_full,
    entropy_in_full,
    kl_in_full,
    of_rows,
    renyi_in_full,
)
from kullback.distributions.atoms import distance_of_masses
from kullback.distributions.closed_forms.finite import finite_log_probs
from kullback.distributions.dispatch import Declined, find_closed_form
from kullback.distributions.integrands import infinite_without
from kullback.distributions.pairs import check_distribution, check_pair
from kullback.distributions.parameters import result_dtype
from kullback.distributions.targets import target_of
from kullback.distributions.unanswered import as_asked, no_closed_form
from kullback.divergences import Functional
from kullback.errors import InputError, NoClosedForm
from kullback.numerics import safe_root
from kullback.tensors.orders import number_of

__all__ = [
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "cross_entropy",
    "entropy",
    "f_divergence",
    "hellinger_distance",
    "jeffreys_divergence",
    "js_divergence",
    "kl_divergence",
    "renyi_divergence",
    "total_variation",
    "wasserstein_distance",
]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(P‖Q) of two distributions, in nats, from a closed form.

    Never negative, exactly 0 for equal parameters, +inf where the supports prove it; computed
    wide, so that nearly equal float32 parameters keep their digits. Differentiable in both sides.

    Args:
        p: the reference, a `torch.distributions.Distribution`.
        q: what stands in for it; batch shapes broadcast, event shapes must be equal.

    Returns:
        One value for each element of the broadcast batch shape, float32 or float64.

    Raises:
        NoClosedForm: nothing exact is known; `kullback.estimate(p, q)` estimates.
        ShapeError: event shapes that differ, or batch shapes that do not broadcast.

    Source: Kullback & Leibler (1951), eq. 2.4; each form names its own.

    Example:
        >>> from torch.distributions import Normal
        >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0))
        tensor(0.4431)
    """
    check_pair(p, q)
    return kl_in_full(p, q).to(result_dtype(p, q))


def jeffreys_divergence(p: Distribution, q: Distribution) -> Tensor:
    """J(P, Q) = KL(P‖Q) + KL(Q‖P), in nats; arguments and errors as `kl_divergence`.

    Source: Jeffreys (1946), An Invariant Form for the Prior Probability, eq. 1.
    """
    check_pair(p, q)
    value = as_asked(
        lambda: kl_in_full(p, q) + kl_in_full(q, p), "jeffreys", p, q, without=(True, True)
    )
    return value.to(result_dtype(p, q))


def entropy(p: Distribution) -> Tensor:
    """H(P) in nats, differential for densities: from a closed form.

    Source: Cover & Thomas (2006), Elements of Information Theory, eqs. 2.1 and 8.1.
    """
    check_distribution(p, "p")
    return entropy_in_full(p).to(result_dtype(p, p))


def cross_entropy(p: Distribution, q: Distribution) -> Tensor:
    """H(P, Q) = −∫ p log q = H(P) + KL(P‖Q), in nats; arguments and errors as `kl_divergence`.

    Source: Cover & Thomas (2006), Elements of Information Theory, eq. 5.26.
    """
    check_pair(p, q)
    value = as_asked(lambda: entropy_in_full(p) + kl_in_full(p, q), "cross_entropy", p, q)
    return value.to(result_dtype(p, q))


def renyi_divergence(p: Distribution, q: Distribution, *, alpha: float) -> Tensor:
    """R_α(P‖Q) = log ∫ p^α q^(1−α) / (α − 1), in nats; at α = 1 it is KL(P‖Q).

    Arguments and errors as `kl_divergence`.

    Source: van Erven & Harremoës (2014), Rényi Divergence and Kullback–Leibler Divergence, eq. 1.
    """
    check_pair(p, q)
    return renyi_in_full(p, q, alpha).to(result_dtype(p, q))


def bhattacharyya_distance(p: Distribution, q: Distribution) -> Tensor:
    """D_B(P, Q) = −log ∫ √(pq), half the Rényi divergence of order ½, in nats.

    Source: Bhattacharyya (1943); Kailath (1967), eq. 1.
    """
    return as_asked(
        lambda: 0.5 * renyi_divergence(p, q, alpha=0.5), "bhattacharyya", p, q, (False, False)
    )


def alpha_divergence(p: Distribution, q: Distribution, *, alpha: float) -> Tensor:
    """D_α(P‖Q) = (∫ p^α q^(1−α) − 1) / (α(α − 1)): KL(P‖Q) at 1, KL(Q‖P) at 0.

    Source: Cichocki & Amari (2010), Families of Alpha- Beta- and Gamma-Divergences, eq. 1.
    """
    check_pair(p, q)
    try:
        return alpha_in_full(p, q, alpha).to(result_dtype(p, q))
    except NoClosedForm as found:
        without = alpha >= 1, alpha <= 0
        raise no_closed_form(f"alpha, alpha={alpha}", p, q, found.known, without) from None


def chi_squared(p: Distribution, q: Distribution) -> Tensor:
    """χ²(P‖Q) = ∫ (p − q)² / q, Pearson's.

    Source: Tsybakov (2009), Introduction to Nonparametric Estimation, section 2.4.1.
    """
    check_pair(p, q)
    value = as_asked(lambda: 2 * alpha_in_full(p, q, 2.0), "chi_squared", p, q)
    return value.to(result_dtype(p, q))


def hellinger_distance(p: Distribution, q: Distribution) -> Tensor:
    """H(P, Q) = √(1 − ∫ √(pq)), between 0 and 1.

    Source: Tsybakov (2009), Introduction to Nonparametric Estimation, section 2.4.1 (there
    without the ½).
    """
    check_pair(p, q)
    value = as_asked(
        lambda: safe_root(0.25 * alpha_in_full(p, q, 0.5)), "hellinger", p, q, (False, False)
    )
    return value.to(result_dtype(p, q))


def js_divergence(p: Distribution, q: Distribution, *, weight: float = 0.5) -> Tensor:
    """JS(P, Q) = w KL(P‖M) + (1 − w) KL(Q‖M), M = w P + (1 − w) Q: exact on finite supports.

    Source: Lin (1991), Divergence Measures Based on the Shannon Entropy, eq. 4.1.
    """
    record = target_of("js", weight=weight).record
    asked = "js" if weight == 0.5 else f"js, weight={weight}"
    return as_asked(lambda: of_rows(record, p, q), asked, p, q, (False, False))


def total_variation(p: Distribution, q: Distribution) -> Tensor:
    """TV(P, Q) = ½ ∫ |p − q|, between 0 and 1.

    Source: Tsybakov (2009), Introduction to Nonparametric Estimation, lemma 2.1.
    """
    return of_rows(target_of("total_variation").record, p, q)


def f_divergence(p: Distribution, q: Distribution, f: str | Functional) -> Tensor:
    """D_f(P‖Q) for a divergence with a name or a record; exact where that divergence is.

    Source: Csiszár (1967), Information-type Measures of Difference of Probability Distributions.
    """
    record = target_of(f).record if isinstance(f, (str, Functional)) else None
    if record is None:
        raise InputError(
            "between distributions f is a name or a record of kullback.divergences; make a record "
            "of a function, and kullback.estimate(p, q, record) estimates it"
        )
    check_pair(p, q)
    whole: dict[str, Callable[[], Tensor]] = {
        "kl": lambda: kl_divergence(p, q),
        "reverse_kl": lambda: kl_divergence(q, p),
        "jeffreys": lambda: jeffreys_divergence(p, q),
        "chi_squared": lambda: chi_squared(p, q),
        "squared_hellinger": lambda: hellinger_distance(p, q) ** 2,
    }
    known = whole.get(record.name)
    try:
        return of_rows(record, p, q) if known is None else known()
    except NoClosedForm as found:
        asked = f if isinstance(f, str) else "record"
        without = infinite_without(record)
        raise no_closed_form(asked, p, q, found.known, without) from None


def wasserstein_distance(p: Distribution, q: Distribution, *, order: float = 2.0) -> Tensor:
    """W_order(P, Q), the root of the least mean |x − y|^order, where it has a closed form.

    Of order 2 where a rule is registered, and of every order ≥ 1 between finite sets of integers.

    Source: Peyré & Cuturi (2019), Computational Optimal Transport, eq. 2.41 (Gaussians) and
    remark 2.30 (the line).

    Example:
        >>> from torch.distributions import Bernoulli
        >>> wasserstein_distance(Bernoulli(0.2), Bernoulli(0.5), order=1.0)
        tensor(0.3000)
    """
    order = number_of(order, "order")
    if not 1 <= order < math.inf:
        raise InputError(f"order={order!r} must be at least 1 and finite")
    check_pair(p, q)
    form = find_closed_form("wasserstein", type(p), type(q))
    if form is not None and order == 2:
        try:
            return form.formula(p, q).to(result_dtype(p, q))
        except Declined:
            pass
    finite = finite_log_probs(p, q)
    if finite is not None:
        points, row_p, row_q = finite
        value = distance_of_masses(row_p.exp(), row_q.exp(), points, order)
        return value.to(result_dtype(p, q))
    known = f"no rule of order {order:g} is registered"
    raise no_closed_form(f"wasserstein, order={order:g}", p, q, known, (False, False))
