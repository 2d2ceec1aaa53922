"""The distribution functions of Gamma and Beta variables, differentiable in every argument.

torch has no incomplete Beta function, and its incomplete Gamma function no derivative in the
shape. Of the logarithm of a Gamma variable, and of the logit of a Beta variable, the density is
log-concave: from the point of interest outwards, away from the mode, it falls at least as fast
as an exponential. So each tail is one integral up to the point where it has fallen to e⁻⁴⁰, and
forty points of Gauss and Legendre take it to the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kullback.numerics.binet import binet
from kullback.numerics.pairs import exp_remainder, expm1, log_ratio
from kullback.numerics.remainders import rate_divergence
from kullback.numerics.special import itakura_saito

__all__ = ["beta_tails", "gamma_tails"]

Tails = Callable[..., tuple[Tensor, Tensor]]

_ROOTS, _GAUSS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = ((_ROOTS + 1) / 2).tolist(), (_GAUSS / 2).tolist()
# e⁻⁴⁰ is where a tail is cut.
_DEEP = 40.0
# By how much a small shape is raised before its logarithm is taken.
_RAISE = 8
# Where e^u is followed no further: all that depends on it is 0 by then.
_FAR = 600.0


def _not_compiled(function: Tails) -> Tails:
    """`function`, run as it is inside of compiled code: unrolled, it takes minutes to compile."""
    if not torch.compiler.is_compiling():
        return function
    disabled: Any = torch.compiler.disable(function)
    return disabled


def gamma_tails(shape: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """P(T < x) and P(T > x) for T ~ Gamma(shape, 1) and x > 0, each to full absolute precision.

    Below x = 2, where log T has a plateau before it falls, the shape is raised by eight first:
    P(T < x) then has eight terms more, x^a e^(−x)/Γ(a + 1) and so on.

    Source: Abramowitz & Stegun (1964), eq. 6.5.21.
    """
    return _not_compiled(_raised_gamma_tails)(*torch.broadcast_tensors(shape, x))


def _raised_gamma_tails(shape: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    raised = x < 2
    at = torch.where(raised, x, 1.0)
    term = _log_gamma_density(shape, at).exp() / shape
    more = torch.zeros_like(term)
    for k in range(1, _RAISE + 1):
        more, term = more + term, term * at / (shape + k)
    more = torch.where(raised, more, 0.0)
    below, above = _gamma_tails(torch.where(raised, shape + _RAISE, shape), x)
    return below + more, above - more


def _gamma_tails(shape: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """From log x, with t = x, the density of log T falls by (a − t)u + t(e⁻ᵘ − 1 + u) to the left
    and by (t − a)u + t(eᵘ − 1 − u) to the right.
    """
    left = x < shape
    sign = torch.where(left, -1.0, 1.0).to(x.dtype)

    def drop(u: Tensor, a: Tensor, t: Tensor, sign: Tensor) -> Tensor:
        near = (sign * u).clamp(max=_FAR)
        return sign * (t - a) * u + t * exp_remainder(torch.ones_like(near), near.exp(), near)

    return _both(left, _log_gamma_density(shape, x).exp() * _tail(drop, shape, x, sign))


def _log_gamma_density(shape: Tensor, x: Tensor) -> Tensor:
    """log of x^a e^(−x)/Γ(a), the density of log T at log x, by Stirling's formula."""
    peak = 0.5 * (shape / (2 * math.pi)).log() - binet(shape)
    return peak - shape * itakura_saito(x, shape)


