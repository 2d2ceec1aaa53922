"""Log-probabilities of counts, to the last digits also where the counts are in the millions.

The factorials in log C(n, k) + k log p + … are huge and nearly cancel. Written as deviances,
which are small where the probability is large, nothing cancels (Loader 2000); and since they are
made of log p rather than of p, a probability that underflows still has its logarithm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kullback.numerics.pairs import exp_remainder

__all__ = ["log_binomial", "log_factorial_excess", "log_negative_binomial", "log_poisson"]

# From here on the series of `log_factorial_excess` reaches the last bit of float64.
_SERIES_FROM = 16.0
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log_factorial_excess(x: Tensor) -> Tensor:
    """lgamma(x + 1) − x log x + x for x ≥ 0: ½ log 2πx and Stirling's series; 0 at x = 0.

    Source: Abramowitz & Stegun (1964), eq. 6.1.41.
    """
    far = x >= _SERIES_FROM
    small, large = torch.where(far, 1.0, x), torch.where(far, x, _SERIES_FROM)
    inverse = 1 / large
    square, series = inverse * inverse, torch.zeros_like(large)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    beyond = 0.5 * (2 * math.pi * large).log() + inverse * series
    return torch.where(far, beyond, torch.lgamma(small + 1) - _x_log_x(small) + small)


def log_poisson(k: Tensor, rate: Tensor) -> Tensor:
    """log P(X = k), X Poisson: −D(k, λ) less `log_factorial_excess(k)`; −inf below 0.

    Source: Loader (2000), Fast and Accurate Computation of Binomial Probabilities, eq. 4.
    """
    inside = k >= 0
    k = torch.where(inside, k, 0.0)
    value = -_deviance(k, rate, _log(rate)) - log_factorial_excess(k)
    return torch.where(inside, value, -torch.inf)


def log_binomial(k: Tensor, n: Tensor, p: tuple[Tensor, ...], rest: tuple[Tensor, ...]) -> Tensor:
    """log P(X = k) of k successes in n trials; −inf outside 0 … n.

    `p` and `rest` are the probabilities of success and of failure, each with its logarithm. k and
    n need not be integers.

    Source: Loader (2000), eq. 3.
    """
    inside = (k >= 0) & (k <= n)
    k = torch.where(inside, k, 0.0)
    return torch.where(inside, _log_choices(k, n - k, n, p, rest), -torch.inf)


def log_negative_binomial(
    k: Tensor, r: Tensor, p: tuple[Tensor, ...], rest: tuple[Tensor, ...]
) -> Tensor:
    """log P(X = k) of k successes before the r-th failure, r real: r/(k + r) of a Binomial's.

    `p` and `rest` as in `log_binomial`. For r = 0 all mass is at 0.

    Source: Johnson, Kemp & Kotz (2005), Univariate Discrete Distributions, eq. 5.1.
    """
    inside = k >= 0
    k = torch.where(inside, k, 0.0)
    nothing = k == 0
    never = (r == 0) & ~nothing
    kept = torch.where(never, 1.0, r)
    share = -torch.where(nothing, 0.0, k / kept).log1p()
    value = share + _log_choices(k, kept, k + kept, p, rest)
    return torch.where(inside & ~never, value, -torch.inf)


def _log_choices(
    k: Tensor, free: Tensor, n: Tensor, p: tuple[Tensor, ...], rest: tuple[Tensor, ...]
) -> Tensor:
    """log [n!/(k! free!) p^k (1 − p)^free] for n = k + free, which rounding cannot take apart."""
    log_n = _log(torch.where(n == 0, 1.0, n))
    return (
        log_factorial_excess(n)
        - log_factorial_excess(k)
        - log_factorial_excess(free)
        - _deviance(k, n * p[0], log_n + p[1])
        - _deviance(free, n * rest[0], log_n + rest[1])
    )


def _deviance(x: Tensor, mean: Tensor, log_mean: Tensor) -> Tensor:
    """x log(x/mean) − x + mean ≥ 0, with the logarithm of a mean that may have underflowed."""
    empty = x == 0
    near = (mean - x).abs() < 0.5 * x
    relative = (mean - x) / torch.where(near, x, 1.0)
    far = log_mean - torch.where(empty, 1.0, x).log()
    ratio = torch.where(near, torch.where(near, relative, 0.0).log1p(), torch.where(near, 0.0, far))
    return exp_remainder(x, mean.expand_as(ratio), torch.where(empty, 0.0, ratio))


def _log(x: Tensor) -> Tensor:
    empty = x == 0
    return torch.where(empty, -torch.inf, torch.where(empty, 1.0, x).log())


def _x_log_x(x: Tensor) -> Tensor:
    return x * _log(torch.where(x == 0, 1.0, x))
