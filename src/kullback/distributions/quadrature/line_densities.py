"""Log-densities on the line, at points that may be closer to an end than floats can say.

The families of `torch.distributions` have their formulas here, in terms of the gap between a
`Point` and the end or the peak of the density, because torch's own lose digits near the ends, or
are wrong there (Kumaraswamy and InverseGamma near 0). Whatever else has a `log_prob` is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli

from kullback.distributions.parameters import given
from kullback.distributions.quadrature.points import Point, pull_back
from kullback.distributions.supports import support_of
from kullback.distributions.widening import dtype_of

__all__ = ["log_density", "rule_for"]

_LOG_PI, _LOG_TWO, _LOG_TAU = math.log(math.pi), math.log(2), math.log(2 * math.pi)

# Beyond these a `log_prob` that takes x alone may square it into an overflow, or cannot tell x
# from the end of the support to six digits.
_FARTHEST, _CLOSEST = 1e150, 1e-10


def log_density(p: Any, point: Point) -> Tensor:
    """log p at the points, in float64: −inf outside of the support, NaN where it cannot be told.

    `p` has scalar events and comes from `in_float64`; the batch of the points is its own, with
    any dimensions before.
    """
    rule = rule_for(_RULES, p)
    value = None if rule is None else rule(p, point)
    return _asked(p, point) if value is None else value


def rule_for(rules: dict[type, Any], p: Any) -> Any:
    """The entry of the family that `p` belongs to; None where it has a `log_prob` of its own."""
    for kind in type(p).__mro__:
        if kind in rules:
            return rules[kind] if type(p).log_prob is kind.log_prob else None
    return None


def _asked(p: Any, point: Point) -> Tensor:
    """`p.log_prob(x)`, asked only inside of the support and where x says enough."""
    support = support_of(p)
    x = point.x
    low = torch.as_tensor(-math.inf if support.low is None else support.low).to(x)
    high = torch.as_tensor(math.inf if support.high is None else support.high).to(x)
    inside = point.above(low) & ~point.above(high)
    # Not asked there, so any point of the support will do.
    middle = torch.where(
        low.isinf(), high - 1, torch.where(high.isinf(), low + 1, (low + high) / 2)
    )
    middle = torch.where(low.isinf() & high.isinf(), 0.0, middle)
    clear = (x.abs() < _FARTHEST) & (point.offset.abs() > 1 / _FARTHEST)
    for end in (low, high):
        known = torch.where(end.isinf(), 0.0, end)
        clear = clear & (end.isinf() | (point.gap(known).abs() > _CLOSEST * known.abs()))
    asked = torch.where(inside & clear, x, middle).to(dtype_of(p))
    value = p.log_prob(asked).double()
    return torch.where(inside, torch.where(clear, value, math.nan), -math.inf)


def _within(value: Tensor, inside: Tensor) -> Tensor:
    return torch.where(inside, value, -math.inf)


def _log1p_exp(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _log_1m_exp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x < 0."""
    return torch.where(x > -_LOG_TWO, (-x.expm1()).log(), (-x.exp()).log1p())


def _normal(p: Any, at: Point) -> Tensor:
    z = at.gap(p.loc) / p.scale
    return -0.5 * z * z - p.scale.log() - 0.5 * _LOG_TAU


def _half_normal(p: Any, at: Point) -> Tensor:
    z = at.gap(0.0) / p.scale
    value = -0.5 * z * z - p.scale.log() + _LOG_TWO - 0.5 * _LOG_TAU
    return _within(value, at.above(0.0))


def _laplace(p: Any, at: Point) -> Tensor:
    return -at.gap(p.loc).abs() / p.scale - p.scale.log() - _LOG_TWO


def _cauchy(p: Any, at: Point) -> Tensor:
    log_z = at.log_gap(p.loc) - p.scale.log()
    return -_log1p_exp(2 * log_z) - p.scale.log() - _LOG_PI


def _half_cauchy(p: Any, at: Point) -> Tensor:
    log_z = at.log_gap(0.0) - p.scale.log()
    value = -_log1p_exp(2 * log_z) - p.scale.log() + _LOG_TWO - _LOG_PI
    return _within(value, at.above(0.0))


def _student(p: Any, at: Point) -> Tensor:
    log_z = at.log_gap(p.loc) - p.scale.log()
    half = 0.5 * p.df
    normalizer = half.lgamma() - (half + 0.5).lgamma() + 0.5 * (p.df.log() + _LOG_PI)
    return -(half + 0.5) * _log1p_exp(2 * log_z - p.df.log()) - normalizer - p.scale.log()


