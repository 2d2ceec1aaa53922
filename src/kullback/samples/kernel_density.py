"""Divergence by two kernel density estimates: the baseline that people know, and no more.

The densities are smoothed to a bandwidth that suits neither tails nor many dimensions, and what
the smoothing does to the divergence cannot be told from the draws: there is no interval.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from kullback.distributions.targets import Target
from kullback.divergences import KL, REVERSE_KL, Divergence
from kullback.errors import InputError, MissingExtra
from kullback.numerics import Pair
from kullback.results import Estimate
from kullback.samples.draws import DrawsPair
from kullback.samples.scaling import scaled

__all__ = ["kernel_density"]

_BASELINE = (
    "a baseline only: what smoothing does to the divergence is not known, so that there is no "
    "interval; take another method for an answer"
)
# Pairs of draws at once, 128 MiB of distances.
_AT_ONCE = 1 << 24


def kernel_density(
    pair: DrawsPair,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    bandwidth: float | None = None,
) -> Estimate[float]:
    """D(P‖Q) in nats of two Gaussian kernel densities: a baseline, never to be trusted.

    KL is the mean of log p̂/q̂ over the draws of P; every other f-divergence is the mean of its
    terms over an even mixture of the draws of both. A draw is left out of its own density.

    Args:
        pair: numeric columns only.
        target: any divergence.
        confidence: kept in the result, where `low` and `high` are NaN.
        seed: not used; nothing is random.
        bandwidth: of the kernels in whitened columns; None for Scott's n^(−1/(d + 4)).

    Raises:
        InputError: labels, a side without a density, a bandwidth that is not positive.
        MissingExtra: SciPy is not installed.

    Source: Scott (1992), Multivariate Density Estimation, eq. 6.42.

    Example:
        >>> from kullback.distributions.targets import target_of
        >>> from kullback.samples.draws import draws_of
        >>> rng = np.random.default_rng(0)
        >>> pair = draws_of(rng.normal(0, 1, 1000), rng.normal(1, 1, 1000))
        >>> found = kernel_density(pair, target_of("kl"))
        >>> 0.3 < found.value < 0.6, found.trusted
        (True, False)
    """
    del seed
    if pair.levels:
        raise InputError(
            f"{len(pair.levels)} of the columns hold labels, and a kernel density needs numbers: "
            "leave them out, or take a method by classifier"
        )
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise InputError(f"bandwidth={bandwidth!r} has to be a positive number")
    sides = scaled(pair.p.numbers, pair.q.numbers, "whiten")
    at_x = _log_density(sides.x, sides.x, bandwidth), _log_density(sides.x, sides.y, bandwidth)
    at_y = _log_density(sides.y, sides.x, bandwidth), _log_density(sides.y, sides.y, bandwidth)
    total = _sum(target, at_x, at_y, sides.log_unit)
    return Estimate(
        value=float(target.link(torch.tensor(total, dtype=torch.float64))),
        low=math.nan,
        high=math.nan,
        confidence=confidence,
        method="kernel density, a baseline",
        evaluations=len(pair.p) + len(pair.q),
        trusted=False,
        diagnosis=_BASELINE,
    )


def _sum(
    target: Target,
    at_x: tuple[np.ndarray, np.ndarray],
    at_y: tuple[np.ndarray, np.ndarray],
    log_unit: float,
) -> float:
    """The sum of the target's terms, given (log p̂, log q̂) at the draws of P and of Q."""
    record = target.record
    if record.name == "cross_entropy":
        return log_unit - float(at_x[1].mean())
    if record is KL:
        return float((at_x[0] - at_x[1]).mean())
    if record is REVERSE_KL:
        return float((at_y[1] - at_y[0]).mean())
    assert isinstance(record, Divergence)
    return 0.5 * sum(float(record.terms(_over_mixture(*at)).mean()) for at in (at_x, at_y))


def _over_mixture(log_p: np.ndarray, log_q: np.ndarray) -> Pair:
    """Both densities over that of the even mixture, so that terms can be averaged over it."""
    log_mixture = np.logaddexp(log_p, log_q) - math.log(2)
    p, q = (torch.from_numpy(side - log_mixture) for side in (log_p, log_q))
    return Pair(p.exp(), q.exp(), p, q, torch.from_numpy(log_q - log_p))


def _log_density(at: np.ndarray, draws: np.ndarray, bandwidth: float | None) -> np.ndarray:
    """log of the mean of kernels around `draws`, the draw itself left out where it is one."""
    try:
        from scipy.spatial.distance import cdist
    except ModuleNotFoundError:
        raise MissingExtra("scipy", "samples") from None
    n, d = draws.shape
    width = n ** (-1 / (d + 4)) if bandwidth is None else bandwidth
    own = at is draws
    rows = max(1, _AT_ONCE // n)
    found = np.empty(len(at))
    for start in range(0, len(at), rows):
        exponents = -0.5 * cdist(at[start : start + rows], draws, "sqeuclidean") / width**2
        if own:
            here = np.arange(len(exponents))
            exponents[here, start + here] = -np.inf
        top = exponents.max(1)
        found[start : start + rows] = top + np.log(np.exp(exponents - top[:, None]).sum(1))
    return found - math.log(n - own) - d * math.log(width) - 0.5 * d * math.log(2 * math.pi)
