"""Smoothing: an explicit mixture with the uniform distribution, never applied unasked.

Both kinds replace p by (1 − λ)·p + λ/V over V events. `("uniform", λ)` names λ itself;
`("additive", ε)` adds ε to every event and renormalises, which is λ = Vε/(1 + Vε). Applied to
both sides, any f-divergence can only shrink, D(p′‖q′) ≤ (1 − λ)·D(p‖q) by joint convexity, and
KL becomes finite: KL(p′‖q′) ≤ log(1 + V(1 − λ)/λ).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kullback.errors import InputError
from kullback.numerics import Space, compute_dtype, probabilities
from kullback.tensors.guard import checked

__all__ = ["Smoothing", "smooth"]

Smoothing = tuple[Literal["additive", "uniform"], float]


def smooth(x: Tensor, space: Space, smoothing: Smoothing, side: str, validate: bool) -> Tensor:
    """The smoothed probabilities of `x`, events last."""
    weight = _uniform_weight(smoothing, x.shape[-1])
    if validate:
        x = checked(x, space, side)
    return (1 - weight) * probabilities(x.to(compute_dtype(x)), space) + weight / x.shape[-1]


def _uniform_weight(smoothing: Smoothing, events: int) -> float:
    match smoothing:
        case ("additive", amount) if amount >= 0:
            return events * amount / (1 + events * amount)
        case ("uniform", weight) if 0 <= weight <= 1:
            return weight
    raise InputError(
        f"smoothing={smoothing!r}: give ('additive', ε) with ε ≥ 0, the amount added to every "
        "event's probability, or ('uniform', λ) with 0 ≤ λ ≤ 1, the weight of the uniform mixture"
    )
