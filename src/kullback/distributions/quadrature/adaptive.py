"""Panels halved where they need it, all elements of a batch in step.

Along with the terms of a divergence the masses of both sides are integrated: they are known to be
1, so that a peak that no panel has seen shows, and so does a `log_prob` that is no density.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kullback.distributions.quadrature.evaluation import Integrand, times_exp
from kullback.distributions.quadrature.panels import DOWN, PLAIN, UP, Halves, Panels, points_of
from kullback.distributions.quadrature.rules import NODES, by_both_rules, change_on_halving

__all__ = ["Refined", "Sums", "refine", "sum_panels"]

# The nodes taken at a time: their temporaries stay in the processor's cache.
_CHUNK = 1 << 17
_MOST_PANELS, _MOST_ROUNDS = 1500, 60
# How far the masses of both sides are followed: they only have to show what is missing.
_MASS_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Sums:
    """What was found on panels: [panels, *batch] each.

    Attributes:
        value, error, noise: of the terms: the integral, |Kronrod − Gauss|, and what rounding of
            the log-densities makes of it.
        mass_p, error_p, mass_q, error_q: of the densities.
        bad: whether a node has no finite term.
        lost: the mass where the terms are infinite.
    """

    value: Tensor
    error: Tensor
    noise: Tensor
    mass_p: Tensor
    error_p: Tensor
    mass_q: Tensor
    error_q: Tensor
    bad: Tensor
    lost: Tensor


def sum_panels(integrand: Integrand, halves: Halves, panels: Panels) -> Sums:
    """Integrals over panels, some panels at a time."""
    batch = panels.low[0].numel()
    step = max(1, _CHUNK // (NODES * max(batch, 1)))
    found = [
        _sum_chunk(integrand, halves, panels.take(slice(start, start + step)))
        for start in range(0, len(panels), step)
    ]
    return Sums(*(torch.cat([getattr(s, name) for s in found]) for name in _SUM_NAMES))


def _sum_chunk(integrand: Integrand, halves: Halves, panels: Panels) -> Sums:
    point, log_slope, kronrod, gauss = points_of(halves, panels, with_ends=True)
    terms, log_p, log_q, scale = integrand.parts(point)
    empty = (panels.high == panels.low)[:, None]
    height = torch.where(empty, 0.0, times_exp(terms, scale + log_slope))
    bad = (~height.isfinite() | log_p.isnan() | log_q.isnan()).any(1)
    noise = times_exp(integrand.noise(log_p, log_q, scale), scale + log_slope)
    of_p, of_q = ((log + log_slope).exp() for log in (log_p, log_q))
    infinite = torch.where(height == torch.inf, torch.maximum(of_p, of_q), 0.0)

    value, error = by_both_rules(height, kronrod, gauss)
    mass_p, error_p = by_both_rules(torch.where(empty, 0.0, of_p), kronrod, gauss)
    mass_q, error_q = by_both_rules(torch.where(empty, 0.0, of_q), kronrod, gauss)
    total_noise = (kronrod * torch.where(empty, 0.0, noise)).sum(1)
    lost = (kronrod * infinite).sum(1)
    return Sums(value, error, total_noise, mass_p, error_p, mass_q, error_q, bad, lost)


_SUM_NAMES = tuple(Sums.__dataclass_fields__)


@dataclass(frozen=True)
class Refined:
    """The panels that were arrived at, what they hold, and where the line had to be cut off.

    Attributes:
        limit: for each half and direction (UP, DOWN), the last value of log |x − landmark| that
            could be computed; [2, halves, *batch].
        lost_mass: the mass where the terms are infinite.
        broken: whether a term is NaN elsewhere than beyond those limits.
        evaluations: at how many points the densities were taken.
    """

    panels: Panels
    sums: Sums
    limit: Tensor
    lost_mass: Tensor
    broken: Tensor
    evaluations: int


@torch.no_grad()
def refine(integrand: Integrand, halves: Halves, panels: Panels, rtol: float) -> Refined:
    """Halve panels until the error of the terms is below rtol of their sum, or panels run out."""
    sums = sum_panels(integrand, halves, panels)
    evaluations = NODES * len(panels)
    for _ in range(_MOST_ROUNDS):
        limit = _limits(halves, panels, sums)
        score = _scores(halves, panels, sums, limit, rtol)
        count = min(int((score > 1).sum(0).max()), _MOST_PANELS - len(panels))
        if count <= 0:
            break
        chosen = score.topk(count, dim=0).indices
        left, right = panels.take(chosen).halved()
        of_left, of_right = (sum_panels(integrand, halves, half) for half in (left, right))
        least = change_on_halving(sums.value.gather(0, chosen), of_left.value, of_right.value)
        of_left, of_right = (
            replace(part, error=torch.maximum(part.error, least)) for part in (of_left, of_right)
        )
        panels = _put(panels, chosen, left, right)
        sums = _put(sums, chosen, of_left, of_right)
        evaluations += 2 * NODES * count
    limit = _limits(halves, panels, sums)
    cut = _beyond(halves, panels, limit)
    kept = {
        name: torch.where(cut, 0.0, getattr(sums, name)) for name in _SUM_NAMES if name != "bad"
    }
    broken = (sums.bad & ~cut).any(0)
    lost_mass = torch.where(sums.lost.isfinite(), sums.lost, 0.0).sum(0)
    return Refined(panels, Sums(**kept, bad=sums.bad & ~cut), limit, lost_mass, broken, evaluations)


def _put(all_of: Any, chosen: Tensor, first: Any, second: Any) -> Any:
    """`first` in the chosen places, `second` at the end."""
    merged = {}
    for name in type(all_of).__dataclass_fields__:
        old = getattr(all_of, name).scatter(0, chosen, getattr(first, name))
        merged[name] = torch.cat([old, getattr(second, name)])
    return type(all_of)(**merged)


def _limits(halves: Halves, panels: Panels, sums: Sums) -> Tensor:
    """Where terms end to be finite, for each half outwards and inwards."""
    shape = halves.anchor.shape
    limits = []
    for kind, fill, ends, reduce in (
        (UP, torch.inf, panels.low, "amin"),
        (DOWN, -torch.inf, panels.high, "amax"),
    ):
        mine = sums.bad & (panels.kind == kind)
        ends = torch.where(mine, ends, fill)
        start = torch.full(shape, fill, dtype=ends.dtype, device=ends.device)
        limits.append(start.scatter_reduce(0, panels.half, ends, reduce))
    return torch.stack(limits)


def _beyond(halves: Halves, panels: Panels, limit: Tensor) -> Tensor:
    """Panels past the limit of a tail or of a singular end; a limit between landmarks is none."""
    up, down = (limit[i].gather(0, panels.half) for i in (0, 1))
    endless = halves.log_reach.gather(0, panels.half).isinf()
    out = (panels.kind == UP) & endless & (panels.low >= up)
    return out | ((panels.kind == DOWN) & (panels.high <= down))


def _scores(halves: Halves, panels: Panels, sums: Sums, limit: Tensor, rtol: float) -> Tensor:
    """How much each panel needs halving: above 1 it does."""
    cut = _beyond(halves, panels, limit)
    usable = ~(cut | sums.bad)
    count = usable.sum(0).clamp(min=1)
    size = torch.where(usable, sums.value.abs(), 0.0).sum(0)
    floor = torch.where(usable, sums.noise, 0.0).sum(0)
    allowed = torch.maximum(rtol * size, 2 * floor) / count
    error = torch.where(sums.error > 2e-15 * sums.value.abs(), sums.error, 0.0)
    of_terms = torch.where(error > 0, error / torch.where(allowed > 0, allowed, 1e-300), 0.0)
    of_mass = torch.maximum(sums.error_p, sums.error_q) / (_MASS_TOLERANCE / count)
    score = torch.where(usable, torch.maximum(of_terms, of_mass), 0.0)
    # What is not finite is narrowed down: in a tail the first panel of it alone.
    up, down = (limit[i].gather(0, panels.half) for i in (0, 1))
    first = ((panels.kind == UP) & (panels.low == up)) | (
        (panels.kind == DOWN) & (panels.high == down)
    )
    first = first | (panels.kind == PLAIN)
    narrow = sums.bad & first & (panels.depth < torch.where(panels.kind == PLAIN, 6, 14))
    splittable = (panels.high - panels.low) > 1e-12 * panels.high.abs()
    return torch.where(narrow, torch.inf, torch.where(splittable, score, 0.0))
