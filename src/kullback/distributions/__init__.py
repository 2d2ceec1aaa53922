"""Distributions of `torch.distributions`: exact divergences from closed forms, or an estimate.

`exact` answers from the registry of `dispatch`, which the files of `closed_forms` fill, and from
what `supports` proves; `estimate` answers for the rest, with an error.
"""

from kullback.distributions import closed_forms
from kullback.distributions.dispatch import CLOSED_FORMS, ClosedForm, Declined, closed_form
from kullback.distributions.exact import (
    alpha_divergence,
    bhattacharyya_distance,
    chi_squared,
    cross_entropy,
    entropy,
    f_divergence,
    hellinger_distance,
    jeffreys_divergence,
    js_divergence,
    kl_divergence,
    renyi_divergence,
    total_variation,
    wasserstein_distance,
)

__all__ = [
    "CLOSED_FORMS",
    "ClosedForm",
    "Declined",
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "closed_form",
    "closed_forms",
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
