"""Boxes in up to three dimensions, halved where they need it, all elements of a batch in step."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import product

import torch
from torch import Tensor

from kullback.distributions.quadrature.charts import Chart
from kullback.distributions.quadrature.evaluation import Integrand, times_exp

__all__ = [
    "CHUNK",
    "COUNT",
    "Boxes",
    "Seen",
    "first_boxes",
    "middle_of",
    "nodes_of",
    "refine_boxes",
]

# Gauss–Kronrod (7, 15). Source: Piessens et al. (1983), QUADPACK, routine dqk15.
_HALF_NODES = (
    0.991455371120812639206854697526329,
    0.949107912342758524526189684047851,
    0.864864423359769072789712788640926,
    0.741531185599394439863864773280788,
    0.58608723546769113029414469185073,
    0.405845151377397166906606412076961,
    0.207784955007898467600689403773245,
)
_HALF_KRONROD = (
    0.022935322010529224963732008058970,
    0.063092092629978553290700663189204,
    0.104790010322250183839876322541518,
    0.140653259715525918745189590510238,
    0.16900472663926790282829543641656,
    0.190350578064785409913256402421014,
    0.204432940075298892414161999234649,
    0.209482141084727828012999174891714,
)
_HALF_GAUSS = (
    0.129484966168869693270611432679082,
    0.27970539148927666790146777142378,
    0.381830050505118944950369775488975,
    0.417959183673469387755102040816327,
)
_NODES = [0.5 - 0.5 * x for x in _HALF_NODES] + [0.5] + [0.5 + 0.5 * x for x in _HALF_NODES[::-1]]
_KRONROD = [0.5 * w for w in (*_HALF_KRONROD, *_HALF_KRONROD[-2::-1])]
_SPARSE = [x for w in _HALF_GAUSS[:3] for x in (0.0, 0.5 * w)]
_GAUSS = [*_SPARSE, 0.0, 0.5 * _HALF_GAUSS[3], 0.0, *_SPARSE[::-1]]
COUNT = len(_NODES)

# Where boxes meet at first, as multiples of the width of the narrower side.
_EDGES = {1: (1.0, 2.0, 3.0, 5.0, 10.0, 30.0), 2: (1.1, 2.2, 4.0), 3: (2.0, 5.0)}
CHUNK = 1 << 17
_MOST_NODES, _MOST_ROUNDS = {1: 500_000, 2: 2_000_000, 3: 4_000_000}, 200
_MASS_TOLERANCE = 1e-8
_KINK, _DOUBT = 4.0, 100.0
# A draw or a corner at a density this much above all nodes of its box, in logarithms, has not been
# seen; nor does it matter where the whole box would not hold this much, as a logarithm.
_UNSEEN, _NEGLIGIBLE = 3.0, -35.0


@dataclass(frozen=True)
class Boxes:
    """Boxes, [boxes, *batch, d], and what they hold, [boxes, *batch].

    Attributes:
        low, high: the corners.
        value, noise: of the terms: the integral, and what rounding of log-densities makes of it.
        errors: of the terms along each dimension, [boxes, *batch, d].
        mass_p, mass_q, error_mass: of the densities.
        bad: whether a node has no finite term.
        lost: the mass where terms are infinite.
        unseen: whether a draw or a corner has a much higher density than all nodes.
    """

    low: Tensor
    high: Tensor
    value: Tensor
    noise: Tensor
    errors: Tensor
    mass_p: Tensor
    mass_q: Tensor
    error_mass: Tensor
    bad: Tensor
    lost: Tensor
    unseen: Tensor

    def __len__(self) -> int:
        return len(self.low)


@dataclass(frozen=True)
class Seen:
    """Draws of both sides, [draws, *batch, d], and the log-density of their own side there."""

    places: Tensor
    heights: Tensor
    of_p: Tensor


def first_boxes(integrand: Integrand, chart: Chart, seen: Seen) -> Boxes:
    """A grid that is fine in the middle and reaches to the end of each coordinate."""
    reach = chart.reach
    d = reach.shape[-1]
    inner = _EDGES[d]
    steps = [-math.inf, *(-edge for edge in reversed(inner)), 0.0, *inner, math.inf]
    edges = torch.stack([torch.full_like(reach[0], x).clamp(*reach) for x in steps])
    lows, highs = [], []
    for place in product(range(len(steps) - 1), repeat=d):
        lows.append(torch.stack([edges[i, ..., k] for k, i in enumerate(place)], -1))
        highs.append(torch.stack([edges[i + 1, ..., k] for k, i in enumerate(place)], -1))
    return _measured(integrand, chart, seen, torch.stack(lows), torch.stack(highs))


def nodes_of(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The nodes of boxes [boxes, nodes, *batch, d], and Kronrod's weights [1, nodes, 1, …]."""
    d = low.shape[-1]
    one = torch.tensor(_NODES, dtype=low.dtype, device=low.device)
    grid = torch.cartesian_prod(*[one] * d).reshape(-1, d)
    grid = grid.reshape(1, -1, *(1 for _ in low.shape[1:-1]), d)
    weights = torch.tensor(_KRONROD, dtype=low.dtype, device=low.device)
    products = torch.cartesian_prod(*[weights] * d).reshape(-1, d).prod(-1)
    s = low[:, None] + (high - low)[:, None] * grid
    return s, products.reshape(1, -1, *(1 for _ in low.shape[1:-1]))


