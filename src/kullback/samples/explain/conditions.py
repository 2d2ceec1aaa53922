"""The leaves of a tree in words: conditions on columns, in the columns' own units."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kullback.samples.explain.columns import Column

__all__ = ["Leaf", "Scale", "leaves_of", "scaled", "scales_of"]


class Leaf(NamedTuple):
    index: int
    condition: str


class Scale(NamedTuple):
    """Of which column an input of the tree is, its level there, its median and its spread."""

    column: int
    level: int
    centre: float
    spread: float


def scales_of(columns: tuple[Column, ...]) -> list[Scale]:
    found = []
    for place, column in enumerate(columns):
        both = np.concatenate([column.p, column.q])
        for level, values in enumerate(both.T):
            centre = float(np.median(values))
            found.append(Scale(place, level, centre, float(np.abs(values - centre).mean())))
    return found


def scaled(columns: tuple[Column, ...], side: str, scales: list[Scale]) -> np.ndarray:
    """Centred and scaled, since trees read float32, in which times and large numbers are equal."""
    raw = np.concatenate([getattr(column, side) for column in columns], axis=1)
    return (raw - [s.centre for s in scales]) / [s.spread for s in scales]


def leaves_of(tree: Any, columns: tuple[Column, ...], scales: list[Scale]) -> list[Leaf]:
    """Every leaf with the path to it in words."""
    found: list[Leaf] = []

    def walk(node: int, path: list[tuple[int, float, bool]]) -> None:
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left == right:
            found.append(Leaf(node, _in_words(path, columns, scales)))
            return
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        walk(left, [*path, (feature, threshold, False)])
        walk(right, [*path, (feature, threshold, True)])

    walk(0, [])
    return found


def _in_words(
    path: list[tuple[int, float, bool]], columns: tuple[Column, ...], scales: list[Scale]
) -> str:
    """The path's conditions, those of one column drawn together, in the order they were asked."""
    said = []
    for place in dict.fromkeys(scales[feature].column for feature, _, _ in path):
        column = columns[place]
        own = [(scales[f], t, above) for f, t, above in path if scales[f].column == place]
        if column.levels is None:
            said.append(_between(column.name, own))
        else:
            said.append(_level(column.name, column.levels, own))
    return " and ".join(said) or "everywhere"


def _between(name: str, own: list[tuple[Scale, float, bool]]) -> str:
    low = max((t for _, t, above in own if above), default=None)
    high = min((t for _, t, above in own if not above), default=None)
    scale = own[0][0]
    if low is not None and high is not None:
        return f"{_number(low, scale)} < {name} ≤ {_number(high, scale)}"
    if low is not None:
        return f"{name} > {_number(low, scale)}"
    assert high is not None
    return f"{name} ≤ {_number(high, scale)}"


def _number(threshold: float, scale: Scale) -> str:
    """A threshold in the column's units, to a thousandth of the column's spread."""
    value = scale.centre + threshold * scale.spread
    digits = math.floor(math.log10(max(abs(value) / scale.spread, 1.0))) + 4
    return f"{value:.{digits}g}"


def _level(name: str, levels: tuple[str, ...], own: list[tuple[Scale, float, bool]]) -> str:
    chosen = [levels[scale.level] for scale, _, above in own if above]
    if chosen:
        return f"{name} = {chosen[0]}"
    left_out = [levels[scale.level] for scale, _, _ in own]
    rest = [level for level in levels if level not in left_out]
    if len(rest) == 1:
        return f"{name} = {rest[0]}"
    return " and ".join(f"{name} ≠ {level}" for level in left_out)
