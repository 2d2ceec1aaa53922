"""The models of the log ratio by name, each ready to be fitted to any part of a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kullback.samples.log_ratio.features import (
    kernel_design,
    quadratic_design,
    spline_design,
    standardized,
)
from kullback.samples.log_ratio.fitting import best_strength, log_loss, logistic, trees
from kullback.samples.table import Table

__all__ = ["MODELS", "Fit", "model_of"]

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From the weights of P and Q to learn from, [k] each, to the log ratio at every row, [k]."""

MODELS = ("quadratic", "splines", "kernel", "trees")
_SLIGHT = 1e-3
"""A penalty that only matters where the two sides can be told apart without error."""

_PRIORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)


def model_of(name: str, table: Table, seed: int) -> Fit:
    """The model `name` over the rows of `table`; its penalty is chosen at the first fit."""
    weight = (table.p + table.q).sum(1)
    if name == "quadratic":
        design = quadratic_design(table.rows, weight)
        return lambda p, q: logistic(design, p, q, _SLIGHT)
    if name == "splines":
        return _penalized(spline_design(table.rows, weight), seed)
    if name == "kernel":
        rng = np.random.default_rng(seed)
        return _penalized(kernel_design(table.rows, weight, rng), seed)
    if name == "atoms":
        return _frequencies(seed)
    columns = standardized(table.rows, weight)
    return lambda p, q: trees(columns, p, q, seed)


def _frequencies(seed: int) -> Fit:
    """Each row by itself, drawn towards no difference by as much as does best on a fifth."""

    def fit(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(seed)
        held_p, held_q = (rng.binomial(w.astype(np.int64), 0.2).astype(np.float64) for w in (p, q))
        losses = [
            log_loss(_ratio(p - held_p, q - held_q, weight), held_p, held_q) for weight in _PRIORS
        ]
        return _ratio(p, q, _PRIORS[int(np.argmin(losses))])

    return fit


def _ratio(p: np.ndarray, q: np.ndarray, prior: float) -> np.ndarray:
    """log p/q with `prior` draws more of either side in every row, in proportion to its total."""
    n, m = p.sum(), q.sum()
    common = prior * (p + q + 1) / np.mean(p + q + 1)
    return np.log(p / n + common / (n + m)) - np.log(q / m + common / (n + m))


def _penalized(design: np.ndarray, seed: int) -> Fit:
    chosen: list[float] = []

    def fit(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        if not chosen:
            chosen.append(best_strength(design, p, q, np.random.default_rng(seed)))
        return logistic(design, p, q, chosen[0])

    return fit
