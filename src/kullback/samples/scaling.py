"""One affine map for both sides, so that no column rules the distances by its unit.

A map that both sides share leaves every divergence as it is. A map for each side by itself is
right too, with the difference of the log-determinants, but then the balls around a draw have
another shape for P than for Q, and what is wrong with the two densities no longer cancels in
their ratio. So the map is shared.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from kullback.errors import InputError

__all__ = ["SCALES", "Scale", "Scaled", "scaled"]

Scale = Literal["whiten", "standardize"] | None
SCALES = ("whiten", "standardize", None)

# A direction whose share of the deviation is this small is rounding, not spread.
_FLAT = 1e-12


class Scaled(NamedTuple):
    """Both sides after the map, and the log of |det| of the map back."""

    x: np.ndarray
    y: np.ndarray
    log_unit: float


def scaled(x: np.ndarray, y: np.ndarray, scale: Scale) -> Scaled:
    """Draws [n, d] and [m, d], mapped by the mean of the two sides' covariances.

    Raises `InputError` for a side whose draws lie in a plane of fewer dimensions: it has no
    density there.
    """
    covariances = [np.atleast_2d(np.cov(side, rowvar=False)) for side in (x, y)]
    together = 0.5 * (covariances[0] + covariances[1])
    deviations = np.sqrt(np.diag(together))
    for covariance, name in zip(covariances, ("x (P)", "y (Q)"), strict=True):
        _check_spread(covariance, deviations, name)
    if scale is None:
        return Scaled(x, y, 0.0)
    if scale == "standardize":
        return Scaled(x / deviations, y / deviations, float(np.log(deviations).sum()))
    # Of correlations, so that the columns' units leave the factor's accuracy alone.
    factor = np.linalg.cholesky(together / np.outer(deviations, deviations))
    inverse = np.linalg.inv(factor).T
    log_unit = np.log(deviations).sum() + np.log(np.diag(factor)).sum()
    return Scaled((x / deviations) @ inverse, (y / deviations) @ inverse, float(log_unit))


def _check_spread(covariance: np.ndarray, deviations: np.ndarray, name: str) -> None:
    still = np.flatnonzero(np.diag(covariance) == 0)
    if len(still):
        raise InputError(
            f"numeric column {still[0]} of {name} is constant, and nearest neighbours need a "
            "density: leave the column out where it is constant on both sides; where only on "
            "one, the two distributions are apart and KL is infinite one way"
        )
    roots = np.linalg.eigvalsh(covariance / np.outer(deviations, deviations))
    if roots[0] <= _FLAT * roots[-1]:
        raise InputError(
            f"the columns of {name} depend on each other linearly (smallest root of the "
            f"covariance {roots[0]:.1g}, largest {roots[-1]:.1g}), and nearest neighbours need a "
            "density: leave out columns that others determine"
        )
