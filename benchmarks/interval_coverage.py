"""How often does a 95 % interval contain the truth, when tokens of a document are alike?

Simulates comparisons whose true means are known: documents of unequal (lognormal) length,
each with its own level, tokens that share the level of their stretch of text, and a skewed
KL per token. Counts in how many runs the truth lies in the interval: made from independent
tokens as other tools do, from the plain cluster-robust t, and as `kullback compare` makes it.

Run: python benchmarks/interval_coverage.py [--runs 1000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kullback.compare.intervals import (
    positive_interval,
    share_interval,
    signed_interval,
    t_quantile,
)

DOCUMENT_SPREAD = 0.4  # standard deviations of the log KL: between documents,
STRETCH_SPREAD = 0.5  # between stretches of 32 tokens,
TOKEN_SPREAD = 1.2  # and between tokens
STRETCH = 32
LENGTH_SPREAD = 0.7  # of the log length
MEDIAN_LENGTH = 300
TOP_LOGIT = 2.5  # same-top share of a typical document, as a logit: 92 %


@dataclass(frozen=True)
class Run:
    """One simulated comparison: values of each position and the document it belongs to."""

    kl: np.ndarray
    log_ratio: np.ndarray
    same_top: np.ndarray
    document: np.ndarray

    def clusters(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Sums and sizes by document of one of the quantities."""
        values = np.bincount(self.document, weights=getattr(self, name))
        return values, np.bincount(self.document).astype(np.float64)


def simulate(documents: int, rng: np.random.Generator) -> Run:
    """One text of `documents` documents and what a comparison would see on it."""
    lengths = np.ceil(MEDIAN_LENGTH * np.exp(LENGTH_SPREAD * rng.normal(size=documents)))
    lengths = np.maximum(lengths, STRETCH).astype(int)
    document = np.repeat(np.arange(documents), lengths)
    place = np.arange(len(document)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    stretch = np.cumsum(place % STRETCH == 0) - 1
    count = int(stretch[-1]) + 1

    def level() -> np.ndarray:
        shared = STRETCH_SPREAD * rng.normal(size=count)[stretch]
        return DOCUMENT_SPREAD * rng.normal(size=documents)[document] + shared

    noise = TOKEN_SPREAD * rng.normal(size=len(document))
    log_kl = level() + noise
    log_ratio = 0.3 * level() + 0.3 * rng.standard_t(4, size=len(document))
    agrees = rng.random(len(document)) < 1 / (1 + np.exp(-TOP_LOGIT - level()))
    return Run(np.exp(log_kl), log_ratio, agrees.astype(np.float64), document)


def truths() -> dict[str, float]:
    """The true means of the simulated population."""
    shared = DOCUMENT_SPREAD**2 + STRETCH_SPREAD**2
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    agree = weights @ (1 / (1 + np.exp(-TOP_LOGIT - math.sqrt(shared) * nodes))) / weights.sum()
    return {
        "kl": math.exp((shared + TOKEN_SPREAD**2) / 2),
        "log_ratio": 0.0,
        "same_top": float(agree),
    }


def independent_tokens(run: Run, name: str) -> tuple[float, float]:
    """The normal interval that takes every position as an independent draw."""
    values = getattr(run, name)
    reach = NormalDist().inv_cdf(0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


def plain_t(run: Run, name: str) -> tuple[float, float]:
    """The cluster-robust interval mean ± t·stderr with G − 1 degrees of freedom."""
    sums, sizes = run.clusters(name)
    estimate = signed_interval(sums, sizes)
    reach = t_quantile(0.975, len(sizes) - 1) * estimate.stderr
    return estimate.value - reach, estimate.value + reach


def ours(run: Run, name: str) -> tuple[float, float]:
    """The interval of `kullback compare`."""
    make = {"kl": positive_interval, "log_ratio": signed_interval, "same_top": share_interval}
    estimate = make[name](*run.clusters(name))
    return estimate.low, estimate.high


METHODS: dict[str, Callable[[Run, str], tuple[float, float]]] = {
    "independent tokens": independent_tokens,
    "plain t by document": plain_t,
    "kullback": ours,
}


@dataclass(frozen=True)
class Coverage:
    """The share of runs whose interval held the truth, and the median width of the intervals."""

    covered: float
    width: float


def coverage(documents: int, runs: int, seed: int = 0) -> dict[tuple[str, str], Coverage]:
    """Coverage of each quantity and method over `runs` simulated texts of `documents` each."""
    rng = np.random.default_rng(seed)
    true = truths()
    hits: dict[tuple[str, str], list[bool]] = {(n, m): [] for n in true for m in METHODS}
    widths: dict[tuple[str, str], list[float]] = {key: [] for key in hits}
    for _ in range(runs):
        run = simulate(documents, rng)
        for name, method in hits:
            low, high = METHODS[method](run, name)
            hits[name, method].append(low <= true[name] <= high)
            widths[name, method].append(high - low)
    return {key: Coverage(float(np.mean(hits[key])), float(np.median(widths[key]))) for key in hits}


def main() -> None:
    """Print the table of coverage by quantity, method and number of documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--documents", type=int, nargs="+", default=[3, 5, 8, 12, 20, 50])
    arguments = parser.parse_args()
    error = math.sqrt(0.95 * 0.05 / arguments.runs)
    print(f"coverage of 95 % intervals in {arguments.runs} runs (± {error:.1%} by chance)")
    print("in brackets the median width in units of the true mean (of 1 for the log-ratio)\n")
    columns = "".join(f"{m:>22}" for m in METHODS)
    print(f"{'quantity':<12}{'documents':>10}{columns}")
    true = truths()
    for documents in arguments.documents:
        result = coverage(documents, arguments.runs)
        for name in true:
            unit = true[name] or 1.0
            cells = "".join(
                f"{f'{c.covered:.1%} ({c.width / unit:.3f})':>22}"
                for c in (result[name, method] for method in METHODS)
            )
            print(f"{name:<12}{documents:>10}{cells}", flush=True)


if __name__ == "__main__":
    main()
