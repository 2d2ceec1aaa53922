"""When not to lean on nearest neighbours, in words."""

from __future__ import annotations

import math

from kullback.samples.draws import DrawsPair
from kullback.samples.nearest_neighbor.bias import Heading
from kullback.samples.reach import Reach

__all__ = ["doubts"]

# In standard errors: what P beyond Q may add, also where its tail is heavier by so many of theirs.
_FAR, _NOTICEABLE, _HEAVIER = 1.5, 0.5, 1.0
_MOST_TOUCHING = 0.1


def doubts(pair: DrawsPair, found: Heading, biased: bool, reaches: list[Reach]) -> list[str]:
    """Each reason for doubt in what nearest neighbours found; none where all is well."""
    n = min(len(pair.p), len(pair.q))
    words = []
    if biased:
        words.append(
            f"bias outweighs what is seen: from parts of the draws to all of them the value "
            f"moved by {found.step:.2g} to {found.value:.2g}, and may have "
            f"{found.still_to_go:.2g} to go: {pair.dimensions} columns are many for {n} draws"
        )
    if found.value > 0.5 * math.log(n):
        words.append(
            f"the divergence is too large for {n} draws: distances tell no ratio of densities "
            f"much beyond {n}, and the value of {found.value:.2g} is an underestimate"
        )
    words += [_of_reach(reach) for reach in reaches if _is_far(reach, found.error)]
    if found.touching > _MOST_TOUCHING * n:
        words.append(
            f"{found.touching} of the draws lie on others exactly: rounded values have no "
            "density, take the plug-in method or one by classifier"
        )
    return words


def _is_far(reach: Reach, error: float) -> bool:
    least = _NOTICEABLE if reach.heavier > _HEAVIER else _FAR
    return reach.may_add > least * error


def _of_reach(reach: Reach) -> str:
    tail = ", and its tail is the heavier one" if reach.heavier > _HEAVIER else ""
    return (
        f"{100 * reach.share:.2g} % of the draws of one side lie farther out than all of the "
        f"other's{tail}: how small the other density is there was not seen, and the divergence "
        "may be much larger"
    )
