"""The Wasserstein distance of P and Q from draws, with an interval that sees the bias.

The distance of the draws is too large on average, by far where P and Q are close or the dimension
is high. So its upper end is made from what the draws cost, the lower one from what one half of
them shows with the eyes of the other (`held_out`), along a line where there are several dimensions.
"""

from __future__ import annotations

import numpy as np
import torch

from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size
from kullback.errors import InputError
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.draws import DrawsPair
from kullback.samples.transport.couplings import debiased, exact, sinkhorn, typical_cost
from kullback.samples.transport.directions import along_one, random_directions
from kullback.samples.transport.held_out import bounds, spread_of
from kullback.samples.transport.line import check_order

__all__ = ["wasserstein"]

_METHODS = ("auto", "exact", "sinkhorn", "sliced")
_EXACT, _SINKHORN = 2_000, 4_000
"""The most draws of a side for the network simplex, and for matrices that are held whole."""
_FEW = 200
_INFINITE_VARIANCE = 0.5
_BLIND = 0.5


def wasserstein(
    pair: DrawsPair,
    *,
    order: float = 1.0,
    confidence: float = 0.95,
    seed: int = 0,
    method: str = "auto",
    regularization: float | None = None,
    directions: int = 64,
) -> Estimate[float]:
    """W_order(P, Q) from draws, in their unit: (least mean of |x − y|^order)^(1/order).

    In one dimension by sorting, the value halfway between the distance of the draws (too large
    on average) and what one half shows with the weights of the other (too small). In several by
    the cheapest coupling of up to 2,000 draws of a side, beyond by Sinkhorn's of up to 4,000, the
    value less what draws of one side cost among themselves. `low` is 0 where P = Q cannot be
    excluded.

    Args:
        pair: numeric draws of both sides.
        order: at least 1.
        confidence: of the interval.
        seed: which draws make which half, and the directions.
        method: "auto"; "exact", the cheapest coupling; "sinkhorn", of several dimensions;
            "sliced", another distance: the mean of W_order^order over all directions, rooted,
            whose interval holds the error of the directions drawn.
        regularization: of Sinkhorn's coupling, in the unit of |x − y|^order; by default a
            twentieth of the median of that.
        directions: how many are drawn for "sliced".

    Raises:
        InputError: columns of labels, an order below 1, a method that does not apply.
        MissingExtra: POT is not installed and there are several dimensions.

    Not trusted, with `low` for the confidence on its own and `high` infinite: where the tails
    leave the error without a variance (draws are then clipped for `low`), of fewer than 200
    draws for orders above 1, and where the dimension is so high that a draw's match within its
    own side lies half as far off as any other draw.

    Source: del Barrio, Gordaliza & Loubes (2019) for the variance on the line, del Barrio &
    Loubes (2019), Central Limit Theorems for Empirical Transportation Cost in General Dimension.

    Example:
        >>> from kullback.samples.draws import draws_of
        >>> rng = np.random.default_rng(0)
        >>> found = wasserstein(draws_of(rng.normal(size=2000), rng.normal(1.0, size=2000)))
        >>> found.low < 1.0 < found.high
        True
    """
    order = check_order(order)
    _check(pair, method, regularization, directions)
    x, y = pair.p.numbers, pair.q.numbers
    rng = np.random.default_rng(seed)
    if method == "sliced":
        lines = random_directions(x.shape[1], directions, rng)
        name = f"sliced, {directions} directions at random; bounds from halves of the draws"
        return _on_lines(x @ lines, y @ lines, order, confidence, rng, name)
    if x.shape[1] == 1 and method != "sinkhorn":
        name = "sorted draws; bounds from halves of the draws"
        return _on_lines(x, y, order, confidence, rng, name)
    return _in_space(x, y, order, confidence, rng, method, regularization)


def _check(pair: DrawsPair, method: str, regularization: float | None, directions: int) -> None:
    if pair.levels:
        raise InputError(
            f"{len(pair.levels)} columns hold labels, between which there is no distance: leave "
            'them out, code them as numbers, or ask for "js" or "total_variation"'
        )
    if method not in _METHODS:
        raise InputError(f"method={method!r} is not one of {_METHODS}")
    if method == "sinkhorn" and pair.dimensions == 1:
        raise InputError('on the line sorting is exact and faster: method="exact"')
    if regularization is not None and not 0 < regularization < float("inf"):
        raise InputError(f"regularization={regularization} must be positive and finite")
    if directions < 2:
        raise InputError(f"directions={directions}: at least 2 are needed for their own error")


