"""The triangular factor of a covariance, wide, from the matrix that the distribution was made of.

torch factors a covariance or precision matrix in the dtype it comes in, which costs a float32
matrix more digits than a small divergence has; here that is done again, wide.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kullback.distributions.parameters import is_traced, wide
from kullback.numerics import accumulation_dtype

__all__ = ["scale_factor"]

_MATRICES = "covariance_matrix", "precision_matrix", "scale_tril"
_KEPT = "_unbroadcasted_scale_tril"


def scale_factor(p: Any) -> Tensor:
    """The lower Cholesky factor of a MultivariateNormal or Wishart, of its unbroadcast shape."""
    kept = getattr(p, _KEPT)
    name = _given_matrix(p)
    if name == "scale_tril" or kept.dtype == accumulation_dtype(kept):
        return wide(kept)[0]
    matrix = wide(_unbroadcast(getattr(p, name), kept.shape))[0]
    if name == "covariance_matrix":
        factor, failed = torch.linalg.cholesky_ex(matrix)
    else:
        turned, failed = torch.linalg.cholesky_ex(matrix.flip((-2, -1)))
        identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        inverse = turned.flip((-2, -1)).mT
        factor = torch.linalg.solve_triangular(inverse, identity, upper=False)
    # A matrix can be positive definite in float32's arithmetic only: torch's factor stands then.
    if is_traced(failed):
        return torch.where((failed == 0)[..., None, None], factor, wide(kept)[0])
    return wide(kept)[0] if bool(failed.any()) else factor


def _given_matrix(p: Any) -> str:
    """Which matrix the distribution was made from; it keeps the others too, once asked for them."""
    names = [name for name in vars(p) if name in (*_MATRICES, _KEPT)]
    if names[0] != _KEPT:
        return names[0]
    # `expand` sets the factor first, then every matrix there was.
    return names[1] if len(names) == 2 else "scale_tril"


def _unbroadcast(matrix: Tensor, shape: torch.Size) -> Tensor:
    """One copy of each matrix of a batch that was expanded from `shape`."""
    for _ in range(matrix.dim() - len(shape)):
        matrix = matrix[0]
    for dim, size in enumerate(shape[:-2]):
        if size == 1:
            matrix = matrix.narrow(dim, 0, 1)
    return matrix
