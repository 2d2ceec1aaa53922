"""Where to, and how far: the natural gradient, as far as the KL's quadratic expansion allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kullback.errors import NonFiniteError
from kullback.training.trust_region.closures import Closure, distance_from_itself, objective
from kullback.training.trust_region.conjugate_gradient import conjugate_gradient
from kullback.training.trust_region.fisher import fisher_product
from kullback.training.trust_region.options import Options
from kullback.training.trust_region.parameters import Parameters

__all__ = ["Direction", "find_direction"]

# The whole step ends just within the bound: on it, where the KL is a quadratic (a Gaussian of fixed
# variance), rounding would choose. float32 rounds a KL by less.
_WITHIN = 0.9999


@dataclass(frozen=True)
class Direction:
    """A full step, and what it took to find; or why there is none.

    Attributes:
        surrogate: the objective before the step.
        full: the step, as a vector; empty where there is none.
        promise: what the objective rises by along it, to first order.
        kl: what the KL rises to along it, to second order.
        rounding: the size of what was measured as KL before the step, where it is 0.
        trouble: why there is none, in words; None where there is one.
        gradient_norm, cg_iterations, cg_residual: as in `TrustRegionStep`.
    """

    surrogate: float
    full: Tensor
    promise: float
    kl: float
    rounding: float
    trouble: str | None
    gradient_norm: float = 0.0
    cg_iterations: int = 0
    cg_residual: float = 0.0


def find_direction(
    surrogate: Closure, kl: Closure, parameters: Parameters, options: Options
) -> Direction:
    """β s with (F + damping) s = ∇surrogate, and ½ β² sᵀF s just below max_kl.

    With `damped_length` it is F + damping there too.

    Raises:
        InputError, ShapeError, NonFiniteError: closures that give nothing to go by.
    """
    with torch.enable_grad():
        value = objective(surrogate)
        before = float(value.detach())
        gradient = parameters.gradient(value)
        _check_gradient(gradient, parameters)
        # By its largest entry first: squares of small float32 numbers underflow.
        largest = float(gradient.abs().max())
        if largest == 0:
            return _none(before, "the surrogate's gradient is 0: there is no direction")
        start = distance_from_itself(kl, options.max_kl)
        product = fisher_product(start, parameters)
    unit = gradient / largest
    norm = float(unit.norm())
    found = conjugate_gradient(
        lambda v: product(v).add_(v, alpha=options.damping),
        unit,
        iterations=options.cg_iterations,
        tolerance=options.cg_tolerance,
    )
    image = product(found.x)
    damped = image + options.damping * found.x
    curvature = float(found.x.dot(damped if options.damped_length else image))
    work: dict[str, Any] = {
        "gradient_norm": largest * norm,
        "cg_iterations": found.iterations,
        "cg_residual": float((unit - damped).norm()) / norm,
    }
    if not curvature > 0:
        return _none(before, _uncurved(curvature, found.curvature), **work)
    full = found.x * math.sqrt(2 * _WITHIN * options.max_kl / curvature)
    kl_ahead = _WITHIN * options.max_kl * float(found.x.dot(image)) / curvature
    promise, rounding = largest * float(unit.dot(full)), abs(float(start.detach()))
    return Direction(before, full, promise, kl_ahead, rounding, None, **work)


def _uncurved(curvature: float, last: float) -> str:
    if last < 0:
        return (
            f"the KL falls away from equal policies (vᵀFv = {last:.4g} of a unit vector v), as no "
            "KL does: look for its sign in kl()"
        )
    return (
        f"the KL has no curvature along the step s (sᵀFs = {curvature:.4g}), so no length of it "
        "meets max_kl: look whether kl() depends on the parameters that surrogate() does, and "
        "whether damping is above 0"
    )


def _none(before: float, trouble: str, **work: Any) -> Direction:
    return Direction(before, torch.zeros(0), 0.0, 0.0, 0.0, trouble, **work)


def _check_gradient(gradient: Tensor, parameters: Parameters) -> None:
    if bool(gradient.isfinite().all()):
        return
    wrong = [
        place
        for place, part in enumerate(parameters.split(gradient))
        if not bool(part.isfinite().all())
    ]
    raise NonFiniteError(
        f"the gradient of surrogate() is NaN or infinite in parameter {wrong[0]}, of shape "
        f"{tuple(parameters.tensors[wrong[0]].shape)} ({len(wrong)} of "
        f"{len(parameters.tensors)} are): look for 0·inf in its backward"
    )