def beta_tails(one: Tensor, zero: Tensor, x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """P(Y < x) and P(Y > x) for Y ~ Beta(one, zero), 0 < x < 1 and rest = 1 − x.

    To full absolute precision. Where (a + b)x < 2 the first concentration is raised by eight
    first, where (a + b)(1 − x) < 2 the second.

    Source: Abramowitz & Stegun (1964), eqs. 26.5.15 and 26.5.16.
    """
    return _not_compiled(_raised_beta_tails)(*torch.broadcast_tensors(one, zero, x, rest))


def _raised_beta_tails(one: Tensor, zero: Tensor, x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    one, more_below = _raised(one, zero, x, rest)
    zero, more_above = _raised(zero, one, rest, x)
    below, above = _beta_tails(one, zero, x, rest)
    more = more_below - more_above
    return below + more, above - more


def _raised(a: Tensor, b: Tensor, x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """a + 8 where it is to be raised, and what P(Y < x) then lacks."""
    raised = (a + b) * x < 2
    term = _log_logit_density(a, b, x, rest).exp() / a
    more = torch.zeros_like(term)
    for k in range(1, _RAISE + 1):
        more, term = more + term, term * x * ((a + b + k - 1) / (a + k))
    return torch.where(raised, a + _RAISE, a), torch.where(raised, more, 0.0)


def _beta_tails(one: Tensor, zero: Tensor, x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """The logit's density falls to the left by a u + (a + b) log(1 − x + x e⁻ᵘ); its right is the
    left of 1 − Y.
    """
    left = x * (one + zero) < one
    a, b = torch.where(left, one, zero), torch.where(left, zero, one)
    t, r = torch.where(left, x, rest), torch.where(left, rest, x)
    low = t < 0.5
    gentle = _tail(_logit_drop, *_where(low, (a, b, t), (2.0, 2.0, 0.25)))
    steep = _tail(_steep_logit_drop, *_where(~low, (a, b, t, r), (7.0, 2.0, 0.75, 0.25)))
    density = _log_logit_density(one, zero, x, rest).exp()
    return _both(left, density * torch.where(low, gentle, steep))


def _log_logit_density(one: Tensor, zero: Tensor, x: Tensor, rest: Tensor) -> Tensor:
    """log of xᵃ(1 − x)ᵇ/B(a, b): what is large in log B is a divergence of shares."""
    total = one + zero
    d, e = log_ratio(one / total, x), log_ratio(zero / total, rest)
    apart = exp_remainder(one / total, x, d) + exp_remainder(zero / total, rest, e)
    peak = 0.5 * (one / total * zero / (2 * math.pi)).log()
    return peak - total * apart + binet(total) - binet(one) - binet(zero)


def _logit_drop(u: Tensor, a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """(a − s x)u + s(x(e⁻ᵘ − 1 + u) − (w − log(1 + w))), w = x(e⁻ᵘ − 1), s = a + b."""
    total, one = a + b, torch.ones_like(x * u)
    w = x * expm1(-u)
    bend = x * exp_remainder(one, (-u).exp(), -u) - rate_divergence(1 + w, one, w)
    return (a - total * x) * u + total * bend


def _steep_logit_drop(u: Tensor, a: Tensor, b: Tensor, x: Tensor, rest: Tensor) -> Tensor:
    """The same with log(1 − x + x e⁻ᵘ) = log(1 + (1 − x)(eᵘ − 1)) − u, while (1 − x)eᵘ < 1."""
    total, one = a + b, torch.ones_like(x * u)
    near = u < -rest.log()
    v = torch.where(near, u, 0.0)
    w = rest * expm1(v)
    bend = rest * exp_remainder(one, v.exp(), v) - rate_divergence(1 + w, one, w)
    close = (total * rest - b) * v + total * bend
    return torch.where(near, close, a * u + total * (rest + x * (-u).exp()).log())


def _where(
    condition: Tensor, values: tuple[Tensor, ...], others: tuple[float, ...]
) -> list[Tensor]:
    return [torch.where(condition, x, y) for x, y in zip(values, others, strict=True)]


def _both(left: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(left, tail, 1 - tail), torch.where(left, 1 - tail, tail)


def _tail(drop: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """∫ e^(−drop(u)) du over u > 0, for a convex drop that rises from 0."""
    reach = _reach(drop, [x.detach() for x in parameters])
    nodes, weights = reach.new_tensor(_NODES), reach.new_tensor(_WEIGHTS)
    fall = (-drop(reach[..., None] * nodes, *(x[..., None] for x in parameters))).exp()
    return reach * (fall * weights).sum(-1)


def _reach(drop: Callable[..., Tensor], parameters: list[Tensor]) -> Tensor:
    """Where the drop is about 40: it need not be exact, and has no derivative of its own."""
    low = torch.full_like(parameters[0], -80.0)
    high = torch.full_like(low, 80.0)
    for _ in range(14):
        middle = 0.5 * (low + high)
        beyond = drop(middle.exp(), *parameters) > _DEEP
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return high.exp()
