"""What Kullback hands back when a number is estimated rather than exact.

An `Estimate` never travels without its interval, the way that interval was made, and a word
when it should not be leaned on. A `Comparison` is the set of such numbers that answers "how
much of what the reference knows does the candidate lose, on this text?". Both are plain
frozen records: rooms make them, reports read them, nothing in here computes.
"""

from kullback.results.breakdowns import ConfidenceBin, Floor, Slice
from kullback.results.comparison import PERCENTILES as PERCENTILES
from kullback.results.comparison import Comparison
from kullback.results.estimate import Estimate
from kullback.results.estimate import json_number as json_number
from kullback.results.ranking import Difference, Ranking

__all__ = [
    "Comparison",
    "ConfidenceBin",
    "Difference",
    "Estimate",
    "Floor",
    "Ranking",
    "Slice",
]
