"""Which columns tell P from Q: how far the bound of a classifier falls without each of them.

A classifier's log-odds v are a guess at log p/q, and E_P[v] − E_Q[e^v − 1] on draws that it was
not fitted to is at most KL(P‖Q) on average. Fitted anew without a column, on the same folds, it
loses what that column alone knew; what another column knows as well is not lost. The bound of the
column alone says what it knows, shared or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.errors import MissingExtra
from kullback.numerics import t_quantile
from kullback.results import Estimate
from kullback.samples.explain.columns import Column
from kullback.samples.threads import threads_for

__all__ = ["Feature", "Scores", "features_of"]

_FOLDS = 3
# Beyond so many inputs their products are too many to be fitted.
_PRODUCTS_UP_TO = 12


@dataclass(frozen=True)
class Feature:
    """What one column tells, in nats.

    Attributes:
        name: of the column.
        drop: how far the bound of all columns falls without it, with a paired standard error.
        alone: the bound of this column by itself.
    """

    name: str
    drop: Estimate[float]
    alone: Estimate[float]


@dataclass(frozen=True)
class Scores:
    """log-odds of P against Q of every draw, by a classifier that was not fitted to it."""

    p: np.ndarray
    q: np.ndarray

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """What each draw adds to the bound: v on P, e^v − 1 on Q."""
        return self.p, np.expm1(self.q)


def features_of(
    columns: tuple[Column, ...], confidence: float, seed: int
) -> tuple[tuple[Feature, ...], Estimate[float]]:
    """Every column, the largest fall first, and the bound of all of them together.

    Of two classifiers, a quadratic logistic regression and boosted trees, the one with the lower
    held-out logistic loss on all columns answers for all of the table.
    """
    quadratic, boosted = (_scores(columns, kind, seed) for kind in (False, True))
    trees = _loss(boosted) < _loss(quadratic)
    whole = boosted if trees else quadratic
    method = "boosted trees" if trees else "quadratic logistic regression"
    found = []
    for column in columns:
        others = tuple(other for other in columns if other is not column)
        alone = _scores((column,), trees, seed) if others else whole
        rest = _scores(others, trees, seed) if others else Scores(0 * whole.p, 0 * whole.q)
        fall = [a - b for a, b in zip(whole.parts, rest.parts, strict=True)]
        found.append(
            Feature(
                column.name,
                _estimate(fall, confidence, f"{method}, fitted anew without it"),
                _estimate(alone.parts, confidence, method),
            )
        )
    found.sort(key=lambda feature: feature.drop.value, reverse=True)
    bound = _estimate(whole.parts, confidence, f"{method}, {_FOLDS} folds, a lower bound of the KL")
    return tuple(found), bound


def _estimate(parts: Any, confidence: float, method: str) -> Estimate[float]:
    on_p, on_q = parts
    value = float(on_p.mean() - on_q.mean())
    stderr = math.sqrt(on_p.var(ddof=1) / len(on_p) + on_q.var(ddof=1) / len(on_q))
    reach = t_quantile((1 + confidence) / 2, min(len(on_p), len(on_q)) - 1) * stderr
    return Estimate(
        value, value - reach, value + reach, stderr, confidence, method, len(on_p) + len(on_q)
    )


def _loss(scores: Scores) -> float:
    return float(np.logaddexp(0, -scores.p).mean() + np.logaddexp(0, scores.q).mean())


def _scores(columns: tuple[Column, ...], trees: bool, seed: int) -> Scores:
    """The same folds for the same seed, whatever the columns: that is what pairs them."""
    chance = np.random.default_rng(seed)
    p, q = (np.concatenate([getattr(c, side) for c in columns], 1) for side in ("p", "q"))
    folds = [chance.permutation(len(side)) % _FOLDS for side in (p, q)]
    v = [np.empty(len(side)) for side in (p, q)]
    for fold in range(_FOLDS):
        fitted = [side[f != fold] for side, f in zip((p, q), folds, strict=True)]
        model = _classifier(p.shape[1], trees, seed)
        labels = np.repeat([1, 0], [len(side) for side in fitted])
        with threads_for(len(labels)):
            model.fit(np.concatenate(fitted), labels)
        prior = math.log(len(fitted[0]) / len(fitted[1]))
        for values, side, f in zip(v, (p, q), folds, strict=True):
            values[f == fold] = model.decision_function(side[f == fold]) - prior
    return Scores(*v)


def _classifier(inputs: int, trees: bool, seed: int) -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler
    except ImportError:
        raise MissingExtra("scikit-learn", "samples") from None
    if trees:
        return HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=8, learning_rate=0.1, random_state=seed
        )
    products = (
        PolynomialFeatures(2, include_bias=False)
        if inputs <= _PRODUCTS_UP_TO
        else FunctionTransformer(_with_squares)
    )
    return make_pipeline(
        StandardScaler(), products, StandardScaler(), LogisticRegression(max_iter=1000)
    )


def _with_squares(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z, z**2], axis=1)
