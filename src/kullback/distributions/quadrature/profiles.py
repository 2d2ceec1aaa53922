"""How an integrand over several dimensions falls off along each: integrated over all others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kullback.distributions.quadrature.boxes import CHUNK, COUNT, Boxes, middle_of, nodes_of
from kullback.distributions.quadrature.charts import Chart
from kullback.distributions.quadrature.evaluation import Integrand

__all__ = ["profiles"]


def profiles(integrand: Integrand, chart: Chart, boxes: Boxes, shares: tuple[float, ...]) -> Tensor:
    """log of the integral over all other coordinates, far out along each.

    Returns [3, shares, directions, d, *batch]: of the terms, of P and of Q.
    """
    d = boxes.low.shape[-1]
    found = [
        _profile(integrand, chart, boxes, k, share * chart.reach[side, ..., k])
        for share in shares
        for side in (0, 1)
        for k in range(d)
    ]
    stacked = torch.stack(found, 1)
    return stacked.reshape(3, len(shares), 2, d, *stacked.shape[2:])


def _profile(integrand: Integrand, chart: Chart, boxes: Boxes, k: int, at: Tensor) -> Tensor:
    """Over the boxes that the plane of coordinate k at `at` [*batch] goes through."""
    across = (boxes.low[..., k] < at) & (boxes.high[..., k] >= at)
    order = across.int().argsort(dim=0, descending=True, stable=True)
    order = order[: max(1, int(across.sum(0).max()))]
    across = across.gather(0, order)
    index = order[..., None].expand(*order.shape, boxes.low.shape[-1])
    fixed = torch.arange(index.shape[-1], device=at.device) == k
    low, high = (
        torch.where(fixed, at[..., None], x.gather(0, index)) for x in (boxes.low, boxes.high)
    )
    step = max(1, CHUNK // (COUNT ** (index.shape[-1] - 1) * max(1, at.numel())))
    faces = [
        _face(integrand, chart, k, *(x[i : i + step] for x in (low, high, across)))
        for i in range(0, len(low), step)
    ]
    return torch.logsumexp(torch.stack(faces), 0)


def _face(
    integrand: Integrand, chart: Chart, k: int, low: Tensor, high: Tensor, across: Tensor
) -> Tensor:
    s, weights = nodes_of(low, high)
    d = low.shape[-1]
    # The boxes have no width along k: the nodes in the middle stand for all.
    s, weights = middle_of(s, weights, k)
    point, log_slope = chart.locate(s)
    widths = torch.where(torch.arange(d, device=low.device) == k, 1.0, high - low)
    log_weight = log_slope + (weights * widths.prod(-1)[:, None]).log()
    terms, log_p, log_q, scale = integrand.parts(point)
    logs = torch.stack([terms.abs().log() + scale, log_p, log_q]) + log_weight
    logs = torch.where(across[:, None], logs, -math.inf)
    return torch.logsumexp(logs.flatten(1, 2), 1)
