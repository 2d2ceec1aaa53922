"""Convex functions less their tangents: what closed forms are made of, never negative.

The divergence of two members of an exponential family is the Bregman divergence of its
log-normaliser, a small difference of large numbers when the two are nearly equal. Here each such
difference is rewritten as a sum of terms that cannot be negative and vanish only at equality.

| function | value | the divergence it is |
| --- | --- | --- |
| `itakura_saito(y, x)` | y/x − log(y/x) − 1 | of two scales |
| `scale_divergence(y, x)` | (y²/x² − 1)/2 − log(y/x) | of two standard deviations |
| `generalized_kl(y, x)` | y log(y/x) − y + x | of two rates |
| `lgamma_bregman(y, x)` | lgamma(y) − lgamma(x) − digamma(x)(y − x) | of two shapes |
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from kullback.numerics.fused import fused
from kullback.numerics.pairs import accumulation_dtype, exp_remainder, log_ratio

__all__ = ["generalized_kl", "itakura_saito", "lgamma_bregman", "scale_divergence"]

# How far Stirling's series is shifted; from 8 on, its terms below reach the last bit of float64.
_SHIFT = 8
# Coefficients of x⁻¹, x⁻³, x⁻⁵, … in lgamma(x) − (x − ½) log x + x − ½ log 2π.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def itakura_saito(y: Tensor, x: Tensor) -> Tensor:
    """y/x − log(y/x) − 1 ≥ 0 for y ≥ 0 and x > 0, zero only for y = x.

    Source: Itakura & Saito (1968); Févotte et al. (2009), eq. 9.
    """
    return fused("itakura_saito", _itakura_saito, (y, x))


def scale_divergence(y: Tensor, x: Tensor) -> Tensor:
    """(y²/x² − 1)/2 − log(y/x) ≥ 0 for y ≥ 0 and x > 0, in float64 for float32 y and x too.

    Distinct float32 numbers differ by 6e-8 at least, so that in float64 the value, then 3.6e-15
    or more, keeps its sign as written, and six digits from 1e-9 on. float64 numbers need care.

    Source: Cover & Thomas (2006), eq. 8.46, of N(0, y²) from N(0, x²).
    """
    wide = accumulation_dtype(y)
    if y.dtype == x.dtype == wide:
        u = (y - x) / x
        return 0.5 * u * u + itakura_saito(y, x)
    ratio = y.to(wide) / x.to(wide)
    return 0.5 * (ratio * ratio - 1) - ratio.log()


def generalized_kl(y: Tensor, x: Tensor) -> Tensor:
    """y log(y/x) − y + x ≥ 0 for y, x ≥ 0, zero only for y = x, +inf for y > 0 = x.

    Source: Csiszár (1991), Why Least Squares and Maximum Entropy?, eq. 1.3.
    """
    return fused("poisson", _generalized_kl, (y, x))


def lgamma_bregman(y: Tensor, x: Tensor) -> Tensor:
    """lgamma(y) − lgamma(x) − digamma(x)·(y − x) ≥ 0 for positive x and y.

    | where | value |
    | --- | --- |
    | |y − x| < x/4 | a sum of terms ≥ 0 in (y − x)², from the recurrence and Stirling's series |
    | elsewhere | as written, which loses at most a factor 40·log x of the relative precision |

    Source: Abramowitz & Stegun (1964), eqs. 6.1.15 and 6.1.40.
    """
    y, x = torch.broadcast_tensors(y, x)
    near = (y - x).abs() < 0.25 * x
    if _is_traced(near):
        close = _near_lgamma_bregman(torch.where(near, y, x), x)
        return torch.where(near, close, _far_lgamma_bregman(torch.where(near, 2 * x, y), x))
    if not bool(near.any()):
        return _far_lgamma_bregman(y, x)
    if bool(near.all()):
        return _near_lgamma_bregman(y, x)
    value = _far_lgamma_bregman(torch.where(near, 2 * x, y), x)
    return value.masked_scatter(near, _near_lgamma_bregman(y[near], x[near]))


def _itakura_saito(y: Tensor, x: Tensor) -> Tensor:
    return _log_remainder((y - x) / x, y, x)


def _generalized_kl(y: Tensor, x: Tensor) -> Tensor:
    return exp_remainder(y, x, log_ratio(y, x))


def _is_traced(x: Tensor) -> bool:
    """Whether values cannot be looked at: under `torch.compile` or a `torch.func` transform."""
    return torch.compiler.is_compiling() or is_functorch_wrapped_tensor(x)


def _far_lgamma_bregman(y: Tensor, x: Tensor) -> Tensor:
    return torch.lgamma(y) - torch.lgamma(x) - torch.digamma(x) * (y - x)


def _near_lgamma_bregman(y: Tensor, x: Tensor) -> Tensor:
    """Σ_k<8 [u_k − log(1 + u_k)], u_k = (y − x)/(x + k), and the same function of y + 8, x + 8.

    There Stirling's series leaves `generalized_kl`, half of `itakura_saito`, and a rest with the
    factor (y − x)²/(xy). The difference y − x is taken once, before a shift could round it.
    """
    step = y - x
    recurrence = torch.zeros_like(step)
    for k in range(_SHIFT):
        recurrence = recurrence + _log_remainder_series(step / (x + k))
    x, y = x + _SHIFT, y + _SHIFT
    u = step / x
    main = exp_remainder(y, x, -u.log1p()) + 0.5 * _log_remainder_series(u)
    return recurrence + main + u * (step / y) * _stirling_rest(x, x / y)


def _log_remainder(u: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """u − log(1 + u) ≥ 0 for u = (y − x)/x: by its series near 0, else u − (log y − log x)."""
    near = u.abs() < 0.25
    far = u - torch.where(near, 0.0, y.log() - x.log())
    return torch.where(near, _log_remainder_series(torch.where(near, u, 0.0)), far)


def _log_remainder_series(u: Tensor) -> Tensor:
    """u − log(1 + u) for |u| ≤ 1/4: u·s − 2(atanh s − s) with s = u/(2 + u)."""
    s = u / (2 + u)
    square = s * s
    terms = 9 if u.dtype == torch.float64 else 4
    series = torch.full_like(s, 1 / (2 * terms + 1))
    for n in range(terms - 1, 0, -1):
        series = series * square + 1 / (2 * n + 1)
    return u * s - 2 * s * square * series


def _stirling_rest(x: Tensor, v: Tensor) -> Tensor:
    """Σ c_m x⁻ᵐ (vᵐ − 1 + m u)/(u² v) for v = 1/(1 + u): the polynomial Σ_j j v^(m−j) each."""
    inverse_square = 1 / (x * x)
    power, polynomial, total = 1 / x, torch.ones_like(v), torch.zeros_like(v)
    degree = 1
    for coefficient in _STIRLING:
        total = total + coefficient * power * polynomial
        power = power * inverse_square
        polynomial = (polynomial * v + degree + 1) * v + degree + 2
        degree += 2
    return total
