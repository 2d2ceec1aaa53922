"""A x = b for a matrix that is only ever multiplied by: Hestenes' and Stiefel's method.

After n products the answer is the best in the span of b, Ab, …, Aⁿ⁻¹b, in the norm of A; ten of
them are far fewer than a Fisher matrix has rows, and find most of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kullback.errors import NonFiniteError

__all__ = ["Solution", "conjugate_gradient"]


@dataclass(frozen=True)
class Solution:
    """What the iterations came to.

    Attributes:
        x: the answer; 0 where the first direction has no curvature.
        iterations: the products of A that were used for it; they end early at vᵀAv ≤ 0.
        curvature: vᵀAv/vᵀv of the direction that came last.
    """

    x: Tensor
    iterations: int
    curvature: float


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, *, iterations: int, tolerance: float
) -> Solution:
    """x with ‖b − A x‖ ≤ tolerance·‖b‖, or as near as `iterations` products come to it.

    Args:
        product: v ↦ A v, A symmetric and positive semi-definite.
        b: a vector.
        iterations: the most products.
        tolerance: where to stop before; for the residual as the method updates it.

    Raises:
        NonFiniteError: a product that is NaN or infinite.

    Source: Hestenes & Stiefel (1952), Methods of conjugate gradients, eq. 3:1.

    Example:
        >>> A = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> found = conjugate_gradient(A.mv, A.sum(1), iterations=2, tolerance=0)
        >>> found.x.round(decimals=6), found.iterations
        (tensor([1., 1.]), 2)
    """
    x = torch.zeros_like(b)
    residual, direction = b.clone(), b.clone()
    size = float(residual.dot(residual))
    goal = tolerance**2 * size
    done, bend = 0, 0.0
    while done < iterations and goal < size < math.inf:
        image = product(direction)
        curvature = float(direction.dot(image))
        if not math.isfinite(curvature):
            raise NonFiniteError(
                f"product {done + 1} of the KL's second derivative with a direction v gives "
                f"vᵀFv = {curvature}: look in kl() for a function whose second derivative is not "
                "finite where old and new policy are equal, such as sqrt or abs"
            )
        bend = curvature / float(direction.dot(direction))
        if curvature <= 0:
            break
        length = size / curvature
        x.add_(direction, alpha=length)
        residual.sub_(image, alpha=length)
        before, size = size, float(residual.dot(residual))
        direction.mul_(size / before).add_(residual)
        done += 1
    return Solution(x, done, bend)
