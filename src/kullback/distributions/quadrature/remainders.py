"""What lies beyond the last panel, and whether it is finite at all.

In u = log |x − landmark| an algebraic tail is an exponential e^(−κu), and one with logarithms in
it an algebraic one, u^(−k). From the slope of log(integrand) over the last stretch, and whether it
still changes, the rest is bounded, or seen to diverge, or said to be undecided: doubling the
nodes would see nothing of it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from kullback.distributions.quadrature.evaluation import Integrand
from kullback.distributions.quadrature.panels import Halves
from kullback.distributions.quadrature.points import Point

__all__ = ["SHARES", "Rest", "rest_of", "rests"]

# Where the integrand is looked at, as shares of the way from the pivot to the last panel. The last
# node of a panel lies at 0.998 of it: up to there it is known to be finite.
SHARES = (0.25, 0.5, 0.95, 0.99)
# Slopes per unit of u that are none: rounding of log-densities of a few hundred.
_FLAT = 1e-9


class Rest(NamedTuple):
    """Of one integrand beyond the panels, over all ends of the line: of batch shape each.

    Attributes:
        value: the estimate of what is left out, with no gradient.
        error: how far from it the truth may be.
        divergent: whether it was seen not to be finite.
        undecided: whether neither could be seen.
    """

    value: Tensor
    error: Tensor
    divergent: Tensor
    undecided: Tensor


@torch.no_grad()
def rests(
    integrand: Integrand, halves: Halves, limit: Tensor, farthest: float, found: Tensor
) -> tuple[Rest, Rest, Rest]:
    """The rests of the terms, of the mass of P and of the mass of Q.

    Args:
        limit: of each direction and half, where terms end to be finite, from `refine`.
        farthest: how far panels go from the pivot, in u.
        found: the sum of the terms on the panels, against which a rest is negligible.
    """
    edges = torch.stack([halves.log_pivot + farthest, halves.log_pivot - farthest])
    edge = torch.stack([torch.minimum(edges[0], limit[0]), torch.maximum(edges[1], limit[1])])
    away = edge - halves.log_pivot
    shares = torch.tensor(SHARES, dtype=away.dtype, device=away.device)
    u = halves.log_pivot + away * shares.reshape(-1, *(1 for _ in away.shape))
    point = Point.near(halves.anchor.detach(), halves.sign, u)
    terms, log_p, log_q, scale = integrand.parts(point)
    endless = halves.log_reach.isinf() & halves.present
    open_ends = torch.stack([endless, halves.singular & halves.present])
    heights = (terms.abs().log() + scale + u, log_p + u, log_q + u)
    references = (found.abs(), torch.ones_like(found), torch.ones_like(found))
    lengths = away.abs()
    return tuple(  # type: ignore[return-value]
        rest_of(height, lengths, open_ends, reference)
        for height, reference in zip(heights, references, strict=True)
    )


def rest_of(
    height: Tensor, length: Tensor, open_ends: Tensor, reference: Tensor, slack: float = _FLAT
) -> Rest:
    """The rest from log(integrand) at the four `SHARES` of the way to the last panel.

    Args:
        height: log(integrand · dx/du), [4, some, others, *batch].
        length: of the way, in u, [some, others, *batch].
        open_ends: where there is anything beyond, likewise.
        reference: what a rest is small against, [*batch].
        slack: how rough the slopes are.
    """
    height = torch.where(height.isnan(), -math.inf, height)
    first, second, third, last = (x.clamp(min=-1e15) for x in height)
    stretches = [(b - a) * length for a, b in pairwise(SHARES)]
    early = (first - second) / stretches[0]
    late = (second - last) / (stretches[1] + stretches[2])
    local = (third - last) / stretches[2]
    last = last - local * (1 - SHARES[-1]) * length
    flat = late.abs() <= slack
    # Exponential in u, or faster: the rate is there to stay.
    exponential = (late > slack) & (local > slack) & (late >= 0.9 * early)
    # Algebraic in u: the exponent is.
    exponent = late * length * SHARES[1] / _LOG_2
    exponent_before = early * length * SHARES[0] / _LOG_2
    algebraic = (exponent > 1.05) & (exponent >= 0.9 * exponent_before) & (local > 0)
    by_rate = last.exp() / torch.where(local > 0, local, 1.0)
    by_exponent = last.exp() * length / torch.where(algebraic, exponent - 1, 1.0)
    steady = ((local - late).abs() / torch.where(late > 0, late, 1.0)).clamp(max=1.0)
    value = torch.where(exponential, by_rate, by_exponent)
    error = torch.where(
        exponential, by_rate * torch.maximum(steady, torch.full_like(steady, 1e-6)), by_exponent
    )
    # Growth that slows down on the way may come to an end beyond the limit.
    growing = (late < 0) & (late <= early + slack) & (local <= late + slack)
    rising = flat & (early <= 2 * slack) & (local <= 2 * slack) | growing
    shown = exponential | algebraic
    # A rest that is small whichever way it falls off has no need to be decided.
    crude = last.exp() * torch.maximum(length, 1 / torch.where(local > 0, local, 1.0))
    small = (local > 0) & (crude <= 1e-13 * reference)
    value, error = (torch.where(small & ~shown, crude, x) for x in (value, error))
    shown = (shown | small | (last <= -1e14)) & open_ends
    value = torch.where(shown, value, 0.0).sum((0, 1))
    error = torch.where(shown, error, 0.0).sum((0, 1))
    divergent = (open_ends & ~shown & rising).any(0).any(0)
    undecided = (open_ends & ~shown & ~rising).any(0).any(0)
    return Rest(value, error, divergent, undecided)


_LOG_2 = math.log(2.0)
