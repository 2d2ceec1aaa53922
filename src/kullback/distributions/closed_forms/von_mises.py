"""Von Mises: an exponential family on the circle, with log I₀ of the concentration.

An angle lies in [−π, π], one turn, so that Uniform distributions on the circle are within reach.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Uniform, VonMises

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.bessel import bessel_ratio, log_i0, log_i0_bregman, log_i0_intercept
from kullback.numerics.elementary import length

__all__: list[str] = []


@closed_form("kl", VonMises, VonMises, source="Mardia & Jupp (2000), eqs. 3.5.18 and 3.5.31")
def _kl(p: VonMises, q: VonMises) -> Tensor:
    """The tangent's remainder of log I₀ from κ to κ′, and κ′ A(κ)(1 − cos(μ − μ′))."""
    loc_p, kappa_p, loc_q, kappa_q = _parameters(p, q)
    turned = 2 * (0.5 * (loc_p - loc_q)).sin() ** 2
    return log_i0_bregman(kappa_q, kappa_p) + kappa_q * bessel_ratio(kappa_p) * turned


def _parameters(p: VonMises, q: VonMises) -> tuple[Tensor, ...]:
    return wide(p.loc, p.concentration, q.loc, q.concentration)


@closed_form("renyi", VonMises, VonMises, source="Gil (2011), section 2.3.15")
def _renyi(p: VonMises, q: VonMises, alpha: float) -> Tensor:
    """By the divergences from the mixture M, whose vector is α κ e^{iμ} + (1 − α) κ′ e^{iμ′}.

    It is (α KL(M‖P) + (1 − α) KL(M‖Q))/(1 − α) for α < 1 and KL(P‖Q) + KL(P‖M)/(α − 1) above:
    van Erven & Harremoës (2014), theorem 30.
    """
    loc_p, kappa_p, loc_q, kappa_q = _parameters(p, q)
    angle = loc_q - loc_p
    # The plane is turned so that P's vector is (κ, 0); Q's is (along, across) away from it.
    across = kappa_q * angle.sin()
    along = kappa_q - kappa_p - 2 * kappa_q * (0.5 * angle).sin() ** 2
    x, y = (1 - alpha) * along, (1 - alpha) * across
    reach = length(kappa_p + x, y) + kappa_p
    # The length of M's vector, as its difference from κ, which vanishes with the angle.
    mixed = kappa_p + (x * (2 * kappa_p + x) + y * y) / torch.where(reach == 0, 1.0, reach)
    apart_p = _apart(kappa_p * (kappa_p + x), kappa_p * y)
    dot_q = (kappa_p + x) * (kappa_p + along) + y * across
    apart_q = _apart(dot_q, alpha * kappa_p * across)
    if alpha < 1:
        share = _ratio_over(mixed)
        of_p = log_i0_bregman(kappa_p, mixed) + share * apart_p
        return alpha / (1 - alpha) * of_p + log_i0_bregman(kappa_q, mixed) + share * apart_q
    of_mixed = log_i0_bregman(mixed, kappa_p) + _ratio_over(kappa_p) * apart_p
    return _kl(p, q) + of_mixed / (alpha - 1)


def _apart(dot: Tensor, cross: Tensor) -> Tensor:
    """|v||w| − v·w ≥ 0 of two vectors, from v·w and v × w."""
    size = length(dot, cross)
    ahead = dot > 0
    return torch.where(ahead, cross * cross / torch.where(ahead, size + dot, 1.0), size - dot)


def _ratio_over(kappa: Tensor) -> Tensor:
    """A(κ)/κ, which is ½ at 0."""
    zero = kappa == 0
    return torch.where(zero, 0.5, bessel_ratio(kappa) / torch.where(zero, 1.0, kappa))


@closed_form("kl", VonMises, Uniform, source="Mardia & Jupp (2000), section 3.5.4")
def _kl_uniform(p: VonMises, q: Uniform) -> Tensor:
    """The loss of entropy within one turn, and log of Q's length in turns; +inf for less of it."""
    (kappa,) = wide(p.concentration)
    low, high = _ends(q)
    covered = (low <= -math.pi) & (high >= math.pi)
    turns = torch.where(covered, (high - low) / (2 * math.pi), 1.0)
    value = log_i0_bregman(torch.zeros_like(kappa), kappa) + turns.log()
    return torch.where(covered, value, torch.inf)


@closed_form("kl", Uniform, VonMises, source="direct integration")
def _kl_of_uniform(p: Uniform, q: VonMises) -> Tensor:
    """log I₀(κ) − κ E cos(x − μ) − log of P's length in turns; +inf beyond one turn."""
    loc, kappa = wide(q.loc, q.concentration)
    low, high = _ends(p)
    covered = (low >= -math.pi) & (high <= math.pi)
    half = torch.where(covered, 0.5 * (high - low), 1.0)
    middle = torch.where(covered, 0.5 * (high + low), 0.0) - loc
    cosine = middle.cos() * half.sin() / half
    value = log_i0(kappa) - kappa * cosine - (half / math.pi).log()
    return torch.where(covered, value, torch.inf)


def _ends(uniform: Uniform) -> tuple[Tensor, Tensor]:
    """The ends, wide; one that is ±π in the dtype it came in is ±π, however that rounds it."""
    ends = []
    for end in (uniform.low, uniform.high):
        half_turn = torch.tensor(math.pi, dtype=end.dtype, device=end.device)
        (value,) = wide(end)
        value = torch.where(end == half_turn, math.pi, value)
        ends.append(torch.where(end == -half_turn, -math.pi, value))
    return ends[0], ends[1]


@closed_form("entropy", VonMises, source="Mardia & Jupp (2000), eq. 3.5.31")
def _entropy(p: VonMises) -> Tensor:
    (kappa,) = wide(p.concentration)
    return math.log(2 * math.pi) + log_i0_intercept(kappa)
