"""What others estimate KL(P‖Q) with from draws alone, behind one interface.

    pip install divergence infomeasure npeet-plus scikit-learn scipy

A peer that is not installed is left out, and `missing()` names it. Each is called as its own
documentation does, with its own defaults, in nats. None of them gives an interval.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sample_cells import Cell

Array = np.ndarray
PAIRWISE = 10_000
"""Kernel densities compare every draw with every other: beyond this n they take minutes."""


@dataclass(frozen=True)
class Peer:
    """An estimator of KL(P‖Q) by somebody else.

    Attributes:
        name: the package and its function, short.
        package: what has to be importable.
        kinds: the kinds of cells that it is made for.
        estimate: draws [n] or [n, d] of P and of Q to nats.
        dimensions: the most that it takes.
        largest: the n beyond which it is not asked.
        slow: whether it takes seconds at 10,000 draws.
    """

    name: str
    package: str
    kinds: tuple[str, ...]
    estimate: Callable[[Array, Array], float]
    dimensions: float = np.inf
    largest: float = np.inf
    slow: bool = False

    def applies(self, cell: Cell, n: int) -> bool:
        fits = cell.kind in self.kinds and cell.dimensions <= self.dimensions
        return fits and n <= self.largest


def available() -> dict[str, Peer]:
    """Those whose package is installed, by name."""
    return {peer.name: peer for peer in PEERS if importlib.util.find_spec(peer.package)}


def missing() -> list[str]:
    """The packages of those left out."""
    return sorted({p.package for p in PEERS if not importlib.util.find_spec(p.package)})


def _columns(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _codes(x: Array, y: Array) -> tuple[Array, Array]:
    """Values as whole numbers that both sides share."""
    codes = np.unique(np.concatenate([x, y]), return_inverse=True)[1]
    return codes[: len(x)], codes[len(x) :]


def _divergence_neighbours(x: Array, y: Array) -> float:
    from divergence import knn_kl_divergence

    return float(knn_kl_divergence(x, y))


def _divergence_kernels(x: Array, y: Array) -> float:
    from divergence import continuous_relative_entropy_from_sample

    return float(continuous_relative_entropy_from_sample(x, y))


def _divergence_counts(x: Array, y: Array) -> float:
    from divergence import discrete_relative_entropy

    return float(discrete_relative_entropy(*_codes(x, y)))


def _npeet(x: Array, y: Array) -> float:
    from npeet_plus import kldiv

    return float(kldiv(_columns(x), _columns(y), base=np.e))


def _infomeasure(approach: str) -> Callable[[Array, Array], float]:
    def estimate(x: Array, y: Array) -> float:
        import infomeasure

        sides = (x, y) if approach == "metric" else _codes(x, y)
        return float(infomeasure.kld(*sides, approach=approach))

    return estimate


def _scipy_kernels(x: Array, y: Array) -> float:
    from scipy.stats import gaussian_kde

    of_p, of_q = gaussian_kde(x.T), gaussian_kde(y.T)
    return float(np.mean(of_p.logpdf(x.T) - of_q.logpdf(x.T)))


def _sklearn_kernels(x: Array, y: Array) -> float:
    from sklearn.neighbors import KernelDensity

    x, y = _columns(x), _columns(y)
    options: dict[str, Any] = {"bandwidth": "scott", "rtol": 1e-4}
    of_p, of_q = (KernelDensity(**options).fit(side) for side in (x, y))
    return float(np.mean(of_p.score_samples(x) - of_q.score_samples(x)))


def _nearest(x: Array, y: Array) -> float:
    """Pérez-Cruz (2008), eq. 14, with k = 1: the estimator as papers give it, on SciPy's trees."""
    from scipy.spatial import KDTree

    x, y = _columns(x), _columns(y)
    within = KDTree(x).query(x, k=2)[0][:, 1]
    across = KDTree(y).query(x, k=1)[0]
    with np.errstate(divide="ignore"):  # tied draws lie at distance 0: it has no answer for them
        logs = np.log(across) - np.log(within)
    return float(x.shape[1] * np.mean(logs) + np.log(len(y) / (len(x) - 1)))


_CONTINUOUS, _DISCRETE = ("continuous", "rounded"), ("counts", "categorical", "rounded")

PEERS = (
    Peer("divergence kNN", "divergence", _CONTINUOUS, _divergence_neighbours),
    Peer("divergence KDE", "divergence", _CONTINUOUS, _divergence_kernels, dimensions=1),
    Peer("divergence discrete", "divergence", _DISCRETE, _divergence_counts),
    Peer("npeet-plus", "npeet_plus", _CONTINUOUS, _npeet),
    Peer("infomeasure kNN", "infomeasure", _CONTINUOUS, _infomeasure("metric")),
    Peer("infomeasure discrete", "infomeasure", _DISCRETE, _infomeasure("discrete")),
    Peer("infomeasure M-M", "infomeasure", _DISCRETE, _infomeasure("miller_madow")),
    Peer("scipy KDE", "scipy", _CONTINUOUS, _scipy_kernels, largest=PAIRWISE, slow=True),
    Peer("scikit-learn KDE", "sklearn", _CONTINUOUS, _sklearn_kernels, largest=PAIRWISE, slow=True),
    Peer("Pérez-Cruz, k = 1", "scipy", ("continuous",), _nearest),
)


if __name__ == "__main__":
    print("installed:", ", ".join(available()))
    print("missing:", ", ".join(missing()) or "none")
