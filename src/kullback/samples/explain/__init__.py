"""Where two sets of draws differ: in which regions, by which columns, and on the line at each x."""

from kullback.samples.explain.curves import Curves
from kullback.samples.explain.features import Feature
from kullback.samples.explain.found import SampleExplanation, explain
from kullback.samples.explain.regions import Region

__all__ = ["Curves", "Feature", "Region", "SampleExplanation", "explain"]
