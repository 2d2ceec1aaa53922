"""One calibrated log ratio out of those of several models.

The log odds of draws that no model has seen are a weighted sum of what the models say, with
weights ≥ 0 by maximum likelihood. That also undoes what one model exaggerates or smooths away:
afterwards P's share among draws with log ratio g is σ(g), and what is read off is the divergence
of the laws of g, which by data processing is no more than that of P and Q.

Source: Wolpert (1992), Stacked Generalization; van der Laan, Polley & Hubbard (2007), Super
Learner.
"""

from __future__ import annotations

import numpy as np

from kullback.samples.log_ratio.out_of_fold import Predicted

__all__ = ["stacked"]

_STEPS = 100


def stacked(
    found: Predicted, weight_p: np.ndarray, weight_q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The log ratio at the draws of P, [n], and at those of Q, [m], from all models together."""
    from scipy.optimize import minimize
    from scipy.special import expit

    x = np.concatenate([found.p, found.q])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    sign = np.repeat([1.0, -1.0], [len(found.p), len(found.q)])
    weight = np.concatenate([weight_p / weight_p.sum(), weight_q / weight_q.sum()])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ b)
        slope = -sign * expit(-margin) * weight
        return float(np.logaddexp(0, -margin) @ weight), slope @ x

    models = found.p.shape[1]
    start = np.append(np.full(models, 1 / models), 0.0)
    bounds = [(0.0, None)] * models + [(None, None)]
    fitted = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-12)
    ratio = x @ fitted.x
    return ratio[: len(found.p)], ratio[len(found.p) :]
