"""Which numbers of a position are summed over clusters.

Every mean of a `Comparison` is a ratio of two of these sums. An infinity cannot be summed
without losing the rest, so finite values are summed and infinite ones counted beside them.
"""

from __future__ import annotations

import numpy as np

from kullback.compare.positions import PositionBatch
from kullback.compare.slices import GROUP, LABEL
from kullback.errors import NonFiniteError

__all__ = ["CONFIDENCE_EDGES", "position_columns", "refuse_nan"]

CONFIDENCE_EDGES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)
"""Edges of the bins of the reference's top probability; the last bin includes 1."""

_PLAIN = ("js", "total_variation", "entropy_p", "entropy_q")


def position_columns(batch: PositionBatch) -> dict[str, np.ndarray]:
    """What is summed of each position, by name, float64 [n] each.

    `x_infinite` counts the infinities of `x`; `known` the positions whose token is known;
    `bin0:x` is `x` where the reference's top probability lies in the first bin, and so on;
    `column:x` is the reader's own column x; `right_p` and `right_q` count where a side's top event
    is the label, for examples of a classifier.
    """
    statistics = batch.statistics
    columns = {"positions": np.ones(len(batch))}
    for name in ("kl", "reverse_kl"):
        columns |= _finite_and_infinite(name, statistics[name])
    columns |= {name: statistics[name] for name in _PLAIN}
    columns["same_top"] = (statistics["top_p"] == statistics["top_q"]).astype(np.float64)
    columns |= _token_columns(batch)
    edges = np.asarray(CONFIDENCE_EDGES[1:-1])
    place = np.searchsorted(edges, statistics["top_prob_p"], side="right")
    for index in range(len(CONFIDENCE_EDGES) - 1):
        inside = (place == index).astype(np.float64)
        for name in ("positions", "kl", "kl_infinite", "same_top"):
            columns[f"bin{index}:{name}"] = columns[name] * inside
    columns |= {
        f"column:{name}": values
        for name, values in batch.columns.items()
        if name not in (LABEL, GROUP)
    }
    if LABEL in batch.columns:
        for side in "pq":
            right = (statistics[f"top_{side}"] == batch.token) & (batch.token >= 0)
            columns[f"right_{side}"] = right.astype(np.float64)
    return columns


def _token_columns(batch: PositionBatch) -> dict[str, np.ndarray]:
    known = batch.token >= 0
    log_p = np.where(known, batch.statistics["log_prob_p"], 0.0)
    log_q = np.where(known, batch.statistics["log_prob_q"], 0.0)
    change = np.where(known, np.exp(log_q) - np.exp(log_p), 0.0)
    return {
        "known": known.astype(np.float64),
        **_finite_and_infinite("surprisal_p", -log_p),
        **_finite_and_infinite("surprisal_q", -log_q),
        "delta_p": change,
        "delta_p_squared": change**2,
    }


def _finite_and_infinite(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    finite = np.isfinite(values)
    return {
        name: np.where(finite, values, 0.0),
        f"{name}_infinite": (~finite).astype(np.float64),
    }


def refuse_nan(batch: PositionBatch) -> None:
    """Raise `NonFiniteError`, naming the position, where a statistic of `batch` is NaN."""
    known = batch.token >= 0
    for name, values in {**batch.statistics, **batch.columns}.items():
        wrong = np.isnan(values)
        if name in ("log_prob_p", "log_prob_q"):
            wrong &= known
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise NonFiniteError(
                f"{name} is not a number at document {batch.document[place]}, "
                f"chunk {batch.chunk[place]}, position {batch.position[place]}: the logits of "
                "one side hold NaN or +inf there; run that model in a wider dtype"
            )
