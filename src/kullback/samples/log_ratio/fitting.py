"""The log ratio of two densities from a classifier that tells draws of P from draws of Q.

With equal weight on both sides the log odds of the best classifier are log p(x)/q(x). A fit is
given a design of the rows and the weights to learn from, and answers for every row.

Source: Sugiyama, Suzuki & Kanamori (2012), Density Ratio Estimation in Machine Learning,
chapter 4.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kullback.errors import MissingExtra

__all__ = ["best_strength", "log_loss", "logistic", "trees", "worse"]

_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
_ENOUGH = 5_000
"""So many rows of a side are enough to choose a strength by."""
_HELD_BACK_FROM = 7
"""Of so many rows of a side 15 % are at least one."""


def logistic(design: np.ndarray, p: np.ndarray, q: np.ndarray, strength: float) -> np.ndarray:
    """The log ratio at all rows, linear in `design`, learnt from the draws weighted p and q.

    `strength` is of the penalty ½·strength·|coefficients|².
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("scikit-learn", "samples") from error
    if design.shape[1] == 0:
        return np.zeros(len(design))
    x, labels, weight = _stacked(design, p, q)
    model = LogisticRegression(C=1 / strength, solver="newton-cholesky", max_iter=50, tol=1e-5)
    with warnings.catch_warnings():
        # Not converged to the last digit: what a fit is worth is measured on other draws.
        warnings.simplefilter("ignore")
        model.fit(x, labels, sample_weight=weight)
    return np.asarray(model.decision_function(design)) + _prior(p, q)


def best_strength(
    design: np.ndarray, p: np.ndarray, q: np.ndarray, rng: np.random.Generator
) -> float:
    """The weakest penalty that a quarter of the rows held back cannot tell from the best.

    What is smoothed away is lost to the divergence, while what is too rough averages out: the
    weaker of two that do equally well is the better (Newey & Robins 2018, undersmoothing).
    """
    part = rng.random(len(design)) < 2 * _ENOUGH / max(np.count_nonzero(p + q), 1)
    held = part & (rng.random(len(design)) < 0.25)
    learnt = part & ~held
    if not all(w[rows].any() for w in (p, q) for rows in (held, learnt)):
        return 1.0
    share = design[part], (p * learnt)[part], (q * learnt)[part]
    ratios = [logistic(*share, s)[held[part]] for s in _STRENGTHS]
    best = min(ratios, key=lambda ratio: log_loss(ratio, p[held], q[held]))
    for strength, ratio in zip(_STRENGTHS, ratios, strict=True):
        if not worse(ratio, best, p[held], q[held], 1.0):
            return strength
    return _STRENGTHS[-1]


def worse(ratio: np.ndarray, best: np.ndarray, p: np.ndarray, q: np.ndarray, errors: float) -> bool:
    """Whether the log loss of `ratio` is above that of `best` by more than so many errors."""
    extra, variance = 0.0, 0.0
    for sign, weight in ((-1.0, p), (1.0, q)):
        difference = np.logaddexp(0, sign * ratio) - np.logaddexp(0, sign * best)
        total = weight.sum()
        mean = difference @ weight / total
        extra += mean
        variance += float((difference - mean) ** 2 @ weight / total**2)
    return bool(extra > errors * np.sqrt(variance))


def trees(columns: np.ndarray, p: np.ndarray, q: np.ndarray, seed: int) -> np.ndarray:
    """The log ratio from gradient-boosted trees, stopped early on a part held back."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise MissingExtra("scikit-learn", "samples") from error
    x, labels, weight = _stacked(columns, p, q)
    # Fewer rows than make two leaves grow no tree, and leave nothing to hold back.
    held_back = min((p > 0).sum(), (q > 0).sum()) >= _HELD_BACK_FROM
    options: dict[str, Any] = {"early_stopping": bool(held_back), "validation_fraction": 0.15}
    model = HistGradientBoostingClassifier(
        max_iter=200,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        n_iter_no_change=8,
        random_state=seed,
        **options,
    )
    model.fit(x, labels, sample_weight=weight)
    return np.asarray(model.decision_function(columns)) + _prior(p, q)


def log_loss(ratio: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """The mean log loss of the classifier, each side weighing one half."""
    of_p = np.logaddexp(0, -ratio) @ p / p.sum()
    of_q = np.logaddexp(0, ratio) @ q / q.sum()
    return 0.5 * float(of_p + of_q)


def _prior(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.log(q.sum()) - np.log(p.sum()))


def _stacked(
    x: np.ndarray, p: np.ndarray, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of P above rows of Q, with labels and weights; a row of both stands twice."""
    of_p, of_q = p > 0, q > 0
    labels = np.repeat([1.0, 0.0], [of_p.sum(), of_q.sum()])
    return np.concatenate([x[of_p], x[of_q]]), labels, np.concatenate([p[of_p], q[of_q]])
