"""The aggregate posterior q(z), the mixture of all given posteriors: what it knows, what it misses.

E_x KL(q(z|x)‖p(z)) = I(x; z) + KL(q(z)‖p(z)) (the surgery of the ELBO): what z tells of x, and how
far the draws of all inputs together are from the prior. Both are means over draws of numbers that
cannot be negative:

| | draws z of | what is averaged |
| --- | --- | --- |
| I(x; z) | q | KL(posterior over the inputs given z‖uniform), at most log N |
| KL(q‖p) | q and p, half each | (q log(q/p) − q + p)/½(q + p) |

In the first the input that z was drawn for is summed over (Rao–Blackwell), in the second the draws
of both sides keep every weight below 2. Their sum is known exactly: it checks the two, and lets the
better known one tell the other. No minibatch stands in for the mixture: all of its
components are in every log q(z).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kullback.numerics import exp_remainder, t_quantile
from kullback.results import Estimate
from kullback.tensors import kl_divergence

__all__ = ["Surgery", "surgery"]

# Numbers in one block of draws × posteriors: 64 MiB of float64.
_BLOCK = 1 << 23
# Up to here, the squares over the variances lose no more than 1e-8 where they cancel in float64.
_CANCELS = 1e7
# So many standard errors off the exact sum, and the draws have missed something.
_DEVIATION = 5.0
# What rounding makes of the sum, relative to it, and of a sum of 0.
_ROUNDING, _NOTHING = 1e-9, 1e-20

_TOLD = "Monte Carlo over draws of the aggregate posterior"
_MISSED = "Monte Carlo over draws of the aggregate posterior and of the prior"
_PRIOR = "exact: every posterior is the prior"
_ALIKE = "exact: all posteriors are alike"
_REST = "the exact sum less the other part"


@dataclass(frozen=True)
class Surgery:
    """I(x; z) and KL(q(z)‖p(z)), in nats, and why not to lean on them, if so."""

    mutual_information: Estimate[float]
    aggregate_kl: Estimate[float]


def surgery(
    means: Tensor,
    log_variances: Tensor,
    rate: float,
    *,
    draws: int,
    confidence: float,
    generator: torch.Generator | None,
) -> Surgery:
    """The two parts of `rate`, the mean KL of N posteriors from N(0, I).

    Args:
        means: [N, latents], float64.
        log_variances: likewise.
        rate: their mean KL, exactly.
        draws: how many z of the aggregate, and as many of the prior.
        confidence: of the intervals.
        generator: makes the draws reproducible.
    """
    # Where a part is 0, draws would find the rounding of the densities only.
    if rate == 0:
        # Neither part of a sum of 0 is negative.
        return Surgery(_exact(0.0, confidence, _PRIOR), _exact(0.0, confidence, _PRIOR))
    if all(bool((x == x[0]).all()) for x in (means, log_variances)):
        return Surgery(_exact(0.0, confidence, _ALIKE), _exact(rate, confidence, _ALIKE))
    mixture = _Mixture(means, log_variances)
    information, inside = [], []
    for z in mixture.draws(draws, generator):
        each = mixture.log_densities(z)
        information.append(kl_divergence(each, torch.zeros_like(each), space="logits"))
        inside.append(_weighted_kl(each, z))
    outside = [
        _weighted_kl(mixture.log_densities(z), z) for z in mixture.prior_draws(draws, generator)
    ]
    told, missed = _Mean.of(information), _Mean.of(inside).halfway(_Mean.of(outside))
    doubt = _doubt(told, missed, rate, draws)
    # The sum is exact: what is known better of the two tells the other too.
    names = [_TOLD, _MISSED]
    if told.stderr <= missed.stderr:
        missed, names[1] = _Mean(rate - told.value, told.stderr), _REST
    else:
        told, names[0] = _Mean(rate - missed.value, missed.stderr), _REST
    quantile = t_quantile(0.5 + 0.5 * confidence, draws - 1)
    parts = [
        Estimate(
            mean.value,
            mean.value - quantile * mean.stderr,
            mean.value + quantile * mean.stderr,
            mean.stderr,
            confidence,
            name,
            draws,
            trusted=not doubt,
            diagnosis=doubt,
        )
        for mean, name in zip((told, missed), names, strict=True)
    ]
    return Surgery(*parts)


def _exact(value: float, confidence: float, method: str) -> Estimate[float]:
    return Estimate(value, value, value, 0.0, confidence, method, 0)


def _doubt(told: _Mean, missed: _Mean, rate: float, draws: int) -> str:
    """Why not to lean on two means that should add up to `rate`; "" where they do."""
    added = told.value + missed.value
    error = math.hypot(told.stderr, missed.stderr)
    if abs(added - rate) <= _DEVIATION * error + _ROUNDING * rate + _NOTHING:
        return ""
    return (
        f"I(x; z) and KL(q(z)‖p(z)) of the draws add up to {added:.4g}, and the exact sum is "
        f"{rate:.4g}: the draws missed a part that matters; take more, draws={4 * draws}"
    )


@dataclass(frozen=True)
class _Mean:
    """The mean of independent values and its standard error."""

    value: float
    stderr: float

    @staticmethod
    def of(parts: list[Tensor]) -> _Mean:
        values = torch.cat(parts)
        return _Mean(float(values.mean()), float(values.std()) / math.sqrt(len(values)))

    def halfway(self, other: _Mean) -> _Mean:
        """Half of the sum with an independent mean."""
        error = 0.5 * math.hypot(self.stderr, other.stderr)
        return _Mean(0.5 * (self.value + other.value), error)


class _Mixture:
    """Σ_n N(μ_n, σ_n²)/N, over latents with as many dimensions as wanted."""

    def __init__(self, means: Tensor, log_variances: Tensor) -> None:
        self.means, self.scales = means, (0.5 * log_variances).exp()
        self.precision = (-log_variances).exp()
        self.log_factor = -0.5 * (log_variances + math.log(2 * math.pi)).sum(-1)
        far = float(means.abs().max()) + 8 * max(1.0, float(self.scales.max()))
        self.expands = float(self.precision.max()) * far * far < _CANCELS

    def draws(self, count: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        """Draws of the mixture, in blocks; every posterior is drawn from equally often, ±1."""
        posteriors = len(self.means)
        device = None if generator is None else generator.device
        order = torch.randperm(posteriors, generator=generator, device=device)
        order = order.to(self.means.device)
        chosen = order.repeat(math.ceil(count / posteriors))[:count]
        for some in chosen.split(self._rows()):
            noise = self._noise(len(some), generator)
            yield self.means[some] + self.scales[some] * noise

    def prior_draws(self, count: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        for start in range(0, count, self._rows()):
            yield self._noise(min(self._rows(), count - start), generator)

    def log_densities(self, z: Tensor) -> Tensor:
        """log N(z; μ_n, σ_n²) of each draw and posterior, [draws, N]."""
        if self.expands:
            # −½(z − μ)²/σ² = −½z²/σ² + zμ/σ² − ½μ²/σ² as one product of matrices.
            slopes = self.means * self.precision
            constant = self.log_factor - 0.5 * (slopes * self.means).sum(-1)
            of_posteriors = torch.cat([-0.5 * self.precision, slopes], -1)
            return torch.addmm(constant, torch.cat([z * z, z], -1), of_posteriors.T)
        distances = torch.zeros(len(z), len(self.means), dtype=z.dtype, device=z.device)
        for at, mean, precision in zip(z.T, self.means.T, self.precision.T, strict=True):
            distances.add_((at[:, None] - mean).square_().mul_(precision))
        return self.log_factor - 0.5 * distances

    def _noise(self, count: int, generator: torch.Generator | None) -> Tensor:
        shape = (count, self.means.shape[1])
        device = None if generator is None else generator.device
        noise = torch.randn(shape, dtype=self.means.dtype, generator=generator, device=device)
        return noise.to(self.means.device)

    def _rows(self) -> int:
        return max(1, _BLOCK // len(self.means))


def _weighted_kl(each: Tensor, z: Tensor) -> Tensor:
    """(q log(q/p) − q + p)/½(q + p) at each draw, from the posteriors' log-densities there."""
    log_q = torch.logsumexp(each, -1) - math.log(each.shape[-1])
    log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
    ratio = log_q - log_p
    return 2 * exp_remainder(torch.sigmoid(ratio), torch.sigmoid(-ratio), -ratio)
