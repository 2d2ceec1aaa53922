"""A classifier that learns from one half of the draws and is put to the test on the other.

Given the half it learned from, its scores are plain numbers, and where P = Q the held-out draws of
both sides are exchangeable: permuting their sides is an exact test, whatever the classifier is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kullback.errors import MissingExtra
from kullback.samples.draws import Draws
from kullback.samples.same_distribution.permuted import dealt, mean_ranks

__all__ = ["classified"]

_FOR_TREES = 400
_MOST_LEVELS = 50


def classified(p: Draws, q: Draws, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """How often held-out draws of P score above those of Q: what was seen, then permuted.

    Boosted trees from 400 draws to learn from; below that, logistic regression on the columns,
    their sizes and squares, and indicators of the labels.

    Source: Lopez-Paz & Oquab (2017), Revisiting Classifier Two-Sample Tests, with the area under
    the curve in the place of the accuracy.
    """
    learn_p, test_p = _parted(p, rng)
    learn_q, test_q = _parted(q, rng)
    features = _features(learn_p, learn_q, test_p, test_q)
    learn_x = np.concatenate(features[:2])
    sides = np.repeat([1, 0], [len(learn_p), len(learn_q)])
    model = _model(len(learn_x), int(rng.integers(2**31)))
    model.fit(learn_x, sides)
    scores = model.predict_proba(np.concatenate(features[2:]))[:, 1]
    return mean_ranks(scores, dealt(len(test_p), len(test_q), permutations, rng))


def _parted(draws: Draws, rng: np.random.Generator) -> tuple[Draws, Draws]:
    where = rng.permutation(len(draws))
    half = len(draws) // 2
    return draws[where[:half]], draws[where[half:]]


def _features(*parts: Draws) -> list[np.ndarray]:
    """Numbers, sizes and squares, in standard units of what is learned from, and indicators."""
    learned = np.concatenate([parts[0].numbers, parts[1].numbers])
    centre, spread = learned.mean(0), learned.std(0)
    spread[spread == 0] = 1.0
    labels = np.concatenate([parts[0].labels, parts[1].labels])
    frequent = []
    for column in labels.T:
        codes, counts = np.unique(column, return_counts=True)
        frequent.append(codes[np.argsort(-counts, kind="stable")[:_MOST_LEVELS]])
    found = []
    for part in parts:
        numbers = (part.numbers - centre) / spread
        shown = [
            column[:, None] == codes for column, codes in zip(part.labels.T, frequent, strict=True)
        ]
        found.append(np.concatenate([numbers, np.abs(numbers), numbers**2, *shown], axis=1))
    return found


def _model(learned: int, seed: int) -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtra("scikit-learn", "samples") from None
    if learned < _FOR_TREES:
        return LogisticRegression(C=0.1, max_iter=1_000)
    return HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, learning_rate=0.1, random_state=seed
    )
