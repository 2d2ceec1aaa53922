"""Kullback: how much is lost when Q stands in for P.

`(p, q)` always means D(P‖Q), P the reference and Q what stands in for it; values are in nats.
"""

from kullback import errors
from kullback.compare import compare
from kullback.distributions.doors import (
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
from kullback.results import Comparison, Estimate
from kullback.samples.door import estimate, explain
from kullback.samples.same_distribution import same_distribution
from kullback.tensors import Explanation

__all__ = [
    "Comparison",
    "Estimate",
    "Explanation",
    "alpha_divergence",
    "bhattacharyya_distance",
    "chi_squared",
    "compare",
    "cross_entropy",
    "entropy",
    "errors",
    "estimate",
    "explain",
    "f_divergence",
    "hellinger_distance",
    "jeffreys_divergence",
    "js_divergence",
    "kl_divergence",
    "renyi_divergence",
    "same_distribution",
    "total_variation",
    "wasserstein_distance",
]

__version__ = "0.1.0"
