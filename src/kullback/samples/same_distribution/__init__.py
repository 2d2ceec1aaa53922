"""Do both sides come from one distribution? Permutation tests, whose level is exact."""

from kullback.samples.same_distribution.door import same_distribution
from kullback.samples.same_distribution.result import SameDistribution

__all__ = ["SameDistribution", "same_distribution"]