def _gumbel(p: Any, at: Point) -> Tensor:
    y = -at.gap(p.loc) / p.scale
    return y - y.exp() - p.scale.log()


def _exponential(p: Any, at: Point) -> Tensor:
    return _within(p.rate.log() - p.rate * at.gap(0.0), at.above(0.0))


def _gamma(p: Any, at: Point) -> Tensor:
    a = p.concentration
    kernel = (a - 1) * at.log_gap(0.0) - p.rate * at.gap(0.0)
    return _within(kernel + a * p.rate.log() - a.lgamma(), at.above(0.0))


def _inverse_gamma(p: Any, at: Point) -> Tensor:
    a, log_rate, log_x = p.concentration, p.rate.log(), at.log_gap(0.0)
    kernel = -(a + 1) * log_x - (log_rate - log_x).exp()
    return _within(kernel + a * log_rate - a.lgamma(), at.above(0.0))


def _weibull(p: Any, at: Point) -> Tensor:
    k, log_scale = p.concentration, p.scale.log()
    log_z = at.log_gap(0.0) - log_scale
    return _within(k.log() - log_scale + (k - 1) * log_z - (k * log_z).exp(), at.above(0.0))


def _pareto(p: Any, at: Point) -> Tensor:
    log_z = at.log_gap(0.0) - p.scale.log()
    return _within(p.alpha.log() - p.scale.log() - (p.alpha + 1) * log_z, at.above(p.scale))


def _generalized_pareto(p: Any, at: Point) -> Tensor:
    """−(1/ξ + 1) log(1 + ξz) − log scale; for ξ < 0 there is an end, where 1 + ξz vanishes."""
    xi, log_scale = p.concentration, p.scale.log()
    bounded, none = xi < 0, xi == 0
    size = torch.where(none, 1.0, xi).abs()
    rising = _log1p_exp(size.log() + at.log_gap(p.loc) - log_scale)
    end = p.loc + torch.where(bounded, p.scale / size, 0.0)
    falling = at.log_gap(end) + size.log() - log_scale
    # Far from its end the gap to it is 1 + ξz for |ξz| near 0, which rounds.
    z = at.gap(p.loc) / p.scale
    shallow = (xi * z).abs() < 0.5
    falling = torch.where(shallow, torch.where(shallow, xi * z, 0.0).log1p(), falling)
    curved = torch.where(bounded, falling, rising)
    signed = torch.where(none, 1.0, xi)
    value = torch.where(none, -z, -(1 / signed + 1) * curved) - log_scale
    return _within(value, at.above(p.loc) & ~(bounded & at.above(end)))


def _fisher_snedecor(p: Any, at: Point) -> Tensor:
    a, b, log_x = 0.5 * p.df1, 0.5 * p.df2, at.log_gap(0.0)
    log_ratio = p.df1.log() - p.df2.log()
    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    kernel = a * log_ratio + (a - 1) * log_x - (a + b) * _log1p_exp(log_ratio + log_x)
    return _within(kernel - normalizer, at.above(0.0))


def _beta(p: Any, at: Point) -> Tensor:
    a, b = p.concentration1, p.concentration0
    kernel = (a - 1) * at.log_gap(0.0) + (b - 1) * at.log_gap(1.0)
    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    return _within(kernel - normalizer, _in_unit(at))


def _kumaraswamy(p: Any, at: Point) -> Tensor:
    a, b, inside = p.concentration1, p.concentration0, _in_unit(at)
    log_x = torch.where(inside, at.log_gap(0.0), -1.0)
    log_gap = at.log_gap(1.0)
    # log(1 − xᵃ) is log a + log(1 − x) close to 1, where log x itself may be 0 as a float.
    close = inside & (log_gap < -25) & (log_gap + a.log() < -25)
    log_rest = torch.where(
        close, a.log() + log_gap, _log_1m_exp(a * torch.where(close, -1.0, log_x))
    )
    return _within(a.log() + b.log() + (a - 1) * log_x + (b - 1) * log_rest, inside)


