"""`--fail-above`: whether a result is above the limit, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kullback.cli.application import refuse

if TYPE_CHECKING:
    from kullback.compare.incomplete import IncompleteComparison
    from kullback.results import Comparison, Ranking

__all__ = ["check_limit", "failures", "failures_of_logs"]


def check_limit(limit: float | None) -> None:
    """Refuse a limit that is no number."""
    if limit is not None and math.isnan(limit):
        refuse("--fail-above nan is no limit: give a number of nats, such as 0.05")


def failures(result: Comparison | Ranking, limit: float) -> list[str]:
    """Why the run fails, for every candidate above `limit` nats."""
    from kullback.results import Comparison

    if isinstance(result, Comparison):
        return [] if result.kl.value <= limit else [f"Failed: {_verdict(result, limit)}"]
    return [
        f"Failed, {name}: {_verdict(found, limit)}"
        for name, found in result.comparisons.items()
        if not found.kl.value <= limit
    ]


def _verdict(result: Comparison, limit: float) -> str:
    kl = result.kl
    if kl.low > limit:
        sure = "and so is its whole interval"
    elif kl.low <= limit:
        sure = f"but its interval [{kl.low:.4g}, {kl.high:.4g}] reaches below: more text would tell"
    else:
        sure = "and there is too little text for an interval"
    return f"the mean KL of {kl.value:.4g} nats is above {limit:g}, {sure}."


def failures_of_logs(result: IncompleteComparison, limit: float) -> list[str]:
    """Why the run fails; nothing where the mean KL is certainly not above `limit` nats."""
    low, high = _ends(result)
    if high <= limit:
        return []
    if low > limit:
        return [f"Failed: the mean KL is at least {low:.4g} nats, which is above {limit:g}."]
    return [
        f"Failed: whether the mean KL is above {limit:g} nats cannot be told: it lies between "
        f"{low:.4g} and {high:.4g}. Record longer lists (--top-k), give the candidate as a model, "
        "or more text."
    ]


def _ends(result: IncompleteComparison) -> tuple[float, float]:
    """The certified ends with what sampling adds to them, where there is text enough to say."""
    low, high = result.interval
    low = result.low.value if math.isnan(low) else low
    return low, result.high.value if math.isnan(high) else high
