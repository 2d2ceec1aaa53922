"""A distribution on the line, cut to an interval and normalised again.

Its mass between the ends is taken as a logarithm, so that a normal distribution cut thirty
standard deviations out still has a density, and nested truncations a divergence.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints

from kullback.distributions.quadrature.interval_mass import (
    has_known_mass,
    log_mass_between,
    standardized,
)
from kullback.distributions.supports import support_of
from kullback.errors import DtypeError, InputError, ShapeError

_ROUNDS = 10_000
"""How many rounds of draws to take from a base without a quantile function, before giving up."""

__all__ = ["Truncated"]


class Truncated(Distribution):
    """`base`, given that it lies between `low` and `high`.

    Draws are by inversion, so they are differentiable in the parameters of the base and in the
    ends; they need a base with `cdf` and `icdf`. Everything else needs one whose mass between two
    points is known: any with `cdf`, and Beta and StudentT.

    Args:
        base: a continuous distribution over the line, of any batch shape and event shape ().
        low: the lower end, a number or a tensor that broadcasts with the base; may be −inf.
        high: the upper end; may be +inf.
        validate_args: whether to check arguments and values, as everywhere in torch.

    Raises:
        DtypeError: the base is not a distribution.
        InputError: it is discrete, has no `cdf`, or has no mass between the ends.
        ShapeError: it is not over the line, or shapes do not broadcast.

    Example:
        >>> import kullback
        >>> from kullback.distributions import Truncated
        >>> from torch.distributions import Normal
        >>> tail = Truncated(Normal(0.0, 1.0), 3.0, math.inf)
        >>> tail
        Truncated(Normal(loc: 0.0, scale: 1.0), low: 3, high: inf)
        >>> tail.log_prob(torch.tensor(3.5))
        tensor(-0.4362)
        >>> tail.icdf(torch.tensor(0.5))
        tensor(3.2052)
        >>> kullback.kl_divergence(tail, Normal(0.0, 1.0))
        tensor(6.6077)
    """

    # The ends may be infinite, which no constraint of torch allows: they are checked here.
    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True
    base: Distribution
    low: Tensor
    high: Tensor

    def __init__(
        self,
        base: Distribution,
        low: float | Tensor,
        high: float | Tensor,
        validate_args: bool | None = None,
    ) -> None:
        _check_base(base)
        support = support_of(base)
        if support.low is None or support.high is None:
            raise InputError(f"the support of {type(base).__name__} is not an interval")
        like = support.low
        for end in (low, high):
            if isinstance(end, Tensor):
                like = like.to(torch.promote_types(like.dtype, end.dtype))
        ends = [torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (low, high)]
        try:
            shape = torch.broadcast_shapes(base.batch_shape, *(x.shape for x in ends))
        except RuntimeError:
            raise ShapeError(
                f"low {tuple(ends[0].shape)}, high {tuple(ends[1].shape)} and the base's batch "
                f"shape {tuple(base.batch_shape)} do not broadcast: sizes must be equal or 1"
            ) from None
        self.base = base.expand(shape)
        # Ends outside of the base's support cut nothing off, and its cdf may not know them.
        self.low = torch.maximum(ends[0], support.low).expand(shape)
        self.high = torch.minimum(ends[1], support.high).expand(shape)
        super().__init__(shape, validate_args=False)
        if validate_args is not None:
            self._validate_args = validate_args
        else:
            self._validate_args = Distribution._validate_args
        if self._validate_args:
            _check_mass(self)

    def __repr__(self) -> str:
        single = self.low.numel() == 1
        low, high = (
            f"{float(x):g}" if single else str(tuple(x.shape)) for x in (self.low, self.high)
        )
        return f"Truncated({self.base}, low: {low}, high: {high})"

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def log_mass(self) -> Tensor:
        """log of the mass that the base has between the ends, wide."""
        return log_mass_between(self.base, self.low, self.high)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Truncated:
        new: Any = self._get_checked_instance(Truncated, _instance)
        shape = torch.Size(batch_shape)
        new.base = self.base.expand(shape)
        new.low, new.high = self.low.expand(shape), self.high.expand(shape)
        Distribution.__init__(new, shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = (self.low <= value) & (value <= self.high)
        at = torch.where(inside, value, _some_point(self.low, self.high))
        density = self.base.log_prob(at) - self.log_mass.to(at.dtype)
        return torch.where(inside, density, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        at = torch.minimum(torch.maximum(value, self.low), self.high)
        below = log_mass_between(self.base, self.low, at)
        return (below - self.log_mass).exp().to(at.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        at = _quantile(self.base, self.low, self.high, value)
        # Rounding may leave the interval by a last bit, which is not where any mass is.
        return torch.minimum(torch.maximum(at, self.low), self.high)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By inversion; for a base without a quantile function by drawing until all lie inside."""
        with torch.no_grad():
            if _is_invertible(self.base):
                return self.rsample(sample_shape)
            return self._rejected(self._extended_shape(torch.Size(sample_shape)))

    def _rejected(self, shape: torch.Size) -> Tensor:
        found = self.low.expand(shape).clone()
        missing = torch.ones(shape, dtype=torch.bool, device=found.device)
        extra = shape[: len(shape) - len(self.base.batch_shape)]
        for _ in range(_ROUNDS):
            draws = self.base.sample(extra).to(found.dtype)
            hit = missing & (draws >= self.low) & (draws <= self.high)
            found = torch.where(hit, draws, found)
            missing = missing & ~hit
            if not bool(missing.any()):
                return found
        raise InputError(
            f"{_ROUNDS:,} rounds of draws of {type(self.base).__name__} left the interval unmet: "
            "it has too little mass to draw from without a quantile function"
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.low.dtype, device=self.low.device))