def middle_of(s: Tensor, weights: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Those of the nodes that lie in the middle along coordinate k, as a rule over the others."""
    d = s.shape[-1]
    row = torch.arange(COUNT**d, device=s.device) // COUNT ** (d - 1 - k) % COUNT
    kept = row == COUNT // 2
    return s[:, kept], weights[:, kept] / _KRONROD[COUNT // 2]


def _measured(integrand: Integrand, chart: Chart, seen: Seen, low: Tensor, high: Tensor) -> Boxes:
    nodes = COUNT ** low.shape[-1] * max(1, low[0, ..., 0].numel())
    step = max(1, CHUNK // nodes)
    parts = [
        _measure(integrand, chart, seen, low[i : i + step], high[i : i + step])
        for i in range(0, len(low), step)
    ]
    return Boxes(*(torch.cat([getattr(x, f.name) for x in parts]) for f in fields(Boxes)))


def _measure(integrand: Integrand, chart: Chart, seen: Seen, low: Tensor, high: Tensor) -> Boxes:
    s, weights = nodes_of(low, high)
    point, log_slope = chart.locate(s)
    log_slope = log_slope + (high - low).prod(-1).log()[:, None]
    terms, log_p, log_q, scale = integrand.parts(point)
    tops = [log.amax(1) for log in (log_p, log_q)]
    steepest = [(log + log_slope).amax(1) for log in (log_p, log_q)]
    empty = (high <= low).any(-1)[:, None]
    height = torch.where(empty, 0.0, times_exp(terms, scale + log_slope))
    bad = ((~height.isfinite() | log_p.isnan() | log_q.isnan()) & ~empty).any(1)
    noise = times_exp(integrand.noise(log_p, log_q, scale), scale + log_slope)
    of_p, of_q = (torch.where(empty, 0.0, (x + log_slope).exp()) for x in (log_p, log_q))
    infinite = torch.where(height == torch.inf, torch.maximum(of_p, of_q), 0.0)
    value, errors = _both_rules(height, low.shape[-1])
    mass_p, error_p = _both_rules(of_p, low.shape[-1])
    mass_q, error_q = _both_rules(of_q, low.shape[-1])
    return Boxes(
        low,
        high,
        value,
        (weights * torch.where(empty, 0.0, noise)).sum(1),
        errors,
        mass_p,
        mass_q,
        (error_p + error_q).sum(-1),
        bad,
        (weights * infinite).sum(1),
        _hidden(seen, low, high, *tops) | _at_corners(integrand, chart, low, high, *steepest),
    )


def _both_rules(height: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """The product of Kronrod's rule, and how far Gauss's moves it along each dimension."""
    like = {"dtype": height.dtype, "device": height.device}
    kronrod, gauss = torch.tensor(_KRONROD, **like), torch.tensor(_GAUSS, **like)
    grid = height.reshape(len(height), *([COUNT] * d), *height.shape[2:])
    value = _contracted(grid, [kronrod] * d)
    errors = []
    for k in range(d):
        rules = [gauss if i == k else kronrod for i in range(d)]
        gap = (_contracted(grid, rules) - value).abs()
        share = gap / torch.where(gap == 0, 1.0, torch.maximum(value.abs(), gap))
        errors.append(gap * (_KINK + _DOUBT * share))
    return value, torch.stack(errors, -1)


def _contracted(grid: Tensor, rules: list[Tensor]) -> Tensor:
    for rule in rules:
        grid = torch.einsum("n,kn...->k...", rule, grid)
    return grid


def _hidden(seen: Seen, low: Tensor, high: Tensor, top_p: Tensor, top_q: Tensor) -> Tensor:
    if not len(seen.places):
        return torch.zeros_like(top_p, dtype=torch.bool)
    inside = ((seen.places >= low[:, None]) & (seen.places <= high[:, None])).all(-1)
    of_p = seen.of_p.reshape(1, -1, *(1 for _ in top_p.shape[1:]))
    top = torch.where(of_p, top_p[:, None], top_q[:, None])
    return (inside & (seen.heights > top + _UNSEEN)).any(1)


def _at_corners(
    integrand: Integrand, chart: Chart, low: Tensor, high: Tensor, top_p: Tensor, top_q: Tensor
) -> Tensor:
    """Whether a density falls off from a corner too fast for the nodes to see it."""
    d = low.shape[-1]
    sides = torch.cartesian_prod(*[torch.tensor([False, True], device=low.device)] * d)
    sides = sides.reshape(1, -1, *(1 for _ in low.shape[1:-1]), d)
    point, log_slope = chart.locate(torch.where(sides, high[:, None], low[:, None]))
    log_slope = log_slope + (high - low).prod(-1).log()[:, None]
    hidden = torch.zeros_like(top_p, dtype=torch.bool)
    for side, top in ((integrand.p, top_p), (integrand.q, top_q)):
        height = (
            (integrand.density(side, point) + log_slope).nan_to_num(-math.inf, math.inf).amax(1)
        )
        hidden = hidden | ((height > top + _UNSEEN) & (height > _NEGLIGIBLE) & (height < math.inf))
    return hidden


@torch.no_grad()
def refine_boxes(
    integrand: Integrand, chart: Chart, seen: Seen, boxes: Boxes, rtol: float
) -> tuple[Boxes, int]:
    """Halve boxes until the error is below rtol of the sum, or the budget of nodes is spent."""
    d = boxes.low.shape[-1]
    per_box = COUNT**d
    evaluations = per_box * len(boxes)
    for _ in range(_MOST_ROUNDS):
        score = _scores(boxes, rtol)
        affordable = (_MOST_NODES[d] - evaluations) // (2 * per_box)
        count = min(int((score > 1).sum(0).max()), affordable)
        if count <= 0:
            break
        chosen = score.topk(count, dim=0).indices
        low, high, errors = (
            x.gather(0, chosen[..., None].expand(*chosen.shape, d))
            for x in (boxes.low, boxes.high, boxes.errors)
        )
        errors = torch.nan_to_num(errors, nan=0.0) + 1e-290 * (high - low)
        along = torch.nn.functional.one_hot(errors.argmax(-1), d).to(torch.bool)
        middle = 0.5 * (low + high)
        left = _measured(integrand, chart, seen, low, torch.where(along, middle, high))
        right = _measured(integrand, chart, seen, torch.where(along, middle, low), high)
        boxes = _replaced(boxes, chosen, left, right)
        evaluations += 2 * per_box * count
    return boxes, evaluations


def _replaced(boxes: Boxes, chosen: Tensor, left: Boxes, right: Boxes) -> Boxes:
    merged = []
    for field in fields(Boxes):
        old, first, second = (getattr(some, field.name) for some in (boxes, left, right))
        index = chosen if old.dim() == chosen.dim() else chosen[..., None].expand_as(first)
        merged.append(torch.cat([old.scatter(0, index, first), second]))
    return Boxes(*merged)


def _scores(boxes: Boxes, rtol: float) -> Tensor:
    usable = ~boxes.bad
    count = usable.sum(0).clamp(min=1)
    size = torch.where(usable, boxes.value.abs(), 0.0).sum(0)
    floor = torch.where(usable, boxes.noise, 0.0).sum(0)
    allowed = torch.maximum(rtol * size, 2 * floor).clamp(min=1e-300) / count
    error = boxes.errors.sum(-1)
    error = torch.where(error > 1e-14 * boxes.value.abs(), error, 0.0)
    of_mass = boxes.error_mass / (_MASS_TOLERANCE / count)
    score = torch.where(usable, torch.maximum(error / allowed, of_mass), 0.0)
    wide = (boxes.high - boxes.low).amax(-1) > 1e-9
    return torch.where((boxes.unseen | boxes.bad) & wide, math.inf, torch.where(wide, score, 0.0))
