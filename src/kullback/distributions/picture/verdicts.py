"""What is to be said about a picture: how large the divergence is, and which stretch it is from."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.picture.drawing.columns import measured, number
from kullback.distributions.picture.grids import Grid
from kullback.distributions.supports import escape
from kullback.results import Estimate

__all__ = ["verdict_on"]

Divergence = float | Estimate[Any]

# Q has "almost nothing" where P gives a thousand times as much, as in the explain of tensors.
_ALMOST_NONE = 1e-3
# Stretches with less of the divergence are not worth a word, nor a third one.
_SHOWN, _MOST = 0.1, 2
# The mass that a grid may find where there is 1: beyond, it has met a pole.
_MOST_MASS = 1.1


def verdict_on(
    p: Distribution,
    q: Distribution,
    grid: Grid,
    shares: Tensor,
    divergences: tuple[Divergence, Divergence],
) -> str:
    """The picture in words: KL(P‖Q), where it comes from, what Q misses, and KL(Q‖P).

    `shares` is what each point of the grid adds to KL(P‖Q), `divergences` the two directions.
    """
    kl, reverse = divergences
    said = [_value("KL(P‖Q)", p, q, kl, "PQ", _lost(grid.log_p, grid.log_q, grid))]
    if 0 < float(kl) < torch.inf:
        said += _regions(grid, shares)
        said += _almost_missed(grid)
    said.append(_value("KL(Q‖P)", q, p, reverse, "QP", _lost(grid.log_q, grid.log_p, grid)))
    return " ".join(said)


def _lost(log_full: Tensor, log_thin: Tensor, grid: Grid) -> float:
    """The mass of one side where the other has none."""
    return float((grid.weight * log_full.exp())[log_thin == -torch.inf].sum())


def _value(
    name: str,
    p: Distribution,
    q: Distribution,
    kl: Divergence,
    sides: str,
    lost: float,
) -> str:
    """The number, how it is known, and why it is infinite when it is."""
    if float(kl) == torch.inf:
        proof = escape(p, q)
        if proof is not None and bool(proof.where.all()):
            full, thin = sides
            where = f"{full} lives on {proof.of_p.words}, {thin} on {proof.of_q.words}"
            mass = f", and {_percent(lost)} of {full}'s mass is where {thin} has none"
            return f"{name} is infinite: {where}{mass if lost > 0 else ''}."
        said = kl.diagnosis if isinstance(kl, Estimate) else ""
        return f"{name} is infinite: {said or 'its integral diverges in the tails'}."
    if not isinstance(kl, Estimate):
        return f"{name} = {measured(kl)}, exact."
    way = kl.method.partition(",")[0]
    doubt = "" if kl.trusted else f", not to be trusted: {kl.diagnosis}"
    return f"{name} = {measured(kl)}, by {way}{doubt}."


def _regions(grid: Grid, shares: Tensor) -> list[str]:
    """The stretches on which one side exceeds the other, those with most of it first."""
    favours_p = grid.log_p > grid.log_q
    empty = (grid.log_p == -torch.inf) & (grid.log_q == -torch.inf)
    edges = ((favours_p[1:] != favours_p[:-1]) | (empty[1:] != empty[:-1])).nonzero()[:, 0] + 1
    bounds = [0, *edges.tolist(), len(favours_p)]
    found = []
    for first, last in pairwise(bounds):
        cells = slice(first, last)
        mass = [float((grid.weight * d.exp())[cells].sum()) for d in (grid.log_p, grid.log_q)]
        found.append((float(shares[cells].sum()), first, last, mass))
    found.sort(key=lambda region: region[0], reverse=True)
    masses = [sum(region[3][side] for region in found) for side in (0, 1)]
    if max(masses) > _MOST_MASS:
        return ["A density has a pole, which no grid resolves: where it comes from is not said."]
    said = []
    for share, first, last, (of_p, of_q) in found:
        if share >= _SHOWN and len(said) < _MOST:
            which = "of it comes from" if not said else "from"
            place = _place(grid, first, last)
            said.append(
                f"{share:.0%}".replace("%", " %")
                + f" {which} {place}, where P has {_percent(of_p)} of its mass and Q "
                f"{_percent(of_q)}"
            )
    return ["; ".join(said) + "."] if said else []


def _crossing(grid: Grid, place: int) -> float:
    """Where log p and log q cross between two points, on the line between; for integers there."""
    before, here = grid.x[place - 1], grid.x[place]
    gap_before, gap_here = ((grid.log_p - grid.log_q)[i] for i in (place - 1, place))
    share = gap_before / (gap_before - gap_here)
    return float(before + (here - before) * (share if 0 <= share <= 1 else 0.5))


def _place(grid: Grid, first: int, last: int) -> str:
    """The stretch as an inequality; for integers its own first and last."""
    x = grid.x
    if grid.discrete:
        low = None if first == 0 else float(x[first])
        high = None if last == len(x) else float(x[last - 1])
    else:
        low = None if first == 0 else _crossing(grid, first)
        high = None if last == len(x) else _crossing(grid, last)
    sign = "≤" if grid.discrete else "<"
    if grid.discrete and last == first + 1:
        return f"x = {number(float(x[first]))}"
    if low is not None and high is not None:
        return f"{number(low)} {sign} x {sign} {number(high)}"
    if low is not None:
        return f"x {'≥' if grid.discrete else '>'} {number(low)}"
    return f"x {sign} {number(high)}" if high is not None else "everywhere"


def _almost_missed(grid: Grid) -> list[str]:
    missed = (grid.log_q - grid.log_p <= math.log(_ALMOST_NONE)) & (grid.log_p > -torch.inf)
    mass = float((grid.weight * grid.log_p.exp())[missed].sum())
    if mass < _ALMOST_NONE or mass > _MOST_MASS:
        return []
    return [f"Q gives almost nothing (p/q ≥ 1000) to {_percent(mass)} of P's mass."]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
