"""Distributions over a finite alphabet, held as tensors: exact values, careful gradients."""

from kullback.tensors.explain import Event, Explanation, explain
from kullback.tensors.families import (
    alpha_divergence,
    bhattacharyya_distance,
    chi_squared,
    f_divergence,
    hellinger_distance,
    jeffreys_divergence,
    js_divergence,
    renyi_divergence,
    total_variation,
)
from kullback.tensors.information import cross_entropy, entropy, kl_divergence
from kullback.tensors.transport import wasserstein_distance

__all__ = [
    "Event",
    "Explanation",
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
