"""Kumaraswamy: Xᵃ is Beta(1, b), and −log(1 − Xᵃ) is Exponential(b).

Two of them have a divergence in closed form when they share the power a, or when Q is a power of
a uniform variable (b = 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Beta, Kumaraswamy, Uniform

from kullback.distributions.closed_forms.gumbel import EULER_GAMMA
from kullback.distributions.closed_forms.shared.geometric_mean import renyi_of_rates
from kullback.distributions.dispatch import closed_form, only_where
from kullback.distributions.parameters import wide
from kullback.numerics.pairs import log_ratio
from kullback.numerics.special import itakura_saito

__all__ = ["harmonic"]

_SOURCE = "Jones (2009), Kumaraswamy's distribution, section 3"


def harmonic(x: Tensor) -> Tensor:
    """H_x = digamma(x + 1) + γ: −E log(1 − U^(1/x)) of a uniform U, and −a E log X where b = x."""
    return torch.digamma(x + 1) + EULER_GAMMA


@closed_form("kl", Kumaraswamy, Kumaraswamy, source=_SOURCE)
def _kl(p: Kumaraswamy, q: Kumaraswamy) -> Tensor:
    """That of the rates b and b′ for one power; to a power of a uniform variable elsewhere."""
    a_p, b_p, a_q, b_q = wide(
        p.concentration1, p.concentration0, q.concentration1, q.concentration0
    )
    same = a_p == a_q
    value = torch.where(same, itakura_saito(b_q, b_p), _to_power(a_p, b_p, a_q))
    return only_where(same | (b_q == 1), value, "it is exact for equal concentration1 = a")


def _to_power(a: Tensor, b: Tensor, power: Tensor) -> Tensor:
    """KL(Kumaraswamy(a, b)‖Kumaraswamy(power, 1)): of the powers, of b from 1, and between."""
    step = (power - a) / a
    of_b = itakura_saito(torch.ones_like(b), b)
    return itakura_saito(power, a) + step * (harmonic(b) - 1) + of_b


@closed_form("renyi", Kumaraswamy, Kumaraswamy, source=_SOURCE)
def _renyi(p: Kumaraswamy, q: Kumaraswamy, alpha: float) -> Tensor:
    """That of the rates b and b′, for one power."""
    a_p, b_p, a_q, b_q = wide(
        p.concentration1, p.concentration0, q.concentration1, q.concentration0
    )
    value = renyi_of_rates(log_ratio(b_q, b_p), alpha)
    return only_where(a_p == a_q, value, "it is exact for equal concentration1 = a")


@closed_form("entropy", Kumaraswamy, source=_SOURCE)
def _entropy(p: Kumaraswamy) -> Tensor:
    return -_loss(p)


def _loss(p: Kumaraswamy) -> Tensor:
    """KL(P‖Uniform(0, 1))."""
    a, b = wide(p.concentration1, p.concentration0)
    return _to_power(a, b, torch.ones_like(a))


@closed_form("kl", Kumaraswamy, Uniform, source=_SOURCE)
def _kl_uniform(p: Kumaraswamy, q: Uniform) -> Tensor:
    """−H(P) + log(high − low); +inf where Q does not cover the unit interval."""
    low, high = wide(q.low, q.high)
    covered = (low <= 0) & (high >= 1)
    length = torch.where(covered, high - low, 1.0)
    return torch.where(covered, _loss(p) + length.log(), torch.inf)


@closed_form("kl", Kumaraswamy, Beta, source=_SOURCE)
def _kl_beta(p: Kumaraswamy, q: Beta) -> Tensor:
    """Where Q is a power of a uniform variable, or P is Beta(1, b)."""
    from kullback.distributions.answers import kl_in_full

    a, b, one, zero = wide(p.concentration1, p.concentration0, q.concentration1, q.concentration0)
    to_power = _to_power(a, b, one)
    of_beta = kl_in_full(Beta(torch.ones_like(b), b, validate_args=False), q)
    value = torch.where(zero == 1, to_power, of_beta)
    return only_where(
        (zero == 1) | (a == 1), value, "it is exact for concentration1 = 1 in P or 0 = 1 in Q"
    )


@closed_form("kl", Beta, Kumaraswamy, source=_SOURCE)
def _kl_of_beta(p: Beta, q: Kumaraswamy) -> Tensor:
    """Where P is a power of a uniform variable, or Q is a Beta distribution."""
    from kullback.distributions.answers import kl_in_full

    one, zero, a, b = wide(p.concentration1, p.concentration0, q.concentration1, q.concentration0)
    q_is_beta = (a == 1) | (b == 1)
    as_beta = Beta(torch.where(b == 1, a, 1.0), b, validate_args=False)
    to_beta = kl_in_full(p, as_beta)
    # For X = U^(1/one), E log X = −1/one and E log(1 − Xᵃ) = −H_(one/a).
    of_power = itakura_saito(a, one) - b.log() + (b - 1) * harmonic(one / a)
    value = torch.where(q_is_beta, to_beta, of_power)
    return only_where(
        q_is_beta | (zero == 1), value, "it is exact where P is a power, or Q is a Beta"
    )
