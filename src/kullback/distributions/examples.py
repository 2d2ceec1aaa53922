"""A few distributions of every class, to ask of each pair of classes: what is known?

Events have one of three shapes, so that what can be compared is compared: a number, a vector of
3, a matrix of 3 by 3. The first example of a class is ordinary; further ones are there where an
answer depends on parameters, as it does on the ends of an interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.truncated import Truncated

__all__ = ["CLASSES", "Example", "examples"]

CLASSES: tuple[type[Distribution], ...] = tuple(
    sorted(
        {
            kind
            for kind in (getattr(td, name) for name in td.__all__)
            if isinstance(kind, type)
            and issubclass(kind, Distribution)
            and kind not in (Distribution, td.ExponentialFamily)
        },
        key=lambda kind: kind.__name__.lower(),
    )
)
"""The classes of `torch.distributions`, less the abstract ones, by name."""


class Example(NamedTuple):
    """Two members of a class with different parameters: one to be P, the other to be Q."""

    p: Distribution
    q: Distribution


def examples(kind: type[Distribution]) -> tuple[Example, ...]:
    """The examples of a class, the ordinary ones first, with float64 parameters.

    Raises:
        KeyError: a class that is neither one of `CLASSES` nor `Truncated`.

    Example:
        >>> [(example.p.mean.item(), example.q.mean.item()) for example in examples(td.Poisson)]
        [(2.0, 3.0)]
    """
    make, *sides = _EXAMPLES[kind]
    return tuple(Example(make(*map(_t, p)), make(*map(_t, q))) for p, q in sides)


def _t(number: Any) -> Any:
    return (
        torch.tensor(number, dtype=torch.float64) if isinstance(number, (float, list)) else number
    )


def _of_normals(loc: Tensor, scale: Tensor) -> Distribution:
    return td.Independent(td.Normal(loc, scale), 1)


def _mixture(weights: Tensor, locs: Tensor, scales: Tensor) -> Distribution:
    parts = td.Normal(locs, scales) if locs.dim() == 1 else _of_normals(locs, scales)
    return td.MixtureSameFamily(td.Categorical(weights), parts)


def _independent(family: Callable[..., Distribution], *parameters: Tensor) -> Distribution:
    return td.Independent(family(*parameters), 1)


def _truncated_normal(loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Distribution:
    return Truncated(td.Normal(loc, scale), low, high)


def _transformed(base: Distribution, *transforms: td.Transform) -> Distribution:
    return td.TransformedDistribution(base, list(transforms))


def _normal(loc: float, scale: float) -> Distribution:
    return td.Normal(_t(loc), _t(scale))


_EXP, _TANH, _DOUBLE = td.ExpTransform(), td.TanhTransform(), td.AffineTransform(0.0, 2.0)
_STRETCH = td.AffineTransform(_t([0.0, 1.0, 2.0]), _t([1.0, 2.0, 0.5]), event_dim=1)
_ONES = [1.0, 1.0, 1.0]
_COVARIANCE = [[2.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 1.5]]
_OTHER_COVARIANCE = [[1.0, 0.25, 0.0], [0.25, 2.0, 0.5], [0.0, 0.5, 1.0]]
_FACTOR, _OTHER_FACTOR = [[0.5], [1.0], [-0.5]], [[1.0], [0.5], [0.5]]
_WEIGHTS, _OTHER_WEIGHTS = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
_CENTERS = [[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
_WIDTHS = [_ONES, [0.5, 1.0, 1.5]]

# A maker, then the arguments of P and of Q for each example.
_EXAMPLES: dict[type[Distribution], tuple[Any, ...]] = {
    td.Bernoulli: (td.Bernoulli, ((0.3,), (0.6,))),
    td.Beta: (td.Beta, ((2.0, 3.0), (1.5, 4.0))),
    td.Binomial: (td.Binomial, ((5, 0.3), (5, 0.6)), ((4, 0.3), (8, 0.6)), ((8, 0.3), (4, 0.6))),
    td.Categorical: (td.Categorical, ((_WEIGHTS,), (_OTHER_WEIGHTS,))),
    td.Cauchy: (td.Cauchy, ((0.0, 1.0), (1.0, 2.0))),
    td.Chi2: (td.Chi2, ((3.0,), (5.0,))),
    td.ContinuousBernoulli: (td.ContinuousBernoulli, ((0.3,), (0.6,))),
    td.Dirichlet: (td.Dirichlet, (([2.0, 3.0, 1.0],), ([1.5, 1.0, 4.0],))),
    td.Exponential: (td.Exponential, ((1.0,), (2.0,))),
    td.FisherSnedecor: (td.FisherSnedecor, ((5.0, 7.0), (6.0, 9.0))),
    td.Gamma: (td.Gamma, ((2.0, 1.0), (3.0, 2.0))),
    td.GeneralizedPareto: (
        td.GeneralizedPareto,
        ((0.0, 1.0, 0.25), (0.0, 1.5, 0.5)),
        ((0.0, 1.0, -0.5), (0.0, 2.0, -0.5)),
    ),
    td.Geometric: (td.Geometric, ((0.3,), (0.6,))),
    td.Gumbel: (td.Gumbel, ((0.0, 1.0), (1.0, 2.0))),
    td.HalfCauchy: (td.HalfCauchy, ((1.0,), (2.0,))),
    td.HalfNormal: (td.HalfNormal, ((1.0,), (2.0,))),
    td.Independent: (
        _independent,
        ((td.Normal, [0.0, 1.0, 2.0], _ONES), (td.Normal, _ONES, [1.0, 2.0, 0.5])),
        ((td.Gamma, [2.0, 1.0, 3.0], _ONES), (td.Gamma, [1.0, 2.0, 1.5], [1.0, 2.0, 0.5])),
    ),
    td.InverseGamma: (td.InverseGamma, ((3.0, 2.0), (4.0, 3.0))),
    td.Kumaraswamy: (td.Kumaraswamy, ((2.0, 3.0), (1.5, 4.0)), ((2.0, 3.0), (2.0, 4.0))),
    td.Laplace: (td.Laplace, ((0.0, 1.0), (1.0, 2.0))),
    td.LKJCholesky: (td.LKJCholesky, ((3, 1.5), (3, 0.75))),
    td.LogNormal: (td.LogNormal, ((0.0, 0.5), (0.5, 1.0))),
    td.LogisticNormal: (
        td.LogisticNormal,
        (([0.0, 1.0], [1.0, 0.5]), ([0.5, 0.0], [1.5, 1.0])),
    ),
    td.LowRankMultivariateNormal: (
        td.LowRankMultivariateNormal,
        ((_ONES, _FACTOR, _ONES), ([0.0, 1.0, 2.0], _OTHER_FACTOR, [0.5, 1.0, 2.0])),
    ),
    td.MixtureSameFamily: (
        _mixture,
        (
            ([0.3, 0.7], [0.0, 3.0], [1.0, 0.5]),
            ([0.5, 0.5], [0.5, 2.0], [1.5, 1.0]),
        ),
        (
            ([0.3, 0.7], [0.0, 3.0], [1.0, 0.5]),
            ([0.5, 0.5], [0.0, 3.0], [1.0, 0.5]),
        ),
        (([0.3, 0.7], _CENTERS, _WIDTHS), ([0.5, 0.5], _CENTERS, [_ONES, _ONES])),
    ),
    td.Multinomial: (
        lambda count, probs: td.Multinomial(count, probs),
        ((5, _WEIGHTS), (5, _OTHER_WEIGHTS)),
    ),
    td.MultivariateNormal: (
        td.MultivariateNormal,
        ((_ONES, _COVARIANCE), ([0.0, 1.0, 2.0], _OTHER_COVARIANCE)),
    ),
    td.NegativeBinomial: (
        td.NegativeBinomial,
        ((5.0, 0.3), (5.0, 0.6)),
        ((4.0, 0.3), (6.0, 0.6)),
    ),
    td.Normal: (td.Normal, ((0.0, 1.0), (1.0, 2.0))),
    td.OneHotCategorical: (td.OneHotCategorical, ((_WEIGHTS,), (_OTHER_WEIGHTS,))),
    td.OneHotCategoricalStraightThrough: (
        td.OneHotCategoricalStraightThrough,
        ((_WEIGHTS,), (_OTHER_WEIGHTS,)),
    ),
    td.Pareto: (td.Pareto, ((2.0, 3.0), (1.0, 2.0)), ((1.0, 3.0), (2.0, 2.0))),
    td.Poisson: (td.Poisson, ((2.0,), (3.0,))),
    td.RelaxedBernoulli: (
        td.RelaxedBernoulli,
        ((0.5, 0.3), (0.75, 0.6)),
        ((0.5, 0.3), (0.5, 0.6)),
    ),
    td.RelaxedOneHotCategorical: (
        td.RelaxedOneHotCategorical,
        ((0.5, _WEIGHTS), (0.75, _OTHER_WEIGHTS)),
        ((0.5, _WEIGHTS), (0.5, _OTHER_WEIGHTS)),
    ),
    td.StudentT: (td.StudentT, ((5.0, 0.0, 1.0), (7.0, 1.0, 2.0)), ((1.5, 0.0, 1.0),) * 2),
    td.TransformedDistribution: (
        _transformed,
        ((_normal(0.0, 1.0), _EXP, _DOUBLE), (_normal(1.0, 2.0), _EXP, _DOUBLE)),
        ((_normal(0.0, 1.0), _TANH), (_normal(1.0, 2.0), _TANH)),
        (
            (_of_normals(_t([0.0, 1.0, 2.0]), _t(_ONES)), _STRETCH),
            (_of_normals(_t(_ONES), _t([1.0, 2.0, 0.5])), _STRETCH),
        ),
    ),
    Truncated: (
        _truncated_normal,
        ((0.0, 1.0, -1.0, 2.0), (1.0, 2.0, -2.0, 3.0)),
        ((0.0, 1.0, -2.0, 3.0), (1.0, 2.0, -1.0, 2.0)),
    ),
    td.Uniform: (
        td.Uniform,
        ((0.25, 0.75), (0.125, 0.875)),
        ((0.0, 1.0), (-1.0, 2.0)),
        ((-1.0, 1.0), (0.0, 1.0)),
    ),
    td.VonMises: (td.VonMises, ((0.0, 2.0), (1.0, 3.0))),
    td.Weibull: (td.Weibull, ((1.0, 2.0), (2.0, 1.5)), ((1.0, 2.0), (2.0, 2.0))),
    td.Wishart: (td.Wishart, ((4.0, _COVARIANCE), (5.0, _OTHER_COVARIANCE))),
}
