"""The Gauss–Kronrod rule on panels, and how far its result may be off.

Kronrod's rule is far more accurate than the gap to Gauss's, unless the integrand has a kink: then
the two may agree by chance, or both may miss one between the last node and the end. So the gap is
enlarged, the ends are compared with what the nodes foretell, and halves with their whole.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["NODES", "by_both_rules", "change_on_halving", "rule_like"]

# Gauss–Kronrod (10, 21). Source: Piessens et al. (1983), QUADPACK, routine dqk21.
_KRONROD_NODES = (
    0.995657163025808080735527280689003,
    0.973906528517171720077964012084452,
    0.930157491355708226001207180059508,
    0.865063366688984510732096688423493,
    0.780817726586416897063717578345042,
    0.679409568299024406234327365114874,
    0.562757134668604683339000099272694,
    0.433395394129247190799265943165784,
    0.294392862701460198131126603103866,
    0.14887433898163121088482600112972,
)
_KRONROD_WEIGHTS = (
    0.011694638867371874278064396062192,
    0.03255816230796472747881897245939,
    0.05475589657435199603138130024458,
    0.07503967481091995276704314091619,
    0.093125454583697605535065465083366,
    0.109387158802297641899210590325805,
    0.123491976262065851077958109585166,
    0.134709217311473325928054001771707,
    0.142775938577060080797094273138717,
    0.147739104901338491374841515972068,
    0.149445554002916905664936468389821,
)
_GAUSS_WEIGHTS = (
    0.066671344308688137593568809893332,
    0.149451349150580593145863397657697,
    0.219086362515982043995534934228163,
    0.269266719309996355091226921569469,
    0.295524224714752870173815619188769,
)
NODES = 2 * len(_KRONROD_NODES) + 1

# How far from the end of a panel, as a share of it, a point counts as the end; and how much of it
# lies beyond the last node, where a kink would go unseen.
_INSIDE = 1e-9
_BLIND = 0.5 * (1 - _KRONROD_NODES[0])
# The error of a half, as a share of what halving changed: with a kink it is a quarter or more.
_CHANGE = 0.5
# By how much a gap between both rules is enlarged, since a kink may make it small by chance; and
# by how much one that leaves no digit.
_KINK, _DOUBT = 10.0, 100.0


def rule_like(like: Tensor, *, with_ends: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes in (0, 1) and the weights of both rules, [1, nodes, 1, …], for [panels, …].

    With both ends, first and last and without weight, for `by_both_rules`.
    """
    nodes = [*(-x for x in _KRONROD_NODES), 0.0, *reversed(_KRONROD_NODES)]
    kronrod = [*_KRONROD_WEIGHTS, *reversed(_KRONROD_WEIGHTS[:-1])]
    half = [x for pair in zip([0.0] * 5, _GAUSS_WEIGHTS, strict=True) for x in pair]
    gauss = [*half, 0.0, *reversed(half)]
    if with_ends:
        end = 1 - 2 * _INSIDE
        nodes, kronrod, gauss = [-end, *nodes, end], [0.0, *kronrod, 0.0], [0.0, *gauss, 0.0]
    shape = (1, len(nodes), *(1 for _ in like.shape[1:]))
    made = [
        0.5 * torch.tensor(x, dtype=torch.float64, device=like.device).reshape(shape)
        for x in (nodes, kronrod, gauss)
    ]
    return 0.5 + made[0], made[1], made[2]


def by_both_rules(x: Tensor, kronrod: Tensor, gauss: Tensor) -> tuple[Tensor, Tensor]:
    """Integrals over panels by Kronrod's rule, and their errors, from values at nodes and ends.

    The weights [panels, nodes, …] carry the widths of the panels.
    """
    by_kronrod = (kronrod * x).sum(1)
    gap = (by_kronrod - (gauss * x).sum(1)).abs()
    share = gap / torch.where(gap == 0, 1.0, torch.maximum(by_kronrod.abs(), gap))
    # Between the last node and the end both rules see what the nodes foretell.
    foretold = torch.einsum("en,kn...->ke...", _to_ends(x.device), x[:, 1:-1])
    unseen = (x[:, [0, -1]] - foretold).abs().sum(1) * _BLIND * kronrod.sum(1)
    return by_kronrod, gap * (_KINK + _DOUBT * share) + unseen


def change_on_halving(whole: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """What the error of either half is at least, where both rules may agree by chance."""
    changed = _CHANGE * (whole - left - right).abs()
    return torch.where(changed.isfinite(), changed, 0.0)


@lru_cache
def _to_ends(device: torch.device) -> Tensor:
    """What the values at the nodes weigh in their interpolant at both ends, [2, nodes]."""
    nodes = [*(-x for x in _KRONROD_NODES), 0.0, *reversed(_KRONROD_NODES)]
    rows = [
        [math.prod((end - other) / (x - other) for other in nodes if other != x) for x in nodes]
        for end in (-1.0, 1.0)
    ]
    return torch.tensor(rows, dtype=torch.float64, device=device)
