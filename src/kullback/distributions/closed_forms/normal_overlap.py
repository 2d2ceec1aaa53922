"""Total variation of two Normals: their masses between the points where the densities cross.

In units of the narrower one, which is N(0, 1), the wider is N(δ, r²), δ ≥ 0, r ≥ 1, and they
cross on either side of 0. What the narrower has more between the crossings is two intervals of
its own mass, both of positive length, so that nothing cancels where the two are nearly equal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal

from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.elementary import magnitude
from kullback.numerics.normal_interval import normal_mass

__all__: list[str] = []

# Beyond as many standard deviations both densities are 0 in float64.
_NOWHERE = 60.0


@closed_form("total_variation", Normal, Normal, source="Nielsen (2014), section 4.2, in erf")
def _total_variation(p: Normal, q: Normal) -> Tensor:
    """With s = √(δ² + 2(r² − 1) log r) the crossings are t = (δ² + 2r² log r)/(δ + rs) ≥ 0 and
    −(δ + rs)/(r² − 1); of the wider, in its own units, they are (t − δ)/r.
    """
    loc_p, scale_p, loc_q, scale_q = wide(p.loc, p.scale, q.loc, q.scale)
    wider = scale_p >= scale_q
    narrow = torch.where(wider, scale_q, scale_p)
    delta = magnitude(loc_p - loc_q) / narrow
    growth = torch.where(wider, scale_p - scale_q, scale_q - scale_p) / narrow
    equal = (delta == 0) & (growth == 0)
    delta = torch.where(equal, 1.0, delta)
    ratio, log_ratio = 1 + growth, growth.log1p()
    excess = 2 * growth * (ratio + 1) * log_ratio
    root = (delta * delta + excess).sqrt()
    reach = delta + ratio * root
    right = (delta * delta + 2 * ratio * ratio * log_ratio) / reach
    right_length = (right * growth + delta) / ratio
    square_less_one = growth * (ratio + 1)
    far = reach >= _NOWHERE * square_less_one
    left = -torch.where(far, _NOWHERE, reach / torch.where(far, 1.0, square_less_one))
    left_length = excess / ((ratio + 1) * (root + delta))
    left_length = torch.where(far, 0.0, left_length)
    value = normal_mass(right - right_length, right_length) + normal_mass(left, left_length)
    return torch.where(equal, 0.0, value)
