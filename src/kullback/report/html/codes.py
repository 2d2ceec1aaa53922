"""Numbers as the digits that will be shown, two bytes each.

A page shows three digits or so. If what is stored *is* those digits, rounded once from the exact
number, then nothing that is shown can be off in the last of them, and two bytes are enough:

| code | means |
| --- | --- |
| 0 | exactly 0 |
| 1 … 55,800 | three digits: (100 + c mod 900) · 10^(c div 900 − 58), with c = code − 1 |
| 55,801 … 64,800 | probabilities above 0.1 to four decimals: 0.1001 + (code − 55,801) / 10,000 |
| 65,533 | below 0, as conventions that round can have it |
| 65,534 | infinite |
| 65,535 | not known |

What is positive and below 10^−56 has the smallest code, what is above 999,000 the largest.
"""

from __future__ import annotations

import numpy as np

__all__ = ["INFINITE", "NEGATIVE", "UNKNOWN", "decode", "encode", "encode_probabilities"]

NEGATIVE, INFINITE, UNKNOWN = 65_533, 65_534, 65_535
_PER_DECADE, _LOWEST, _DECADES = 900, -58, 62
_FINE = 1 + _PER_DECADE * _DECADES
_SMALLEST, _LARGEST = 1e-56, 999e3


def encode(values: np.ndarray) -> np.ndarray:
    """Codes (uint16) of numbers to three digits, ties to even; NaN is not known.

    >>> decode(encode(np.array([0.0, 0.0123456, 31.41, np.inf]))).tolist()
    [0.0, 0.0123, 31.4, inf]
    """
    values = np.asarray(values, np.float64)
    codes = np.zeros(values.shape, np.int64)
    positive = (values > 0) & np.isfinite(values)
    exponent, mantissa = _digits(np.clip(values[positive], _SMALLEST, _LARGEST))
    codes[positive] = 1 + (exponent - _LOWEST) * _PER_DECADE + (mantissa - 100)
    codes[np.isposinf(values)] = INFINITE
    codes[values < 0] = NEGATIVE
    codes[np.isnan(values)] = UNKNOWN
    return codes.astype(np.uint16)


def encode_probabilities(values: np.ndarray) -> np.ndarray:
    """Codes (uint16) of probabilities: to four decimals above 0.1, to three digits below.

    A float32 sum may end a little above 1, which is shown as 1.

    >>> decode(encode_probabilities(np.array([1.0, 0.99987, 0.05557, 1e-30]))).tolist()
    [1.0, 0.9999, 0.0556, 1e-30]
    """
    values = np.asarray(values, np.float64)
    codes = encode(values).astype(np.int64)
    fine = np.isfinite(values) & (np.round(values, 4) > 0.1)
    ten_thousandths = np.round(np.where(fine, values, 0.0) * 10_000).astype(np.int64)
    codes[fine] = _FINE + np.minimum(ten_thousandths[fine], 10_000) - 1001
    return codes.astype(np.uint16)


def decode(codes: np.ndarray) -> np.ndarray:
    """The numbers that codes stand for, float64; NaN where there is none."""
    codes = np.asarray(codes).astype(np.int64)
    place, digits = np.divmod(codes - 1, _PER_DECADE)
    # Read as decimals, so that they are the nearest floats to what is shown.
    text = [f"{100 + d}e{p + _LOWEST}" for d, p in zip(digits.ravel(), place.ravel(), strict=True)]
    values = np.array(text, np.float64).reshape(codes.shape)
    values = np.where(codes >= _FINE, (codes - _FINE + 1001) / 10_000, values)
    values = np.where(codes == 0, 0.0, values)
    values = np.where(codes == INFINITE, np.inf, values)
    return np.where((codes == UNKNOWN) | (codes == NEGATIVE), np.nan, values)


def _digits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x = mantissa · 10^exponent with 100 ≤ mantissa < 1000, rounded to nearest."""
    exponent = np.floor(np.log10(values)).astype(np.int64) - 2
    # log10 may err by one unit beside a power of ten.
    exponent -= values * 10.0**-exponent < 100
    mantissa = np.round(values * 10.0**-exponent).astype(np.int64)
    carried = mantissa >= 1000
    return exponent + carried, np.where(carried, 100, mantissa)
