"""The words around the numbers of one candidate. Everything here is escaped by the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kullback.report.html.breakdowns import Group, Histogram
from kullback.report.html.figures import ends, number, percent, value
from kullback.report.html.positions import Positions
from kullback.report.html.tokens import in_full, visible
from kullback.report.nouns import Nouns
from kullback.results import Comparison, Estimate, Floor

__all__ = [
    "calibration_rows",
    "document_note",
    "limit_note",
    "means",
    "notes",
    "percentile",
    "percents",
    "provenance",
    "spread_note",
    "summary",
]


def summary(comparison: Comparison, nouns: Nouns) -> list[dict[str, str]]:
    """The few numbers that stand below the headline."""
    ratio, accuracy = comparison.perplexity_ratio, comparison.accuracy_difference
    keys = [
        (f"KL per {nouns.unit}, nats", value(comparison.kl), ends(comparison.kl)),
        (
            f"Same top {nouns.event}",
            percent(comparison.same_top.value, 2),
            percents(comparison.same_top),
        ),
        (
            f"Largest at 1 % of {nouns.places}",
            f"≥ {number(comparison.percentiles['p99'])}",
            f"nats; the median is {number(comparison.percentiles['p50'])}",
        ),
    ]
    if accuracy is not None:
        points = f"{'+' if accuracy.value > 0 else ''}{value(accuracy, 100)} points"
        keys.insert(2, ("Accuracy, difference", points, ends(accuracy, 100)))
    elif ratio is not None:
        keys.insert(2, ("Perplexity ratio", f"{ratio.value:.4f}", _ratio_ends(ratio)))
    return [{"name": n, "value": v, "more": m or "no interval"} for n, v, m in keys]


def percents(share: Estimate) -> str:
    """The interval of a share in brackets, or nothing."""
    if math.isnan(share.low):
        return ""
    return f"[{percent(share.low, 2)}, {percent(share.high, 2)}]"


def _ratio_ends(ratio: Estimate) -> str:
    return "" if math.isnan(ratio.low) else f"[{ratio.low:.4f}, {ratio.high:.4f}]"


def means(comparison: Comparison, floor: Floor | None, nouns: Nouns) -> list[dict[str, str]]:
    """Every mean of the comparison, as rows."""
    accuracies: list[tuple[str, Estimate | None]] = [
        ("Accuracy of the reference, share", comparison.accuracy_reference),
        ("Accuracy of the candidate, share", comparison.accuracy_candidate),
        ("Accuracy, difference, paired", comparison.accuracy_difference),
    ]
    noise: list[tuple[str, Estimate | None]] = (
        []
        if floor is None
        else [
            ("Noise floor, KL, nats", floor.kl),
            ("KL less the noise floor, nats", floor.difference),
        ]
    )
    rows: list[tuple[str, Estimate | None]] = [
        ("KL(reference‖candidate), nats", comparison.kl),
        ("KL(candidate‖reference), nats", comparison.reverse_kl),
        ("Jensen-Shannon divergence, nats", comparison.js),
        ("Total variation", comparison.total_variation),
        (f"Same top {nouns.event}, share", comparison.same_top),
        *(accuracies if nouns.is_example else ()),
        (f"Δp of the {nouns.truth}, mean", comparison.delta_p),
        (f"Δp of the {nouns.truth}, RMS", comparison.delta_p_rms),
        ("Perplexity of the reference", comparison.perplexity_reference),
        ("Perplexity of the candidate", comparison.perplexity_candidate),
        ("Perplexity ratio, paired", comparison.perplexity_ratio),
        ("Entropy of the reference, nats", comparison.entropy_p),
        ("Entropy of the candidate, nats", comparison.entropy_q),
        *noise,
        *((visible(name.replace("_", " ")), mean) for name, mean in comparison.columns.items()),
    ]
    return [
        {"name": name, "value": "–", "interval": f"{nouns.truth} unknown"}
        if estimate is None
        else {"name": name, "value": value(estimate), "interval": ends(estimate)}
        for name, estimate in rows
    ]


def spread_note(spread: Histogram, nouns: Nouns) -> str:
    """What the distribution shows, and what stands apart in it."""
    apart = [
        f"{count:,} {words}"
        for count, words in (
            (spread.zeros, "are exactly 0"),
            (spread.negative, "are rounded to below 0"),
            (spread.infinite, "are infinite"),
        )
        if count
    ]
    more = f" {' and '.join(apart)}, drawn in grey.".replace(" and ", ", ", len(apart) - 2)
    whose = f"{nouns.places.capitalize()} by their KL, {spread.positions:,} in all"
    note = f"{whose}; lines mark percentiles."
    return note + (more if apart else "")


def document_note(count: int, shown: Sequence[Group], nouns: Nouns) -> str:
    """Which documents are shown, and whether with intervals."""
    which = "The documents" if count <= len(shown) else f"The {len(shown)} of {count:,} documents"
    bare = any(math.isnan(group.mean.low) for group in shown)
    told = f"{which} with the largest mean KL first."
    if not bare:
        return told
    few = "A document by itself has no" if nouns.is_example else "Below five chunks there is no"
    return f"{told} {few} interval."


def percentile(key: str) -> str:
    """The name of a percentile, by its key."""
    return key if key in ("min", "max") else key.removeprefix("p").replace("_", ".") + " %"


def limit_note(shown: int, total: int, nouns: Nouns) -> str:
    """How much of the text is there."""
    if shown == total:
        return f"{nouns.count(total)}."
    return (
        f"The first {shown:,} of {nouns.count(total)}, so that this file stays small. Everything "
        "above is about all of them."
    )


def calibration_rows(sides: Mapping[str, Sequence[Group]]) -> list[tuple[str, ...]]:
    """Both sides' calibration, bin by bin."""
    names = {"p": "reference", "q": "candidate"}
    rows = [
        (
            g.label,
            names[side],
            f"{g.positions:,}",
            percent(g.at),
            percent(g.mean.value),
            percents(g.mean),
        )
        for side, groups in sides.items()
        for g in groups
    ]
    return sorted(rows, key=lambda row: row[0])


def notes(comparison: Comparison, positions: Positions) -> list[str]:
    """What a reader of the numbers has to know."""
    means = [comparison.kl, comparison.same_top]
    doubts = [estimate.diagnosis for estimate in means if estimate.diagnosis]
    notes = [
        f"{100 * comparison.confidence:.6g} % intervals, clustered by {comparison.clustered_by}: "
        f"{comparison.interval_method}.",
        f"Convention: {comparison.convention}.",
        *comparison.notes,
        *positions.notes,
        *doubts,
    ]
    return [in_full(note) for note in notes]


def provenance(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """What the comparison was made of, a row each."""
    rows: list[tuple[str, str]] = []
    for key, item in tree.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(item, Mapping):
            rows += provenance(item, name)
        elif item is not None:
            rows.append((in_full(name), in_full(str(item))))
    return rows
