"""How often does a 95 % interval miss at some time, when one looks after every document?

Simulates comparisons whose true mean KL is known: documents of unequal (lognormal) length with
a lognormal level of their own, stretches of 32 tokens that share a level, lognormal tokens.
From the first answer on it looks after every document, and counts the runs in which the truth
was ever outside: of the confidence sequence that `--precision` uses, of the interval for a
fixed number of documents (as `kullback compare` makes it), and of Theorem 2.2 of Waudby-Smith
et al. (arXiv 2103.06476) as printed, without the care for small samples.

Run: python benchmarks/confidence_sequences.py [--runs 2000] [--documents 400]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from kullback.compare.intervals import positive_interval
from kullback.compare.sequences import PLANNED_DOCUMENTS, sequence_interval

STRETCH = 32
STRETCH_SPREAD = 0.5  # standard deviations of the log KL: between stretches of 32 tokens,
MEDIAN_LENGTH = 300
LENGTH_SPREAD = 0.7  # of the log length
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Population:
    """Standard deviations of the log KL between documents and between tokens.

    `with_length` is the correlation of a document's log KL with its log length.
    """

    documents: float
    tokens: float
    with_length: float = 0.0

    @property
    def mean(self) -> float:
        """The true ΣKL/Σpositions, by a sum over the normal score of the length."""
        score = np.linspace(-9, 9, 200_001)
        weight = np.exp(-(score**2) / 2) * lengths(score)
        rest = self.documents**2 * (1 - self.with_length**2)
        level = np.exp(self.documents * self.with_length * score + rest / 2)
        within = math.exp((STRETCH_SPREAD**2 + self.tokens**2) / 2)
        return float((weight * level).sum() / weight.sum()) * within


POPULATIONS = {
    "like models": Population(0.4, 1.2),
    "wide": Population(0.8, 1.2),
    "heavy tail": Population(1.0, 1.5),
    "long are worse": Population(0.6, 1.2, with_length=0.5),
}


def lengths(score: np.ndarray) -> np.ndarray:
    """The positions of documents, by the normal score of their length."""
    return np.maximum(np.ceil(MEDIAN_LENGTH * np.exp(LENGTH_SPREAD * score)), STRETCH)


def simulate(
    population: Population, documents: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The KL's sum and the number of positions of each document of one text."""
    score, own = rng.normal(size=(2, documents))
    sizes = lengths(score).astype(int)
    stretches = -(-sizes // STRETCH)
    last = np.cumsum(stretches) - 1
    filled = np.full(last[-1] + 1, STRETCH)
    filled[last] = sizes - STRETCH * (stretches - 1)
    tokens = np.exp(population.tokens * rng.normal(size=filled.sum()))
    sums = np.add.reduceat(tokens, np.cumsum(filled) - filled)
    sums *= np.exp(STRETCH_SPREAD * rng.normal(size=len(filled)))
    share = population.with_length
    level = population.documents * (share * score + math.sqrt(1 - share**2) * own)
    return np.add.reduceat(sums, last - stretches + 1) * np.exp(level), sizes.astype(np.float64)


def as_printed(value: float, stderr: float, documents: int) -> tuple[float, float]:
    """Theorem 2.2 as printed, at the ρ that the sequence uses for 95 %."""
    x = 8.21197 * documents / PLANNED_DOCUMENTS
    reach = stderr * math.sqrt((1 + 1 / x) * math.log((1 + x) / (1 - CONFIDENCE) ** 2))
    return value - reach, value + reach


@dataclass
class Watch:
    """What one run showed: whether each interval ever missed, and the last widths."""

    sequence: bool = False
    fixed: bool = False
    printed: bool = False
    fixed_once: bool = False
    ratio: float = math.nan


def watch(sums: np.ndarray, sizes: np.ndarray, truth: float) -> Watch:
    """Look after every document of one run."""
    seen = Watch()
    for n in range(2, len(sums) + 1):
        now = sequence_interval(sums[:n], sizes[:n], confidence=CONFIDENCE)
        if math.isnan(now.low):
            continue
        seen.sequence |= not now.low <= truth <= now.high
        low, high = as_printed(now.value, float(now.stderr), n)
        seen.printed |= not low <= truth <= high
        # The fixed interval's quantile is above 1.9599: nearer than that it cannot miss.
        near = abs(math.log(truth / now.value)) * now.value <= 1.9599 * now.stderr
        if not near and not seen.fixed:
            seen.fixed = misses(sums[:n], sizes[:n], truth)
    last = positive_interval(sums, sizes, confidence=CONFIDENCE)
    seen.fixed_once = misses(sums, sizes, truth)
    seen.ratio = (now.high - now.low) / (last.high - last.low)
    return seen


def misses(sums: np.ndarray, sizes: np.ndarray, truth: float) -> bool:
    """Whether the interval for a fixed number of documents leaves the truth out."""
    estimate = positive_interval(sums, sizes, confidence=CONFIDENCE)
    return not estimate.low <= truth <= estimate.high


def rates(population: Population, documents: int, runs: int, seed: int) -> dict[str, float]:
    """Shares of runs that ever missed, and the median ratio of the last widths."""
    rng = np.random.default_rng(seed)
    truth = population.mean
    seen = [watch(*simulate(population, documents, rng), truth) for _ in range(runs)]
    names = ("sequence", "fixed", "printed", "fixed_once")
    shares = {name: float(np.mean([getattr(one, name) for one in seen])) for name in names}
    return shares | {"ratio": float(np.median([one.ratio for one in seen]))}


def median_ratio(population: Population, documents: int, runs: int, seed: int) -> float:
    """The sequence's width over the fixed interval's at so many documents, the median."""
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(runs):
        sums, sizes = simulate(population, documents, rng)
        wide, narrow = sequence_interval(sums, sizes), positive_interval(sums, sizes)
        ratios.append((wide.high - wide.low) / (narrow.high - narrow.low))
    return float(np.nanmedian(ratios))  # NaN where the lengths give no answer yet


def main() -> None:
    """Print the table of misses and widths by population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", choices=POPULATIONS, nargs="+", default=list(POPULATIONS))
    arguments = parser.parse_args()
    error = math.sqrt(0.95 * 0.05 / arguments.runs)
    print(f"runs of {arguments.runs} with the truth ever outside (5 % ± {error:.1%} by chance),")
    print(f"looking after each of {arguments.documents} documents; widths over the fixed-n one's\n")
    heads = ("sequence", "as printed", "fixed-n", "fixed-n, one look")
    wide = (f"width at {PLANNED_DOCUMENTS}", f"at {arguments.documents}")
    print(f"{'population':<16}" + "".join(f"{head:>19}" for head in (*heads, *wide)))
    for name in arguments.only:
        population = POPULATIONS[name]
        result = rates(population, arguments.documents, arguments.runs, arguments.seed)
        planned = median_ratio(population, PLANNED_DOCUMENTS, 500, arguments.seed)
        shares = (result[key] for key in ("sequence", "printed", "fixed", "fixed_once"))
        cells = [f"{share:.1%}" for share in shares]
        cells += [f"{ratio:.2f}" for ratio in (planned, result["ratio"])]
        print(f"{name:<16}" + "".join(f"{cell:>19}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