def _on_lines(
    x: np.ndarray,
    y: np.ndarray,
    order: float,
    confidence: float,
    rng: np.random.Generator,
    method: str,
) -> Estimate[float]:
    """The estimate of draws on one line, or on several in columns."""
    found = bounds(x, y, order, rng)
    few = order > 1 and min(len(x), len(y)) < _FEW
    doubt = _heavy((x, found.phi), (y, found.psi), order) or (
        f"of fewer than {_FEW} draws the quantiles are biased" if few else ""
    )
    quantile = _quantile(x, y, confidence, two_sided=not doubt)
    low, high = found.low(quantile), found.high(quantile, order)
    if doubt:
        # Clipping brings nothing further apart, and leaves a variance.
        low = bounds(*_clipped(x, y), order, rng).low(quantile)
        high = float("inf")
    value = min(max(found.middle, low), high)
    return Estimate(
        value=value,
        low=low,
        high=high,
        stderr=found.spread,
        confidence=confidence,
        method=method,
        evaluations=len(x) + len(y),
        trusted=not doubt,
        diagnosis=doubt,
    )


def _in_space(
    x: np.ndarray,
    y: np.ndarray,
    order: float,
    confidence: float,
    rng: np.random.Generator,
    method: str,
    regularization: float | None,
) -> Estimate[float]:
    most = max(len(x), len(y))
    smoothed = method == "sinkhorn" or (method == "auto" and most > _EXACT)
    kept_x, kept_y = (
        side[rng.permutation(len(side))[: _SINKHORN if smoothed else len(side)]] for side in (x, y)
    )
    if smoothed:
        if regularization is None:
            regularization = typical_cost(kept_x, kept_y, order) / 20
        couple = sinkhorn(order, regularization)
        name = f"Sinkhorn divergence, regularization {regularization:.3g}"
    else:
        couple, name = exact(order), "cheapest coupling of the draws"
    whole = couple(kept_x, kept_y)
    centre, blindness = debiased(kept_x, kept_y, couple, order)
    doubt = _heavy((kept_x, whole.phi), (kept_y, whole.psi), order)
    if not doubt and blindness > _BLIND:
        doubt = (
            f"in {x.shape[1]} dimensions {len(kept_x)} and {len(kept_y)} draws lie too thin: the "
            f"match of a draw within its own side is {blindness:.0%} as far off as any other draw"
        )
    quantile = _quantile(kept_x, kept_y, confidence, two_sided=not doubt)
    along = along_one(*(_clipped(x, y) if doubt else (x, y)), order, rng)
    low = along.low(quantile)
    spread = spread_of(whole.phi, whole.psi)
    high = float("inf") if doubt else (whole.cost + quantile * spread) ** (1 / order)
    size = whole.cost ** (1 - 1 / order)
    return Estimate(
        value=min(max(centre, along.crossed, low), high),
        low=low,
        high=max(high, low),
        stderr=spread / (order * size) if size else float("nan"),
        confidence=confidence,
        method=f"{name} of {len(kept_x)} and {len(kept_y)}; from below along one direction",
        evaluations=len(kept_x) + len(kept_y),
        trusted=not doubt,
        diagnosis=doubt,
    )


def _quantile(x: np.ndarray, y: np.ndarray, confidence: float, *, two_sided: bool) -> float:
    level = (1 + confidence) / 2 if two_sided else confidence
    return t_quantile(level, min(len(x), len(y)) - 1)


def _clipped(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides, column by column within the first and the last hundredth of all draws."""
    ends = np.quantile(np.concatenate([x, y]), [0.01, 0.99], axis=0)
    return np.clip(x, *ends), np.clip(y, *ends)


def _heavy(p: tuple[np.ndarray, np.ndarray], q: tuple[np.ndarray, np.ndarray], order: float) -> str:
    """What to say where the costs have a tail without variance; of draws and their potentials.

    A potential has a variance if |x|^order has one. Near P = Q its own tail is mostly noise, so
    that both have to be heavy.
    """
    for (draws, potential), name in ((p, "x"), (q, "y")):
        sizes = np.linalg.norm(draws - np.median(draws, axis=0), axis=1) ** order
        shape = min(_shape(sizes), _shape(np.abs(potential - np.median(potential))))
        if shape >= _INFINITE_VARIANCE:
            return (
                f"the costs of the draws of {name} have a tail (Pareto shape {shape:.2f}) without "
                "variance"
            )
    return ""


def _shape(sizes: np.ndarray) -> float:
    count = tail_size(len(sizes)) + 1
    return float(pareto_shape(torch.from_numpy(sizes).topk(count).values))
