"""How far two models are apart when only their most probable tokens were logged.

A log of top-k log-probabilities does not determine a divergence. What it does determine is an
interval that the divergence certainly lies in, and that is what comes out here: never a guess
that renormalises what happens to be listed.
"""

from kullback.compare.incomplete.bounds import Bounds, kl_bounds
from kullback.compare.incomplete.jsonl import Log, read_log
from kullback.compare.incomplete.knowledge import Knowledge
from kullback.compare.incomplete.pass_ import compare_incomplete
from kullback.compare.incomplete.result import IncompleteComparison

__all__ = [
    "Bounds",
    "IncompleteComparison",
    "Knowledge",
    "Log",
    "compare_incomplete",
    "kl_bounds",
    "read_log",
]
