"""Distributions of `torch.distributions`: exact divergences from closed forms, or an estimate.

`exact` answers from the registry of `dispatch`, which the files of `closed_forms` fill, and from
what `supports` proves; `estimate` answers for the rest, with an error. `coverage` says which pair
is answered how, `explain` draws a pair, `register_with_torch` lends the closed forms to torch.
"""

from kullback.distributions import closed_forms
from kullback.distributions.coverage import Coverage, coverage
from kullback.distributions.dispatch import CLOSED_FORMS, ClosedForm, Declined, closed_form
from kullback.distributions.estimation.estimate import estimate
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
from kullback.distributions.picture.explain import Picture, explain
from kullback.distributions.torch_registry import register_with_torch, unregister_from_torch
from kullback.distributions.truncated import Truncated

__all__ = [
    "CLOSED_FORMS",
    "ClosedForm",
    "Coverage",
    "Declined",
    "Picture",
    "Truncated",
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "closed_form",
    "closed_forms",
    "coverage",
    "cross_entropy",
    "entropy",
    "estimate",
    "explain",
    "f_divergence",
    "hellinger_distance",
    "jeffreys_divergence",
    "js_divergence",
    "kl_divergence",
    "register_with_torch",
    "renyi_divergence",
    "total_variation",
    "unregister_from_torch",
    "wasserstein_distance",
]
