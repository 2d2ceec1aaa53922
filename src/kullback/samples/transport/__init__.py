"""Wasserstein distances from draws: exact on the line, between bounds in several dimensions."""

from kullback.samples.transport.distance import wasserstein
from kullback.samples.transport.line import wasserstein_line

__all__ = ["wasserstein", "wasserstein_line"]
