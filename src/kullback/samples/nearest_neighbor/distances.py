"""How far the k-th nearest draw is: by a k-d tree, and on the line by sorting.

Rows are draws, [n, d] float64. On the line the neighbours stand next to a draw once both sides are
sorted: a million cost a fraction of a second.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kullback.errors import InputError, MissingExtra

__all__ = ["Distances", "to_neighbors", "to_own", "within_matched"]

# Larger leaves than scipy's ten: fewer steps down the tree, and a third of the time less.
_LEAF = 32
# What fits into a processor's cache at once.
_CHUNK = 16_384


class Distances(NamedTuple):
    """From each draw of P to its k-th nearest among P's other draws, and among Q's: [n] each.

    `touching` counts the draws of P that another draw of either side lies on exactly.
    """

    own: np.ndarray
    other: np.ndarray
    touching: int


def to_neighbors(x: np.ndarray, y: np.ndarray, k: int) -> Distances:
    """The distances of the draws `x` to their k-th neighbours in `x` and in `y`, in any order.

    Raises `InputError` where one is zero, k draws lying on one: there is no density then.
    """
    if x.shape[1] == 1:
        return _on_the_line(np.sort(x[:, 0]), np.sort(y[:, 0]), k)
    tree = _tree()
    own = tree(x).query(x, [2, k + 1], workers=-1)[0]
    other = tree(y).query(x, [1, k], workers=-1)[0]
    touching = int(((own[:, 0] == 0) | (other[:, 0] == 0)).sum())
    return _positive(Distances(own[:, 1], other[:, 1], touching), k)


def to_own(x: np.ndarray, k: int) -> tuple[np.ndarray, int]:
    """The distances of the draws `x` to their k-th others, and how many lie on another."""
    if x.shape[1] == 1:
        order = np.argsort(x[:, 0])
        found = _on_the_line(x[order, 0], np.array([np.inf]), k)
        back = np.empty_like(found.own)
        back[order] = found.own
        return back, found.touching
    own = _tree()(x).query(x, [2, k + 1], workers=-1)[0]
    found = _positive(Distances(own[:, 1], own[:, 1], int((own[:, 0] == 0).sum())), k)
    return found.own, found.touching


class Within(NamedTuple):
    """Of each draw of P: how many of P's others and of Q's lie within a radius, [n] each.

    `own` and `other` are the distances to the farthest of them.
    """

    count_own: np.ndarray
    count_other: np.ndarray
    own: np.ndarray
    other: np.ndarray
    touching: int


def within_matched(x: np.ndarray, y: np.ndarray, k: int, most: int) -> Within:
    """What lies within the larger of the two k-th distances, counting `most` at the most."""
    tree = _tree()
    ranks = np.arange(1, most + 1)
    own = tree(x).query(x, ranks + 1, workers=-1)[0]
    other = tree(y).query(x, ranks, workers=-1)[0]
    touching = int(((own[:, 0] == 0) | (other[:, 0] == 0)).sum())
    kth = _positive(Distances(own[:, k - 1], other[:, k - 1], touching), k)
    radius = np.maximum(kth.own, kth.other)[:, None]
    counts = (own <= radius).sum(1), (other <= radius).sum(1)
    rows = np.arange(len(x))
    return Within(*counts, own[rows, counts[0] - 1], other[rows, counts[1] - 1], touching=touching)


def _tree() -> Callable[[np.ndarray], Any]:
    try:
        from scipy.spatial import KDTree
    except ModuleNotFoundError:
        raise MissingExtra("scipy", "samples") from None
    return functools.partial(KDTree, leafsize=_LEAF)


def _on_the_line(x: np.ndarray, y: np.ndarray, k: int) -> Distances:
    after = np.searchsorted(y, x)
    here = np.arange(k, k + len(x))
    x_padded, y_padded = (_padded(side, k) for side in (x, y))
    own, other = np.empty(len(x)), np.empty(len(x))
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        # Of the others, k to choose from on either side: the draw itself is left out.
        own[part] = _nearest(x[part], x_padded, here[part], here[part] + 1, k)
        other[part] = _nearest(x[part], y_padded, after[part] + k, after[part] + k, k)
    step = np.diff(x) == 0
    doubled = np.r_[step, False] | np.r_[False, step]
    met = y[np.minimum(after, len(y) - 1)] == x
    return _positive(Distances(own, other, int((doubled | met).sum())), k)


def _positive(found: Distances, k: int) -> Distances:
    zero = int(((found.own == 0) | (found.other == 0)).sum())
    if zero:
        raise InputError(
            f"{zero} of {len(found.own)} draws have {k} others of one side lying on them exactly, "
            "and nearest neighbours need densities: for counts and rounded values take the "
            "plug-in method or one by classifier; drop doubled rows only if they are one draw twice"
        )
    return found


def _padded(side: np.ndarray, k: int) -> np.ndarray:
    beyond = np.full(k, np.inf)
    return np.concatenate([-beyond, side, beyond])


def _nearest(
    at: np.ndarray, points: np.ndarray, left: np.ndarray, right: np.ndarray, k: int
) -> np.ndarray:
    """The k-th smallest distance: the cheapest of j points to the left and k − j to the right.

    `left` is one past the nearest index to the left, `right` the nearest to the right.
    """
    best = points[right + k - 1] - at
    for j in range(1, k):
        best = np.minimum(best, np.maximum(at - points[left - j], points[right + k - 1 - j] - at))
    return np.minimum(best, at - points[left - k])
