"""D_f(p‖q) for a generator f that a caller writes down.

f is replaced by f(u) − f′(1)(u − 1), which changes no value on normalised rows and makes every
term non-negative; what f does at u = 0 is asked of f itself, and what it does as u → ∞ (an event
that q lacks) must be said by the caller, for no finite number of evaluations can tell.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kullback.errors import InputError
from kullback.numerics import Pair, make_pair, times, total
from kullback.tensors.guard import checked, guarded
from kullback.tensors.inputs import Opened

__all__ = ["generator_divergence"]

Generator = Callable[[Tensor], Tensor]


def generator_divergence(
    opened: Opened, f: Generator, slope_at_infinity: float | None, validate: bool
) -> Tensor:
    """Σ q f(p/q) over the last dimension, differentiable through f."""
    if not torch.compiler.is_compiling():
        _refuse_what_is_no_generator(f)
    p, q = opened.p, opened.q
    if validate:
        p, q = checked(p, opened.space_p, "p"), checked(q, opened.space_q, "q")
    pair = make_pair(p, q, opened.space_p, opened.space_q)
    slope_at_one = torch.func.grad(lambda u: f(u).sum())(torch.ones_like(pair.p[..., :1].sum()))
    value = total(_terms(pair, f, slope_at_one, slope_at_infinity))
    return guarded(value, _refuse_nan) if validate else value


def _terms(
    pair: Pair, f: Generator, slope_at_one: Tensor, slope_at_infinity: float | None
) -> Tensor:
    missing, empty = pair.q == 0, pair.p == 0
    inside = ~missing & ~empty
    ratio = torch.where(inside, torch.exp(-torch.where(inside, pair.d, 0.0)), 1.0)
    ratio = torch.where(empty, 0.0, ratio)
    bregman = f(ratio) - slope_at_one * (ratio - 1)
    if slope_at_infinity is None:
        beyond = torch.full_like(pair.p, torch.nan)
    else:
        beyond = pair.p * (slope_at_infinity - slope_at_one)
    term = torch.where(missing, beyond, times(pair.q, bregman))
    return torch.where(missing & empty, 0.0, term)


def _refuse_what_is_no_generator(f: Generator) -> None:
    """f must be usable at 0, vanish at 1, and lie above its tangent there, as convex f do."""
    probe = torch.cat([torch.tensor([0.0, 1.0]), torch.logspace(-6, 6, 97)]).double()
    values = f(probe)
    if not isinstance(values, Tensor) or values.shape != probe.shape:
        raise InputError("f must be a function of torch operations that keeps the shape of u")
    zero, one = values[:2].tolist()
    if zero != zero:
        raise InputError(
            "f(0) is NaN, but events with p = 0 < q need its limit: write u·log(u) as "
            "torch.xlogy(u, u), and other limits with torch.where"
        )
    if abs(one) > 1e-12:
        raise InputError(
            f"f(1) = {one:.6g}, but a generator must vanish at 1, or D(p‖p) is not 0: pass "
            f"lambda u: f(u) - {one:.6g}"
        )
    slope = torch.func.grad(lambda u: f(u).sum())(probe[1])
    above = values - slope * (probe - 1)
    if bool((above < -1e-9 * (1 + values.abs())).any()):
        at = float(probe[int(above.argmin())])
        raise InputError(
            f"f lies below its tangent at 1 where u = {at:.4g}: only a convex f makes a divergence"
        )


def _refuse_nan(value: Tensor) -> None:
    if bool(value.isnan().any()):
        raise InputError(
            "some event has p > 0 where q = 0, and its term is p·lim f(u)/u as u → ∞: pass that "
            "limit as slope_at_infinity= (inf for KL, 1/2 for total variation), or look for a NaN "
            "that f returns"
        )
