"""Quantiles of a stream of numbers in bounded memory, to a stated relative error.

The DDSketch of Masson, Rim and Lee (VLDB 2019): a value x > 0 is counted in the bucket
⌈log_γ x⌉ with γ = (1 + ε)/(1 − ε), and the bucket's point 2γⁱ/(γ + 1) is within ε·x of every
x in it; negative values have the mirrored buckets. Zeros and infinities have buckets of their
own, minimum and maximum are exact, and two sketches merge by adding counts, so that the
answer does not depend on how the stream was split.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from kullback.errors import InputError

__all__ = ["QuantileSketch"]

# A bucket's key is sign(x)·(⌈log_γ |x|⌉ + _OFFSET), 0 for zero and ±_INFINITY for infinities,
# so that keys are ordered as values are.
_OFFSET = 2**40
_INFINITY = 2**50


class QuantileSketch:
    """Counts of values in logarithmic buckets.

    `relative_error` is ε above. Memory is a pair of integers for each bucket that was hit: at
    ε = 0.005 about 230 buckets for every factor of ten that the values span.

    >>> sketch = QuantileSketch(relative_error=0.005)
    >>> sketch.update(np.linspace(0.0, 1.0, 1001))
    >>> abs(sketch.quantile(0.9) - 0.9) <= 0.005 * 0.9
    True
    >>> sketch.quantile(0.0), sketch.quantile(1.0)
    (0.0, 1.0)
    """

    def __init__(self, relative_error: float = 0.005) -> None:
        if not 1e-6 <= relative_error < 1:
            raise InputError(
                f"relative_error must lie between 1e-6 and 1, got {relative_error}: "
                "0.005 is half a per cent"
            )
        self.relative_error = relative_error
        self.minimum = math.inf
        self.maximum = -math.inf
        self._log_gamma = 2 * math.atanh(relative_error)
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def infinities(self) -> int:
        """How many of the values were +inf."""
        return int(self._counts[self._keys == _INFINITY].sum())

    def update(self, values: np.ndarray) -> None:
        """Count `values`, float64 of any shape. Raises `InputError` on NaN."""
        values = np.asarray(values, np.float64).ravel()
        if not values.size:
            return
        if np.isnan(values).any():
            place = int(np.flatnonzero(np.isnan(values))[0])
            raise InputError(f"NaN has no rank, but value {place} is NaN: leave it out")
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self._add(*np.unique(self._keys_of(values), return_counts=True))

    def merge(self, other: QuantileSketch) -> None:
        """Add the counts of `other`, which must have the same `relative_error`."""
        if other.relative_error != self.relative_error:
            raise InputError(
                f"sketches with relative errors {self.relative_error} and "
                f"{other.relative_error} do not merge: give both the same"
            )
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self._add(other._keys, other._counts)

    def quantile(self, q: float) -> float:
        """The value of rank ⌊q·(n − 1)⌋ of the n counted, within the relative error.

        NaN when nothing was counted. q = 0 and q = 1 give the exact minimum and maximum.
        """
        if not 0 <= q <= 1:
            raise InputError(f"q must lie between 0 and 1, got {q}")
        total = len(self)
        if not total:
            return math.nan
        rank = math.floor(q * (total - 1))
        if rank in (0, total - 1):
            return self.minimum if rank == 0 else self.maximum
        place = int(np.searchsorted(np.cumsum(self._counts), rank, side="right"))
        # The point stands for every value of its bucket and may lie outside the exact range,
        # in which the true quantile certainly is.
        return min(max(self._point(int(self._keys[place])), self.minimum), self.maximum)

    def _keys_of(self, values: np.ndarray) -> np.ndarray:
        sizes = np.abs(values)
        keys = np.zeros(len(values), np.int64)
        inside = (sizes > 0) & np.isfinite(sizes)
        keys[inside] = np.ceil(np.log(sizes[inside]) / self._log_gamma).astype(np.int64) + _OFFSET
        keys[np.isinf(sizes)] = _INFINITY
        return np.where(values < 0, -keys, keys)

    def _point(self, key: int) -> float:
        if key == 0:
            return 0.0
        if abs(key) == _INFINITY:
            return math.copysign(math.inf, key)
        # log of 2γⁱ/(γ + 1), since γ + 1 = 2/(1 − ε); the largest bucket may reach past the
        # largest float.
        exponent = (abs(key) - _OFFSET) * self._log_gamma + math.log1p(-self.relative_error)
        return math.copysign(math.exp(min(exponent, math.log(sys.float_info.max))), key)

    def _add(self, keys: np.ndarray, counts: np.ndarray) -> None:
        merged, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, place, np.concatenate([self._counts, counts]))
        self._keys, self._counts = merged, total
