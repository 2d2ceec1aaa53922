"""The cheapest matching of two equally large sets of points: what a transport of draws needs.

Shortest augmenting paths with potentials, O(n³): every row in turn finds the cheapest chain of
exchanges that makes room for it (Jonker & Volgenant 1987; Crouse 2016, On Implementing 2D
Rectangular Assignment Algorithms).
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["cheapest_matching"]


@njit(cache=True, nogil=True)
def cheapest_matching(cost: np.ndarray) -> np.ndarray:
    """The column of each row in the matching of least total cost; `cost` is square and finite."""
    count = cost.shape[0]
    of_rows, of_columns = np.zeros(count), np.zeros(count)
    row_of = np.full(count, -1)
    column_of = np.full(count, -1)
    for start in range(count):
        shortest = np.full(count, np.inf)
        before = np.full(count, -1)
        row_seen, column_seen = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        row, reached, sink = start, 0.0, -1
        while sink == -1:
            row_seen[row] = True
            best, nearest = np.inf, -1
            for column in range(count):
                if column_seen[column]:
                    continue
                through = reached + cost[row, column] - of_rows[row] - of_columns[column]
                if through < shortest[column]:
                    shortest[column], before[column] = through, row
                closer = shortest[column] < best
                if closer or (shortest[column] == best and row_of[column] == -1):
                    best, nearest = shortest[column], column
            reached = best
            column_seen[nearest] = True
            if row_of[nearest] == -1:
                sink = nearest
            else:
                row = row_of[nearest]
        of_rows[start] += reached
        for i in range(count):
            if row_seen[i] and i != start:
                of_rows[i] += reached - shortest[column_of[i]]
            if column_seen[i]:
                of_columns[i] -= reached - shortest[i]
        column = sink
        while True:
            i = before[column]
            row_of[column] = i
            column, column_of[i] = column_of[i], column
            if i == start:
                break
    return column_of
