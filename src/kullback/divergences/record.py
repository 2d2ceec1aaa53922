"""The records themselves: what is stated of a divergence, and nothing derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from kullback.numerics import Pair


def no_slope(other: Pair) -> Tensor:
    """A slope of 0, or an infinite one, which is stated as 0."""
    return torch.zeros_like(other.p)


class FormulaId(NamedTuple):
    """A formula of the fast kernels: factor · name(parameter)."""

    name: str
    parameter: float = 0.0
    factor: float = 1.0


@dataclass(frozen=True)
class Functional:
    """A sum over events of non-negative terms in p and q.

    Attributes:
        name: the name it has everywhere: in Python, in the command, in tables.
        formula: its value on normalised P and Q, as written in the source.
        source: paper and equation.
        terms: the contribution of each event, ≥ 0.
        log_slopes: (∂term/∂log p, ∂term/∂log q) of each event.
        slope_at_zero: ∂term/∂p where p = 0 < q, given the pair; and the same for q, given the
            pair exchanged. Infinite slopes are stated as 0: an event of probability zero then
            gets no gradient.
    """

    name: str
    formula: str
    source: str
    terms: Callable[[Pair], Tensor]
    log_slopes: Callable[[Pair], tuple[Tensor, Tensor]]
    slope_at_zero: tuple[Callable[[Pair], Tensor], Callable[[Pair], Tensor]] = (
        no_slope,
        no_slope,
    )
    formula_id: FormulaId | None = None


@dataclass(frozen=True, kw_only=True)
class Conjugate:
    """f*(t) = sup over u ≥ 0 of u·t − f(u), for D(P‖Q) = sup over T of E_P[T] − E_Q[f*(T)].

    The supremum is reached at T = f′(p/q), so that a critic's T has to stay where f* is finite.

    Attributes:
        value: f*, which never falls, and is +∞ beyond `end`.
        end: f* is finite on (−∞, end).
        slope_at_one: f′(1), the best T where p = q; f* maps it to itself.
        activation: g, rising from the real line into where f* is finite: T = g(score) + offset.
        of_score: f*(T) − offset, stated by itself because T rounds to `end`, where f* is infinite.
        offset: what T and f*(T) have in common, where it is much larger than their difference.

    Source: Nowozin, Cseke & Tomioka (2016), f-GAN, eq. 2 and 4, and table 2 for g, each with the
    scale of the record; for α < 1 g is another, see there. In the paper f may go on below u = 0,
    which makes f* of χ² larger below T = −2.
    """

    value: Callable[[Tensor], Tensor]
    end: float
    slope_at_one: float
    activation: Callable[[Tensor], Tensor]
    of_score: Callable[[Tensor], Tensor]
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Divergence(Functional):
    """An f-divergence D(P‖Q) = Σ q f(p/q): at least 0, and 0 only when P = Q.

    Attributes:
        generator: the convex f, with f(1) = 0.
        symmetric: whether D(P‖Q) = D(Q‖P).
        upper: the largest value it takes, reached on disjoint supports.
        conjugate: of the generator, with what a critic needs; None where it is not stated.
        parameter: what a family's function made it from, such as 0.3 for `alpha(0.3)`; None
            otherwise, and in what `dataclasses.replace` makes of such a record.
    """

    generator: Callable[[Tensor], Tensor]
    symmetric: bool = False
    upper: float = torch.inf
    conjugate: Conjugate | None = None
    parameter: float | None = field(default=None, init=False, repr=False, compare=False)


def member(record: Divergence, parameter: float) -> Divergence:
    """A new record, with the parameter that it was made from."""
    object.__setattr__(record, "parameter", parameter)
    return record


def constant(value: float) -> Callable[[Pair], Tensor]:
    """The same slope whatever the pair."""
    return lambda pair: torch.full_like(pair.p, value)


def below(end: float, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`function` where t < end, and +∞ from there on."""

    def value(t: Tensor) -> Tensor:
        inside = t < end
        return torch.where(inside, function(torch.where(inside, t, end - 1.0)), torch.inf)

    return value
