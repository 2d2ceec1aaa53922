"""The public divergences: one name each, for two tensors and for two distributions alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from torch.distributions import Distribution

from kullback import tensors
from kullback.distributions import exact
from kullback.distributions.picture import explain as picture

__all__ = [
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "cross_entropy",
    "entropy",
    "explain",
    "f_divergence",
    "hellinger_distance",
    "jeffreys_divergence",
    "js_divergence",
    "kl_divergence",
    "renyi_divergence",
    "total_variation",
    "wasserstein_distance",
]

Options = ParamSpec("Options")


def _for_both(
    of_tensors: Callable[Concatenate[Any, Options], Any], of_distributions: Callable[..., Any]
) -> Callable[Concatenate[Any, Options], Any]:
    """`of_tensors`, opened to distributions, for which `of_distributions` answers."""

    @functools.wraps(of_tensors)
    def divergence(p: Any, *args: Any, **options: Any) -> Any:
        q = args[0] if args else options.get("q")
        if isinstance(p, Distribution) or isinstance(q, Distribution):
            return of_distributions(p, *args, **options)
        return of_tensors(p, *args, **options)

    return divergence


alpha_divergence = _for_both(tensors.alpha_divergence, exact.alpha_divergence)
bhattacharyya_distance = _for_both(tensors.bhattacharyya_distance, exact.bhattacharyya_distance)
chi_squared = _for_both(tensors.chi_squared, exact.chi_squared)
cross_entropy = _for_both(tensors.cross_entropy, exact.cross_entropy)
entropy = _for_both(tensors.entropy, exact.entropy)
explain = _for_both(tensors.explain, picture.explain)
f_divergence = _for_both(tensors.f_divergence, exact.f_divergence)
hellinger_distance = _for_both(tensors.hellinger_distance, exact.hellinger_distance)
jeffreys_divergence = _for_both(tensors.jeffreys_divergence, exact.jeffreys_divergence)
js_divergence = _for_both(tensors.js_divergence, exact.js_divergence)
kl_divergence = _for_both(tensors.kl_divergence, exact.kl_divergence)
renyi_divergence = _for_both(tensors.renyi_divergence, exact.renyi_divergence)
total_variation = _for_both(tensors.total_variation, exact.total_variation)
wasserstein_distance = _for_both(tensors.wasserstein_distance, exact.wasserstein_distance)
