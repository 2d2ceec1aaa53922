"""A truncated Normal from another Normal, truncated or not: by two moments, or by its integral.

The moments' formula is a difference of numbers of order 1 and more. Where the two densities are
within a factor e^0.3 of each other it has nothing left, and the integral of p (eᵈ − 1 − d), with
d = log(q/p) a quadratic polynomial, has all digits and its sign.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from kullback.distributions.parameters import wide
from kullback.distributions.quadrature.interval_mass import standardized
from kullback.distributions.truncated import Truncated
from kullback.numerics.normal_interval import log_normal_mass, normal_moments
from kullback.numerics.pairs import exp_remainder, expm1, log_ratio

__all__ = ["kl_of_truncated_normal"]

_ROOTS, _GAUSS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = ((_ROOTS + 1) / 2).tolist(), (_GAUSS / 2).tolist()
_CLOSE = 0.3
# P's density is followed until it has fallen to e⁻⁴⁰ of its largest value.
_DEEP = 40.0


def kl_of_truncated_normal(p: Truncated, base_p: Normal, q: Normal, log_mass_q: Tensor) -> Tensor:
    """KL of a truncated `base_p` from `q` cut to where its mass is e^`log_mass_q`, P within.

    With r = σ/τ, a = (μ − ν)/τ and masses M, N it is log(N/M) − log r + E z² (r² − 1)/2 + a²/2 +
    a r E z in P's standard units.
    """
    low, high = standardized(base_p, p.low), standardized(base_p, p.high)
    first, second = normal_moments(low, high)
    loc_p, scale_p, loc_q, scale_q = wide(base_p.loc, base_p.scale, q.loc, q.scale)
    shift, ratio = (loc_p - loc_q) / scale_q, scale_p / scale_q
    widening = 0.5 * (scale_p - scale_q) / scale_q * (ratio + 1)
    log_masses = log_mass_q - p.log_mass
    offset = log_ratio(scale_p, scale_q) + log_masses + 0.5 * shift * shift
    linear = shift * ratio
    plain = offset + linear * first + widening * second
    beyond = -expm1(log_normal_mass(standardized(q, p.low), standardized(q, p.high)) - log_mass_q)
    integral, close = _integral(low, high, offset, linear, widening)
    return torch.where(close, integral + beyond, plain)


def _integral(
    low: Tensor, high: Tensor, offset: Tensor, linear: Tensor, widening: Tensor
) -> tuple[Tensor, Tensor]:
    """∫ p (eᵈ − 1 − d) for d = −(offset + linear z + widening z²); and where |d| is small."""
    log_mass = log_normal_mass(low, high)
    mode = torch.minimum(torch.maximum(torch.zeros_like(low), low), high).detach()
    reach = 2 * _DEEP / ((mode * mode + 2 * _DEEP).sqrt() + mode.abs())
    nodes, weights = mode.new_tensor(_NODES), mode.new_tensor(_WEIGHTS)
    total, close = torch.zeros_like(offset), torch.ones_like(offset, dtype=torch.bool)
    for end in (torch.maximum(low, mode - reach), torch.minimum(high, mode + reach)):
        length = (end - mode)[..., None]
        z = mode[..., None] + length * nodes
        d = -(offset[..., None] + (linear[..., None] + widening[..., None] * z) * z)
        close = close & (d.abs() < _CLOSE).all(-1)
        d = torch.where(close[..., None], d, 0.0)
        log_p = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - log_mass[..., None]
        excess = exp_remainder(torch.ones_like(d), d.exp(), d)
        total = total + (log_p.exp() * excess * weights * length.abs()).sum(-1)
    return total, close
