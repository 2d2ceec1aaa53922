"""Made-up positions, for tests of what is folded from positions and how it is shown."""

from __future__ import annotations

import numpy as np

from kullback.compare.accumulate import Accumulator, comparison_from
from kullback.compare.positions import PositionBatch
from kullback.results import Comparison

CHUNK = 64


def positions(seed: int = 0, documents: int = 8, per_document: int = 200) -> PositionBatch:
    """Positions of documents of about `per_document`, in order, with levels of their own."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(per_document // 2, per_document * 3 // 2, documents)
    document = np.repeat(np.arange(documents), sizes)
    n = len(document)
    place = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chunk = np.cumsum(place % CHUNK == 0) - 1
    kl = rng.lognormal(-6, 1, n) * rng.lognormal(0, 0.4, documents)[document]
    top_prob = rng.beta(1.2, 0.6, n)
    top = rng.integers(0, 50, n)
    log_prob = np.log(rng.uniform(0.01, 1, n))
    return PositionBatch(
        statistics={
            "kl": kl,
            "reverse_kl": 1.1 * kl,
            "js": kl / 4,
            "total_variation": np.sqrt(kl / 4),
            "entropy_p": 3 * (1 - top_prob),
            "entropy_q": 3.1 * (1 - top_prob),
            "log_prob_p": log_prob,
            "log_prob_q": log_prob + 0.1 * rng.normal(size=n) - 0.1,
            "top_p": top,
            "top_q": np.where(rng.random(n) < 0.05, top + 1, top),
            "top_prob_p": top_prob,
            "top_prob_q": top_prob,
        },
        document=document,
        chunk=chunk,
        position=CHUNK + place % CHUNK,
        token=rng.integers(0, 50, n),
    )


def part(batch: PositionBatch, which: slice | np.ndarray) -> PositionBatch:
    """Some of the positions of `batch`."""
    return PositionBatch(
        statistics={name: values[which] for name, values in batch.statistics.items()},
        document=batch.document[which],
        chunk=batch.chunk[which],
        position=batch.position[which],
        token=batch.token[which],
        columns={name: values[which] for name, values in batch.columns.items()},
    )


def comparison(batch: PositionBatch | None = None, **options) -> Comparison:
    """The comparison of `batch`, whose documents are named a, b, …"""
    accumulator = Accumulator()
    accumulator.update(positions() if batch is None else batch)
    defaults = {
        "convention": "careful",
        "documents": [chr(ord("a") + i) for i in range(8)],
        "provenance": {"reference": {"name": "p", "hash": "12"}, "seed": 0, "tokenizer": None},
    }
    return comparison_from(accumulator, **(defaults | options))
