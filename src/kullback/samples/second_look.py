"""Another pair of eyes on what classifiers say: nearest neighbours, which know no shapes.

Classifiers that go by smooth shapes find nothing in a checkerboard. Distances to neighbours do, and
as a rule say too little rather than too much: where they say clearly more than the upper end of an
interval, that interval is of a model which does not fit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kullback.distributions.targets import Target
from kullback.results import Estimate
from kullback.samples.certified import lower_bound
from kullback.samples.draws import DrawsPair

__all__ = ["looked_at_twice"]

_ASKED = ("kl", "reverse_kl", "jeffreys", "js")
_MOST, _FEWEST, _COLUMNS, _NEIGHBOUR = 4_000, 300, 10, 4
_FLAT = 1e-6
_CLEARLY = 3.0
"""Standard errors above the upper end."""


def looked_at_twice(
    found: Estimate, pair: DrawsPair, target: Target, confidence: float, seed: int
) -> Estimate:
    """`found`, or the neighbours' value and a lower bound where they see clearly more."""
    if not found.trusted or not _can_be_asked(pair, target):
        return found
    value, error = _neighbors(pair, target, seed)
    if value - _CLEARLY * error <= found.high:
        return found
    low = lower_bound(pair, target, confidence, seed)
    return replace(
        found,
        value=max(value, low),
        low=low,
        high=getattr(target.record, "upper", np.inf),
        trusted=False,
        diagnosis=f"{found.method} say {found.value:.3g}, and nearest neighbours {value:.3g}: "
        "there is structure too fine for the former",
    )


def _can_be_asked(pair: DrawsPair, target: Target) -> bool:
    return (
        target.name in _ASKED
        and not pair.levels
        and pair.dimensions <= _COLUMNS
        and pair.tied == 0
        and min(len(pair.p), len(pair.q)) >= _FEWEST
        and all(_has_density(side.numbers) for side in (pair.p, pair.q))
    )


def _has_density(draws: np.ndarray) -> bool:
    """Whether no column stands still and none is a linear function of the others."""
    sized = draws / np.abs(draws).max(axis=0)
    spread = sized.std(axis=0)
    if not (spread > 0).all():
        return False
    correlations = np.cov(sized / spread, rowvar=False).reshape(spread.size, -1)
    return bool(np.linalg.eigvalsh(correlations)[0] > _FLAT)


def _neighbors(pair: DrawsPair, target: Target, seed: int) -> tuple[float, float]:
    """The value and its standard error by nearest neighbours, from some thousand draws."""
    from kullback.samples.nearest_neighbor.bias import heading_of
    from kullback.samples.nearest_neighbor.sums import question_of
    from kullback.samples.scaling import scaled

    rng = np.random.default_rng(seed)
    x, y = (rng.permutation(side.numbers)[:_MOST] for side in (pair.p, pair.q))
    # First to sizes whose squares are numbers.
    largest = np.abs(np.concatenate([x, y])).max(axis=0)
    sides = scaled(x / largest, y / largest, "whiten")
    heading = heading_of(question_of(target, False), sides.x, sides.y, _NEIGHBOUR)
    return heading.value, heading.error
