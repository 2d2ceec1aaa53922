"""Draws on one side, a density on the other: what the density knows need not be estimated.

KL from the draws' side to the density's is −H − E[log q]. The mean of log q over the draws is
exact but for its noise; only the entropy H is estimated, from distances to nearest neighbours.
What needs both densities, or more dimensions than distances can tell, is answered from draws of
both sides, where the density can be drawn from as often as one likes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from kullback.distributions.monte_carlo.sampling import Side, can_sample, seeded
from kullback.distributions.monte_carlo.tails import pareto_shape, tail_size
from kullback.distributions.parameters import parameter_tensors
from kullback.distributions.targets import Target
from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.draws import DrawsPair, as_rows, draws_of
from kullback.samples.nearest_neighbor.bias import heading_of, interval_of
from kullback.samples.nearest_neighbor.entropy import FEWEST, NEIGHBOR, relative_entropy
from kullback.samples.scaling import scaled

__all__ = ["against_density"]

# So many draws of the density for each of the other side, within these limits.
_TIMES, _LEAST, _MOST = 4, 5_000, 200_000
_HEAVY = 0.5


def against_density(
    draws: Any,
    density: Any,
    target: Target,
    *,
    draws_are: Literal["p", "q"],
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate[float]:
    """D(P‖Q) in nats where one side is draws [n] or [n, d] and the other has `log_prob`.

    KL from the draws to the density, on the line or where the density has no `sample`, is their
    mean log-density, exact but for noise, with their entropy by nearest neighbours; the
    cross-entropy of draws of P is the mean of −log q. All else is left to `auto`, with draws of
    the density as the other side.

    Args:
        draws: a tensor, an array, a list or a data frame.
        density: a distribution, or any object with `log_prob(x)`; x is float64 [n], or [n, d]
            where its `event_shape` has a dimension.
        target: the divergence D(P‖Q).
        draws_are: which side the draws are of.
        confidence: of the interval.
        seed: of what is drawn, and of the parts that the draws are split into.

    The value is +∞, exactly, where a draw of P falls where Q has no density.

    Raises:
        InputError: a batch of densities, or a question that needs draws of a density that has
            no `sample`.
        ShapeError: events with other columns than the draws.
        NonFiniteError: a log-density that is NaN or +∞ at a draw.

    Source: Kozachenko & Leonenko (1987), Sample Estimate of the Entropy of a Random Vector.

    Example:
        >>> from kullback.distributions.targets import target_of
        >>> x = np.random.default_rng(0).normal(0, 1, 4000)
        >>> q = torch.distributions.Normal(1.0, 1.0)
        >>> found = against_density(x, q, target_of("kl"), draws_are="p")
        >>> found.low < 0.5 < found.high, found.method
        (True, 'cross-entropy of 4000 draws, their entropy by nearest neighbours, k=4')
    """
    columns = as_rows(draws, "draws")
    side = _side(density, len(columns), "Q" if draws_are == "p" else "P")
    name = target.record.name
    towards = "kl" if draws_are == "p" else "reverse_kl"
    if name != towards and not (name == "cross_entropy" and draws_are == "p"):
        return _from_two_samples(draws, side, target, draws_are, confidence, seed)
    numbers = _numbers(draws)
    log_density = _log_density(side, numbers)
    if bool((log_density == -math.inf).any()):
        return _infinite(side, log_density, confidence)
    if name == "cross_entropy":
        return _mean(-log_density, confidence)
    ties = len(np.unique(numbers, axis=0)) < len(numbers)
    if can_sample(side.source) and (ties or len(columns) > 1 or len(numbers) < FEWEST):
        return _from_two_samples(draws, side, target, draws_are, confidence, seed)
    return _by_entropy(numbers, log_density, confidence, seed)


def _side(density: Any, columns: int, name: str) -> Side:
    side = Side(density, name, torch.Size([columns] if columns > 1 else []))
    if not can_sample(side.source) and not list(parameter_tensors(side.source)):
        side.dtype = None  # nothing says that it wants less than float64
    if side.batch_shape:
        raise InputError(
            f"{name} is a batch of shape {tuple(side.batch_shape)}: give one density at a time, "
            "or torch.distributions.Independent if the batch is one draw's columns"
        )
    if len(side.event_shape) > 1 or (side.event_shape.numel() != columns):
        raise ShapeError(
            f"{name} has events of shape {tuple(side.event_shape)} and the draws have {columns} "
            "columns: an event is [d], its columns those of the draws"
        )
    return side


def _numbers(draws: Any) -> np.ndarray:
    """The draws as float64 [n, d], checked as those of two sides are."""
    pair = draws_of(draws, draws)
    if pair.levels:
        raise InputError(
            f"{len(pair.levels)} columns of the draws hold labels, and a density takes numbers: "
            "give the codes that its log_prob expects"
        )
    return pair.p.numbers


def _log_density(side: Side, numbers: np.ndarray) -> np.ndarray:
    at = torch.from_numpy(numbers)
    with torch.no_grad():
        found = side.log_prob(at if side.event_shape else at[:, 0]).double().numpy()
    bad = np.flatnonzero(np.isnan(found) | (found == math.inf))
    if len(bad):
        raise NonFiniteError(
            f"log_prob of {side.name} is {found[bad[0]]} at draw {bad[0]}, {numbers[bad[0]]} "
            f"({len(bad)} in all): a log-density is a number, or −inf where there is none"
        )
    return found


def _infinite(side: Side, log_density: np.ndarray, confidence: float) -> Estimate[float]:
    outside = np.flatnonzero(log_density == -math.inf)
    return Estimate(
        math.inf,
        math.inf,
        math.inf,
        stderr=0.0,
        confidence=confidence,
        method="exact",
        evaluations=len(log_density),
        diagnosis=f"{side.name} has no density at {len(outside)} of the {len(log_density)} draws, "
        f"the first of them draw {outside[0]}: the divergence is infinite",
    )


def _mean(values: np.ndarray, confidence: float) -> Estimate[float]:
    """The mean of −log q: no divergence, and not bounded from below where it is in doubt."""
    n, value = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    noise = t_quantile((1 + confidence) / 2, n - 1) * error
    words = _heavy(values)
    return Estimate(
        value,
        -math.inf if words else value - noise,
        math.inf if words else value + noise,
        stderr=error,
        confidence=confidence,
        method=f"mean over {n} draws",
        evaluations=n,
        trusted=not words,
        diagnosis=words,
    )


def _heavy(values: np.ndarray) -> str:
    """Words on −log q where its tail is too heavy for an interval."""
    largest = np.sort(values)[-tail_size(len(values)) :].copy()
    shape = float(pareto_shape(torch.from_numpy(largest)))
    if not shape >= _HEAVY:
        return ""
    return (
        f"a few draws carry the mean of −log density (Pareto shape {shape:.2f}, no variance from "
        "0.5 on): the tail of the draws is too heavy for this density, and the value may be larger"
    )


def _by_entropy(
    numbers: np.ndarray, log_density: np.ndarray, confidence: float, seed: int
) -> Estimate[float]:
    n, d = numbers.shape
    if n < FEWEST:
        raise InputError(
            f"{n} draws are too few for an entropy: draw at least {FEWEST}, or give the density a "
            "sample(shape), so that two samples can be compared"
        )
    order = np.random.default_rng(seed).permutation(n)
    x = numbers[order]
    sides = scaled(x, x, "whiten")
    shifted = log_density[order, None] + sides.log_unit
    found = heading_of(relative_entropy, sides.x, shifted, NEIGHBOR)
    interval = interval_of(found, 0.0, confidence)
    words = [_heavy(-log_density)] if _heavy(-log_density) else []
    if interval.biased:
        words.append(
            f"{d} columns are many for the entropy of {n} draws: from parts of them to all the "
            f"value moved by {found.step:.2g} to {found.value:.2g}, and is still on its way"
        )
    return Estimate(
        value=max(interval.value, 0.0),
        low=0.0 if words else max(interval.low, 0.0),
        high=math.inf if words else max(interval.high, 0.0),
        stderr=interval.error,
        confidence=confidence,
        method=f"cross-entropy of {n} draws, their entropy by nearest neighbours, k={NEIGHBOR}",
        evaluations=n,
        trusted=not words,
        diagnosis="; ".join(words),
    )


def _from_two_samples(
    draws: Any, side: Side, target: Target, draws_are: str, confidence: float, seed: int
) -> Estimate[float]:
    """What `auto` says of the draws and of draws of the density, four for each of them."""
    from kullback.samples.auto import auto

    if not can_sample(side.source):
        raise InputError(
            f"{target.name!r} of these sides needs draws of {side.name}, a "
            f"{type(side.source).__name__} without sample(shape): give it one, or ask for KL from "
            "the draws to the density"
        )
    n = len(as_rows(draws, "draws")[0])
    count = min(max(_TIMES * n, _LEAST), _MOST)
    with torch.no_grad(), seeded(torch.Generator().manual_seed(seed)):
        more = side.sample(count)
    whole = all(column.dtype.kind in "iu" for column in as_rows(draws, "draws"))
    if whole and bool((more == more.round()).all()):
        more = more.long()
    pair: DrawsPair = draws_of(draws, more) if draws_are == "p" else draws_of(more, draws)
    found = auto(pair, target, confidence=confidence, seed=seed)
    return replace(found, method=f"{found.method}, with {count} draws of {side.name}")
