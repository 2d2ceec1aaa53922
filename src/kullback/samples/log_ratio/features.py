"""What a linear model of the log ratio is linear in: from a few draws' columns to a design.

Scales and knots come from both sides together, without a look at which draw is whose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kullback.samples.draws import Draws

__all__ = ["kernel_design", "quadratic_design", "spline_design", "standardized"]

_MOST_PRODUCTS = 40
"""In more columns than this, products of pairs are left out."""
_MOST_LEVELS = 100
_LANDMARKS, _KNOTS = 150, 9


def standardized(rows: Draws, weight: np.ndarray) -> np.ndarray:
    """The columns about their mean over their spread; labels as columns of 0 and 1.

    The most frequent label has none of its own, and neither have those beyond the first hundred.
    """
    largest = np.abs(rows.numbers).max(axis=0, initial=0.0)
    # First to sizes whose squares are numbers.
    x = rows.numbers / np.where(largest > 0, largest, 1.0)
    centre = np.average(x, axis=0, weights=weight) if x.shape[1] else np.zeros(0)
    spread = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=weight)) if x.shape[1] else 1.0
    columns = [(x - centre) / np.where(spread > 0, spread, 1.0)]
    for codes in rows.labels.T:
        counts = np.bincount(codes, weights=weight)
        often = np.argsort(-counts, kind="stable")[1 : _MOST_LEVELS + 1]
        columns.append((codes[:, None] == often).astype(np.float64))
    return np.concatenate(columns, axis=1)


def quadratic_design(rows: Draws, weight: np.ndarray) -> np.ndarray:
    """All columns, the squares of the numbers and the products of pairs.

    The log ratio of any two Gaussians, and of any two laws of one exponential family with these
    statistics, is linear in them.
    """
    z = standardized(rows, weight)
    d = rows.numbers.shape[1]
    columns = [z, z[:, :d] ** 2 - 1]
    if z.shape[1] <= _MOST_PRODUCTS:
        left, right = np.triu_indices(z.shape[1], 1)
        columns.append(z[:, left] * z[:, right])
    return _varying(np.concatenate(columns, axis=1))


def spline_design(rows: Draws, weight: np.ndarray) -> np.ndarray:
    """Cubic splines in every column, straight beyond the outermost knots; products of pairs."""
    from sklearn.preprocessing import SplineTransformer

    z = standardized(rows, weight)
    d = rows.numbers.shape[1]
    columns = [z]
    for column in z[:, :d].T:
        knots = np.unique(_quantiles(column, weight, np.linspace(0.005, 0.995, _KNOTS)))
        if len(knots) > 2:
            options: dict[str, Any] = {"knots": knots[:, None], "extrapolation": "linear"}
            spline = SplineTransformer(**options)
            columns.append(spline.fit_transform(column[:, None])[:, 1:])
    if 1 < z.shape[1] <= _MOST_PRODUCTS:
        left, right = np.triu_indices(z.shape[1], 1)
        columns.append(z[:, left] * z[:, right])
    return _varying(np.concatenate(columns, axis=1))


def kernel_design(rows: Draws, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The quadratic design, and Gaussian bumps about draws of both sides (Nyström)."""
    z = standardized(rows, weight)
    share = weight / weight.sum()
    size = min(_LANDMARKS, int((weight > 0).sum()))
    centres = z[rng.choice(len(z), size, replace=False, p=share)]
    gaps = _distances(centres, centres)[np.triu_indices(size, 1)]
    width = 0.5 * np.median(gaps) if len(gaps) else 0.0
    bumps = np.exp(-_distances(z, centres) / (2 * width)) if width > 0 else np.zeros((len(z), 0))
    return np.concatenate([quadratic_design(rows, weight), _varying(bumps)], axis=1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [len(a), len(b)]."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.maximum(squares, 0.0)


def _quantiles(column: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> np.ndarray:
    order = np.argsort(column)
    mass = np.cumsum(weight[order])
    return column[order][np.searchsorted(mass, levels * mass[-1])]


def _varying(design: np.ndarray) -> np.ndarray:
    """The columns that are not constant, each over its own spread."""
    spread = design.std(axis=0)
    kept = spread > 1e-12
    return (design[:, kept] - design[:, kept].mean(0)) / spread[kept]
