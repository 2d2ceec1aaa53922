"""Several candidates on the same positions: which loses less, and whether that can be told.

The candidates' KLs rise and fall together from document to document, since some documents are hard
for all of them. What differs between two is therefore taken document by document: its interval is
narrower than the two intervals beside each other would suggest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from kullback.compare import intervals
from kullback.compare.accumulate import Accumulator, clusters_of
from kullback.compare.clusters import Clusters
from kullback.results import Comparison, Difference, Estimate, Ranking

__all__ = ["paired", "ranking_from"]


def ranking_from(
    comparisons: Mapping[str, Comparison],
    accumulators: Mapping[str, Accumulator],
    sizes: Mapping[str, int | None],
    *,
    confidence: float,
) -> Ranking:
    """The candidates by their KL, and the paired difference of every two of them.

    Source: the paired jackknife over clusters, Cameron and Miller (2015), A practitioner's guide
    to cluster-robust inference, applied to the ratio of summed differences to positions.
    """
    order = sorted(comparisons, key=lambda name: comparisons[name].kl.value)
    clusters = {name: clusters_of(accumulators[name])[0] for name in order}
    differences = [
        Difference(less, more, paired(clusters[less], clusters[more], confidence))
        for less, more in itertools.combinations(order, 2)
    ]
    return Ranking(
        {name: comparisons[name] for name in order},
        tuple(differences),
        {name: sizes.get(name) for name in order},
    )


def paired(less: Clusters, more: Clusters, confidence: float) -> Estimate:
    """How much more KL `more` has, with an interval from differences cluster by cluster."""
    if less.count("kl_infinite"):
        unknown = "both are infinite, and infinities have no difference"
        return Estimate(math.nan, math.nan, math.nan, confidence=confidence, diagnosis=unknown)
    return intervals.signed_interval(
        more["kl"] - less["kl"],
        less.sizes,
        confidence=confidence,
        infinite=more.count("kl_infinite"),
    )