def _continuous_bernoulli(p: Any, at: Point) -> Tensor:
    """|λ|/(1 − e^−|λ|) · exp(−|λ| · the gap to the end that λ favours)."""
    logits = p.logits if given(p) == "logits" else p.probs.log() - (-p.probs).log1p()
    size = logits.abs()
    gap = torch.where(logits > 0, -at.gap(1.0), at.gap(0.0))
    small = size < 1e-4
    kept = torch.where(small, 1.0, size)
    log_normalizer = torch.where(
        small, size / 2 - size * size / 24, kept.log() - (-(-kept).expm1()).log()
    )
    return _within(log_normalizer - size * gap, _in_unit(at))


def _logit_relaxed(p: Any, logit_x: Tensor) -> Tensor:
    logits = p.logits if given(p) == "logits" else p.probs.log() - (-p.probs).log1p()
    y = logits - p.temperature * logit_x
    return p.temperature.log() + y - 2 * _log1p_exp(y)


def _logit_relaxed_bernoulli(p: Any, at: Point) -> Tensor:
    return _logit_relaxed(p, at.x)


def _relaxed_bernoulli(p: Any, at: Point) -> Tensor:
    below, above = at.log_gap(0.0), at.log_gap(1.0)
    return _within(_logit_relaxed(p.base_dist, below - above) - below - above, _in_unit(at))


def _uniform(p: Any, at: Point) -> Tensor:
    height = -(p.high - p.low).log() + torch.zeros_like(at.offset)
    return _within(height, at.above(p.low) & ~at.above(p.high))


def _von_mises(p: Any, at: Point) -> Tensor:
    half_angle = 0.5 * at.gap(p.loc)
    kernel = -2 * p.concentration * half_angle.sin() ** 2
    value = kernel - _LOG_TAU - torch.special.i0e(p.concentration).log()
    return _within(value, at.above(-math.pi) & ~at.above(math.pi))


def _in_unit(at: Point) -> Tensor:
    return at.above(0.0) & ~at.above(1.0)


def _mixture(p: Any, at: Point) -> Tensor:
    choice = p.mixture_distribution
    logits = choice.logits if given(choice) == "logits" else choice.probs.log()
    parts = log_density(p.component_distribution, at.unsqueeze()) + torch.log_softmax(logits, -1)
    nowhere = parts.amax(-1, keepdim=True) == -math.inf
    total = torch.logsumexp(torch.where(nowhere, 0.0, parts), -1)
    return torch.where(nowhere[..., 0], -math.inf, total)


def _independent(p: Any, at: Point) -> Tensor | None:
    return None if p.reinterpreted_batch_ndims else log_density(p.base_dist, at)


def _transformed(p: Any, at: Point) -> Tensor | None:
    """The density of the base where the point came from, less the slope of the way there."""
    found = pull_back(td.ComposeTransform(p.transforms), at)
    if found is None or p.base_dist.event_shape:
        return None
    origin, log_slope, reached = found
    support = support_of(p.base_dist)
    if support.low is not None and support.high is not None:
        origin = _snapped(origin, (support.low, support.high))
    return _within(log_density(p.base_dist, origin) - log_slope, reached)


def _snapped(point: Point, ends: tuple[Tensor, ...]) -> Point:
    """The point with its anchor on the end of the support that rounding has moved it from."""
    anchor = point.anchor
    for end in ends:
        near = (anchor - end).abs() <= 1e-14 * end.abs()
        anchor = torch.where(near & end.isfinite(), end, anchor)
    return Point(anchor, point.sign, point.offset, point.log_offset)


_RULES: dict[type, Callable[[Any, Point], Tensor | None]] = {
    td.Beta: _beta,
    td.Cauchy: _cauchy,
    td.ContinuousBernoulli: _continuous_bernoulli,
    td.Exponential: _exponential,
    td.FisherSnedecor: _fisher_snedecor,
    td.Gamma: _gamma,
    td.GeneralizedPareto: _generalized_pareto,
    td.Gumbel: _gumbel,
    td.HalfCauchy: _half_cauchy,
    td.HalfNormal: _half_normal,
    td.Independent: _independent,
    td.InverseGamma: _inverse_gamma,
    td.Kumaraswamy: _kumaraswamy,
    td.Laplace: _laplace,
    LogitRelaxedBernoulli: _logit_relaxed_bernoulli,
    td.MixtureSameFamily: _mixture,
    td.Normal: _normal,
    td.Pareto: _pareto,
    td.RelaxedBernoulli: _relaxed_bernoulli,
    td.StudentT: _student,
    td.TransformedDistribution: _transformed,
    td.Uniform: _uniform,
    td.VonMises: _von_mises,
    td.Weibull: _weibull,
}
