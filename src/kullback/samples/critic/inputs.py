"""What a critic reads of a draw: numbers brought to one scale, labels as one column a level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kullback.samples.draws import DrawsPair

__all__ = ["inputs_of"]

_IQR_OF_NORMAL = 1.349
_NEAR = 4.0


def inputs_of(pair: DrawsPair) -> tuple[Tensor, Tensor]:
    """The draws of P and of Q as a network reads them, float32 [n, width] and [m, width].

    Numbers are centred by the median and scaled by the quartiles of both sides together, and
    far ones are drawn in by asinh, which loses nothing: a single draw at 10⁶ moves no weight.
    Columns that are constant on both sides say nothing and are left out.
    """
    both = np.concatenate([pair.p.numbers, pair.q.numbers])
    columns = [
        _NEAR * np.arcsinh(_scaled(column) / _NEAR) for column in both.T if np.ptp(column) > 0
    ]
    codes = np.concatenate([pair.p.labels, pair.q.labels])
    for column, levels in zip(codes.T, pair.levels, strict=True):
        columns += list((column[:, None] == np.arange(levels)).astype(np.float64).T)
    if not columns:
        columns = [np.zeros(len(both))]
    read = torch.from_numpy(np.stack(columns, axis=1)).to(torch.float32)
    return read[: len(pair.p)], read[len(pair.p) :]


def _scaled(column: np.ndarray) -> np.ndarray:
    """The column with median 0 and a scale near 1, of any units."""
    centred = column - np.median(column)
    first, third = np.quantile(centred, [0.25, 0.75])
    scale = (third - first) / _IQR_OF_NORMAL
    # Half of the draws may be one and the same number.
    return centred / (scale if scale > 0 else np.abs(centred).mean())