def _is_invertible(base: Distribution) -> bool:
    return isinstance(base, Normal) or type(base).icdf is not Distribution.icdf


def _quantile(base: Distribution, low: Tensor, high: Tensor, level: Tensor) -> Tensor:
    """The point below which `level` of the mass between the ends lies."""
    if not isinstance(base, Normal):
        inside = _some_point(low, high)
        bottom = low.isfinite()
        start = torch.where(bottom, base.cdf(torch.where(bottom, low, inside)), 0.0)
        mass = log_mass_between(base, low, high).exp().to(start.dtype)
        return base.icdf(start + level * mass)
    start, stop = standardized(base, low), standardized(base, high)
    # An interval in the right tail is mirrored into the left, where small masses are exact.
    mirrored = start + stop > 0
    first, last = torch.where(mirrored, -stop, start), torch.where(mirrored, -start, stop)
    bottom, top = torch.special.ndtr(first), torch.special.ndtr(last)
    share = torch.where(mirrored, 1 - level, level).to(first.dtype)
    z = torch.special.ndtri(bottom + share * (top - bottom))
    z = torch.where(mirrored, -z, z)
    return (base.loc.to(z.dtype) + base.scale.to(z.dtype) * z).to(low.dtype)


def _some_point(low: Tensor, high: Tensor) -> Tensor:
    """A finite point between the ends."""
    bottom, top = low.isfinite(), high.isfinite()
    start = torch.where(bottom, low, torch.where(top, high - 1, 0.0))
    stop = torch.where(top, high, torch.where(bottom, low + 1, 0.0))
    return (0.5 * start + 0.5 * stop).detach()


def _check_base(base: Any) -> None:
    if not isinstance(base, Distribution):
        raise DtypeError(
            f"base is a {type(base).__name__}: pass a torch.distributions object, such as "
            "Normal(0.0, 1.0)"
        )
    name = type(base).__name__
    if base.event_shape:
        raise ShapeError(
            f"base {name} has events of shape {tuple(base.event_shape)}: only distributions over "
            "the line, of event shape (), can be cut to an interval"
        )
    if base.support is not None and base.support.is_discrete:
        raise InputError(f"base {name} is discrete: only continuous distributions can be truncated")
    if not has_known_mass(base):
        raise InputError(f"base {name} has no cdf: its mass between two ends is not known")


def _check_mass(p: Truncated) -> None:
    """Ends in order, and some mass between them, for the whole batch."""
    wrong = ~(p.low < p.high)
    if bool(wrong.any()):
        low, high = (float(x[wrong].flatten()[0]) for x in (p.low, p.high))
        raise InputError(
            f"low={low:g} is not below high={high:g} within the support of "
            f"{type(p.base).__name__}: nothing is left between them"
        )
    empty = p.log_mass == -math.inf
    if bool(empty.any()):
        low, high = (float(x[empty].flatten()[0]) for x in (p.low, p.high))
        raise InputError(
            f"{type(p.base).__name__} has no mass between {low:g} and {high:g} in "
            f"{p.low.dtype}: choose ends nearer to where it has some"
        )
