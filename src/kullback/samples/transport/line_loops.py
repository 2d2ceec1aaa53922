"""The cheapest coupling of draws on the line, in compiled loops: sort both sides, walk both once.

The k-th of n sorted draws of P holds the levels from (k − 1)/n to k/n, and the coupling joins what
is at the same level. Levels are counted in steps of 1/(n·m), so that they are whole numbers and
no step is lost to rounding. Sums are float64 whatever the draws are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit

__all__ = ["distances", "slopes"]

_BLOCK = 16
"""So many columns are copied at once: the draws of a row share a line of the cache."""


@njit(cache=True, nogil=True)
def _largest(x, y):
    """The largest distance that the coupling joins."""
    n, m = x.size, y.size
    i = j = 0
    largest = 0.0
    while i < n and j < m:
        largest = max(largest, abs(np.float64(x[i]) - np.float64(y[j])))
        a, b = (i + 1) * m, (j + 1) * n
        i += a <= b
        j += b <= a
    return largest


@njit(cache=True, nogil=True)
def _mean_power(x, y, order, scale):
    """The mean of (distance/scale)^order over the coupling."""
    n, m = x.size, y.size
    i = j = 0
    level = 0
    total = 0.0
    while i < n and j < m:
        a, b = (i + 1) * m, (j + 1) * n
        upper = min(a, b)
        far = abs(np.float64(x[i]) - np.float64(y[j])) / scale
        if order == 2.0:
            far *= far
        elif order != 1.0:
            far = far**order
        total += (upper - level) * far
        level = upper
        i += a <= b
        j += b <= a
    return total / n / m


@njit(cache=True, nogil=True)
def _distance(x, y, order):
    """The distance of two sorted columns; divided by the largest, no power over- or underflows."""
    if order == 1.0:
        return _mean_power(x, y, order, 1.0)
    scale = _largest(x, y)
    if scale == 0.0:
        return 0.0
    return scale * _mean_power(x, y, order, scale) ** (1.0 / order)


@njit(cache=True, nogil=True)
def _add_slopes(x, y, order, distance, where_x, where_y, of_x, of_y):
    """The slopes of the distance in every draw: weight·sign·(|x − y|/distance)^(order − 1)."""
    n, m = x.size, y.size
    i = j = 0
    level = 0
    share = 1.0 / n / m
    while i < n and j < m:
        a, b = (i + 1) * m, (j + 1) * n
        upper = min(a, b)
        gap = np.float64(x[i]) - np.float64(y[j])
        slope = (upper - level) * share * np.sign(gap)
        if order != 1.0 and gap != 0.0:
            slope *= (abs(gap) / distance) ** (order - 1.0)
        of_x[where_x[i]] += slope
        of_y[where_y[j]] -= slope
        level = upper
        i += a <= b
        j += b <= a


def distances(x: np.ndarray, y: np.ndarray, order: float) -> np.ndarray:
    """W_order of each column of x [n, columns] and y [m, columns]: float64 [columns]."""
    result = np.empty(x.shape[1])
    if x.shape[1] == 1:
        xs, ys = _side_by_side([lambda: np.sort(x[:, 0]), lambda: np.sort(y[:, 0])])
        result[0] = _of_sorted(xs, ys, order)
        return result

    def block(first: int) -> None:
        columns = slice(first, first + _BLOCK)
        rows_x, rows_y = (np.ascontiguousarray(side[:, columns].T) for side in (x, y))
        rows_x.sort(axis=1)
        rows_y.sort(axis=1)
        for k in range(len(rows_x)):
            result[first + k] = _of_sorted(rows_x[k], rows_y[k], order)

    _over_blocks(block, x.shape[1])
    return result


def slopes(x: np.ndarray, y: np.ndarray, order: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distances [columns], and their slopes in x and in y, float64 of the shapes of x and y.

    Where a distance is 0 its slopes are 0, which is the middle of the slopes there are.
    """
    result = np.empty(x.shape[1])
    of_x, of_y = np.zeros(x.shape[::-1]), np.zeros(y.shape[::-1])

    def column(k: int) -> None:
        one, other = np.ascontiguousarray(x[:, k]), np.ascontiguousarray(y[:, k])
        (where_x, xs), (where_y, ys) = _ranked(one), _ranked(other)
        result[k] = _of_sorted(xs, ys, order)
        if result[k] > 0:
            _add_slopes(xs, ys, order, result[k], where_x, where_y, of_x[k], of_y[k])

    _over_blocks(
        lambda first: [column(k) for k in range(first, min(first + _BLOCK, len(result)))],
        len(result),
    )
    return result, of_x.T, of_y.T


def _of_sorted(x: np.ndarray, y: np.ndarray, order: float) -> float:
    """NaN where a column holds what is not finite: sorting puts that at the ends."""
    if not np.isfinite(np.array([x[0], x[-1], y[0], y[-1]])).all():
        return np.nan
    return float(_distance(x, y, order))


def _ranked(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the sorted values stood, and the sorted values.

    A float32 and its place fit into 64 bits, which sort many times faster than places do by values.
    """
    if column.dtype != np.float32 or column.size >= 2**32:
        where = np.argsort(column)
        return where, column[where]
    # Adding 0 makes −0 of 0; flipping the other bits of negative numbers makes bits sort as values.
    bits = (column + np.float32(0)).view(np.int32)
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = (ordered.astype(np.int64) << 32) | np.arange(column.size, dtype=np.int64)
    keys.sort()
    where = keys & np.int64(0xFFFFFFFF)
    return where, column[where]


def _over_blocks(block: Callable[[int], object], columns: int) -> None:
    """Calls `block(first)` for every block of columns, on torch's number of threads."""
    _side_by_side([lambda first=first: block(first) for first in range(0, columns, _BLOCK)])


def _side_by_side(jobs: list[Callable[[], object]]) -> list:
    threads = min(torch.get_num_threads(), len(jobs))
    if threads <= 1:
        return [job() for job in jobs]
    results: list = [None] * len(jobs)
    waiting: Iterator[int] = iter(range(len(jobs)))

    def work() -> None:
        # next() on a shared range iterator hands every job to one thread only.
        for index in waiting:
            results[index] = jobs[index]()

    with ThreadPoolExecutor(threads - 1) as pool:
        helpers = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            helper.result()
    return results
