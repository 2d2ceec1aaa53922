"""Divergence from samples alone: draws on both sides, or draws against a density.

`kullback.estimate(x, y)` is the door; what else people ask of two samples is here.
"""

from kullback.samples.door import METHODS
from kullback.samples.explain import SampleExplanation, explain
from kullback.samples.same_distribution import SameDistribution, same_distribution
from kullback.samples.transport import wasserstein_line

__all__ = [
    "METHODS",
    "SameDistribution",
    "SampleExplanation",
    "explain",
    "same_distribution",
    "wasserstein_line",
]
