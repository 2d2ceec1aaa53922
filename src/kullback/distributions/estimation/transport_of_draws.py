"""The Wasserstein distance from draws, between bounds: for events of any dimension.

The cheapest matching of n draws of P with n of Q costs more on average than the best coupling of
P and Q, and by no more than draws of one side cost against each other. So matchings bound the
distance from both sides; another bound from below comes from the moments alone. Far beyond three
dimensions the matchings say little, and the interval shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kullback.distributions.monte_carlo.sampling import Side
from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size
from kullback.errors import MissingExtra
from kullback.numerics import t_quantile
from kullback.results import Estimate

__all__ = ["from_draws"]

_REPLICATES = 16
_DRAWS = 256
_INFINITE_VARIANCE = 0.5


class _Element(NamedTuple):
    """One element of a batch: value, ends, and the shape of the tail of what is averaged."""

    value: float
    low: float
    high: float
    tail: float


def from_draws(
    p: Side, q: Side, batch: torch.Size, order: float, confidence: float
) -> Estimate[Tensor]:
    """W_order(P, Q) between bounds that hold with `confidence`, from 16 matchings of 256 draws.

    The value is the mean cost of the matchings less half of what they cost within P and within
    Q, which takes most of the bias away (Genevay, Peyré & Cuturi 2018, Learning Generative
    Models with Sinkhorn Divergences); it is no less than the bound from moments.

    Source: Sommerfeld, Schrieber, Zemel & Munk (2019), Optimal Transport: Fast Probabilistic
    Approximation with Exact Solvers; Gelbrich (1990) for the bound from moments.
    """
    count = 2 * _REPLICATES * _DRAWS
    with torch.no_grad():
        x, y = (_elements(side, count, batch) for side in (p, q))
    found = [_of_element(a, b, order, confidence) for a, b in zip(x, y, strict=True)]
    value, low, high, tail = (
        torch.tensor(numbers, dtype=torch.float64).reshape(batch)
        for numbers in zip(*found, strict=True)
    )
    heavy = bool((tail >= _INFINITE_VARIANCE).any())
    bias = "matchings of draws cost too much on average: the interval allows for all of that"
    doubt = f"{bias}; distances have a tail (Pareto shape {float(tail.max()):.2f}) without variance"
    return Estimate(
        value=value,
        low=low,
        high=high,
        stderr=torch.full_like(value, math.nan),
        confidence=confidence,
        method=f"matchings of draws, {_REPLICATES} of {_DRAWS} from each side, between bounds",
        evaluations=2 * count,
        trusted=not heavy,
        diagnosis=doubt if heavy else bias,
    )


def _elements(side: Side, count: int, batch: torch.Size) -> np.ndarray:
    """Draws of each element of the joint batch: [elements, replicates, 2, draws, numbers]."""
    x = side.sample(count).double()
    missing = len(batch) - len(side.batch_shape)
    x = x.reshape(count, *(1,) * missing, *side.batch_shape, -1).expand(count, *batch, -1)
    x = x.reshape(count, batch.numel(), -1).movedim(1, 0)
    return x.reshape(batch.numel(), _REPLICATES, 2, _DRAWS, -1).cpu().numpy()


def _of_element(x: np.ndarray, y: np.ndarray, order: float, confidence: float) -> _Element:
    across = np.array([_matching(a[0], b[0], order) for a, b in zip(x, y, strict=True)])
    within_p = np.array([_matching(a[0], a[1], order) for a in x])
    within_q = np.array([_matching(b[0], b[1], order) for b in y])
    costs = np.stack([across, within_p, within_q], 1)
    quantile = t_quantile((1 + confidence) / 2, _REPLICATES - 1)

    def debiased(kept: np.ndarray) -> float:
        return float(kept[:, 0].mean() - kept[:, 1:].mean(0).sum() / 2)

    def below(kept: np.ndarray) -> float:
        roots = kept[:, 1:].mean(0) ** (1 / order)
        return float((kept[:, 0] ** (1 / order)).mean() - roots.sum())

    upper = across.mean() + quantile * across.std(ddof=1) / math.sqrt(_REPLICATES)
    least, spread = _jackknife(below, costs)
    # On squares, which are smooth where the moments of both sides are the same.
    square, square_spread = _jackknife(
        lambda kept: _from_moments(x[kept], y[kept], order), np.arange(_REPLICATES)
    )
    moments = math.sqrt(max(square, 0.0))
    sure = math.sqrt(max(square - quantile * square_spread, 0.0))
    low = max(least - quantile * spread, sure, 0.0)
    centre = debiased(costs)
    value = max(centre, 0.0) ** (1 / order)
    # Whatever the bias was, the distance is no less than what the moments show.
    value = max(value, moments, low)
    distances = torch.from_numpy(np.linalg.norm(x[:, 0] - y[:, 0], axis=-1).ravel() ** order)
    tail = float(pareto_shape(distances.topk(tail_size(len(distances)) + 1).values))
    return _Element(value, low, max(upper ** (1 / order), value), tail)


def _matching(x: np.ndarray, y: np.ndarray, order: float) -> float:
    """The mean cost |x − y|^order of the cheapest matching."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise MissingExtra("scipy", "transport") from None
    squares = (x**2).sum(-1)[:, None] + (y**2).sum(-1) - 2 * x @ y.T
    cost = np.where(squares > 0, squares, 0.0) ** (order / 2)
    return float(cost[linear_sum_assignment(cost)].mean())


def _from_moments(x: np.ndarray, y: np.ndarray, order: float) -> float:
    """The square of Gelbrich's bound, of means and covariances; below order 2 of means alone."""
    of_x, of_y = (side.reshape(-1, side.shape[-1]) for side in (x, y))
    gap = float(((of_x.mean(0) - of_y.mean(0)) ** 2).sum())
    if order < 2:
        return gap
    first, second = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (of_x, of_y))
    root = _symmetric_root(first)
    inner = np.linalg.eigvalsh(root @ second @ root)
    # Rounding can carry an eigenvalue of 0 to the other side of it.
    overlap = np.sqrt(np.where(inner > 0, inner, 0.0)).sum()
    return float(gap + np.trace(first) + np.trace(second) - 2 * overlap)


def _symmetric_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.where(values > 0, values, 0.0)) @ vectors.T


def _jackknife(statistic: Callable[[np.ndarray], float], rows: np.ndarray) -> tuple[float, float]:
    """A statistic of independent rows less its bias, and its standard error (Efron 1982)."""
    count = len(rows)
    whole = statistic(rows)
    without = np.array([statistic(np.delete(rows, i, axis=0)) for i in range(count)])
    centre = count * whole - (count - 1) * without.mean()
    spread = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return float(centre), spread
