"""What the loops are made of: logarithms and exponentials of one element, without a branch.

y is scaled by a power of two until it is within a factor √2 of x, y = 2ᵏ·z, where z − x is
exact, or is the step that the caller knows better. With v = (z − x)/x, s = (z − x)/(z + x) and
T = 1/3 + s²/5 + s⁴/7 + … nothing cancels near equality, where k = 0:

| value | for k = 0 | elsewhere |
| --- | --- | --- |
| log(y/x) | v − (v·s − 2s³T) | k log 2 + that |
| y/x − log(y/x) − 1 | v·s − 2s³T | as written |
| (y log(y/x) − y + x)/x | v·s + 2(1 + v)s³T | as written |

What has no branch is turned into vector instructions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

__all__ = [
    "INLINE",
    "LARGEST",
    "LOOP",
    "SMALLEST",
    "atanh_rest",
    "cached",
    "exponential",
    "is_moderate",
    "two_logs",
]

# No sums may be reordered: the splits into a high and a low part would be lost.
LOOP: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
INLINE: dict[str, Any] = {**LOOP, "forceinline": True}

SMALLEST, LARGEST = 1e-30, 1e30
_LN_2, _LOG2_E = math.log(2.0), math.log2(math.e)
# log 2 in two parts, of which a multiple of the first is exact.
_LN_2_HIGH, _LN_2_LOW = float.fromhex("0x1.62e42fee00000p-1"), 1.9082149292705877e-10
# The exponent of 1 in place; what, added to a float's bits, makes a carry at √2; the mantissa.
_ONE = np.uint64(0x3FF0000000000000)
_CARRY = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_WIDTH, _BIAS, _TWICE_BIAS = np.uint64(52), np.uint64(1023), np.uint64(2046)
_WHOLE, _WHOLE_BITS = 4503599627370496.0, np.uint64(0x4330000000000000)
_ROUNDING = 6755399441055744.0


def cached(loop: Callable[..., Any]) -> Any:
    """The compiled loop, kept on disk under a name that changes with the source of all loops."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("cpu*.py")):
        digest.update(path.read_bytes())
    loop.__qualname__ += f"-{digest.hexdigest()[:16]}"
    return njit(cache=True, **LOOP)(loop)


@njit(**INLINE)
def atanh_rest(square):
    """T = 1/3 + s²/5 + s⁴/7 + … for |s| ≤ 0.172, of which `square` is s²."""
    series = 1 / 21
    series = series * square + 1 / 19
    series = series * square + 1 / 17
    series = series * square + 1 / 15
    series = series * square + 1 / 13
    series = series * square + 1 / 11
    series = series * square + 1 / 9
    series = series * square + 1 / 7
    series = series * square + 1 / 5
    return series * square + 1 / 3


@njit(**INLINE)
def two_logs(y, x, step):
    """log(y/x) and the remainders y/x − log(y/x) − 1 and (y log(y/x) − y + x)/x."""
    ratio = y / x
    exponent = (np.float64(ratio).view(np.uint64) + _CARRY) >> _WIDTH
    k = np.uint64(exponent | _WHOLE_BITS).view(np.float64) - (_WHOLE + 1023.0)
    z = y * np.uint64((_TWICE_BIAS - exponent) << _WIDTH).view(np.float64)
    gap = step if k == 0.0 else z - x
    v, s = gap / x, gap / (z + x)
    square = s * s
    rest = 2.0 * s * square * atanh_rest(square)
    near = v * s - rest
    log = k * _LN_2 + (v - near)
    first = near if k == 0.0 else ratio - 1.0 - log
    second = v * s + (1.0 + v) * rest if k == 0.0 else ratio * log - ratio + 1.0
    return log, first, second


@njit(**INLINE)
def exponential(d):
    """eᵈ, eᵈ − 1 and eᵈ − 1 − d for |d| < 700."""
    shifted = d * _LOG2_E + _ROUNDING
    k = shifted - _ROUNDING
    power = np.uint64((np.float64(shifted).view(np.uint64) + _BIAS) << _WIDTH).view(np.float64)
    r = (d - k * _LN_2_HIGH) - k * _LN_2_LOW
    series = 1 / 14
    series = (1.0 + r * series) * (1 / 13)
    series = (1.0 + r * series) * (1 / 12)
    series = (1.0 + r * series) * (1 / 11)
    series = (1.0 + r * series) * (1 / 10)
    series = (1.0 + r * series) * (1 / 9)
    series = (1.0 + r * series) * (1 / 8)
    series = (1.0 + r * series) * (1 / 7)
    series = (1.0 + r * series) * (1 / 6)
    series = (1.0 + r * series) * (1 / 5)
    series = (1.0 + r * series) * (1 / 4)
    series = (1.0 + r * series) * (1 / 3)
    rest = 0.5 * r * r * (1.0 + r * series)
    change = (power - 1.0) + power * (r + rest)
    return power + power * (r + rest), change, rest if k == 0.0 else change - d


@njit(**INLINE)
def is_moderate(x):
    return SMALLEST < x < LARGEST
