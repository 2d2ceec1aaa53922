"""One word on a comparison, and what it was judged by.

First against the noise floor, where one was measured: the reference against itself, in the
candidate's dtype or batch shape. A candidate whose KL, position by position, is not clearly above
that loses nothing that rounding would not. Else by the share of the reference's own entropy, since
0.01 nats are much where the reference is sure and little where the text leaves it free:

| KL / entropy of the reference | verdict |
| --- | --- |
| 0 at every position | nothing |
| below 1 % | small |
| from 1 % to 10 % | noticeable |
| 10 % and more | large |
| infinite | infinite |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kullback.report.nouns import Nouns, nouns_of
from kullback.results import Comparison, Floor

__all__ = ["Verdict", "rule", "verdict"]

NOTICEABLE, LARGE = 0.01, 0.10
"""Shares of the reference's entropy from which a loss has these names."""


@dataclass(frozen=True)
class Verdict:
    """`level` is "rounding", "nothing", "small", "noticeable", "large" or "infinite"."""

    level: str
    title: str
    reason: str

    @property
    def word(self) -> str:
        """The level as it stands in a column."""
        return {"rounding": "within noise", "nothing": "no loss"}.get(self.level, self.level)


def verdict(comparison: Comparison, floor: Floor | None = None) -> Verdict:
    """How much the candidate's loss is, in a word, with the reason in a sentence.

    Example:
        >>> from dataclasses import replace
        >>> import numpy as np
        >>> from kullback.compare import compare
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name, row in (("p", [0.5, 0.5]), ("q", [0.6, 0.4])):
        ...     np.save(folder / f"{name}.npy", np.log([row] * 4))
        >>> found = verdict(compare(folder / "p.npy", folder / "q.npy"))
        >>> found.level, found.reason[:52]
        ('noticeable', 'The KL is 2.94 % of the entropy of the reference, wh')
    """
    nouns = nouns_of(comparison.unit)
    if math.isinf(comparison.kl.value):
        return Verdict("infinite", "Infinite", _infinite(comparison, nouns))
    if comparison.kl.value == 0 and comparison.percentiles["max"] == 0:
        return Verdict("nothing", "No loss", f"The KL is exactly 0 at every {nouns.place}.")
    if floor is not None and floor.difference.low <= 0:
        return Verdict("rounding", "Not distinguishable from rounding", _below(floor))
    return _by_share(comparison, floor, nouns)


def rule(floor: bool) -> str:
    """What the words of a column of verdicts mean; `floor` where a noise floor was measured."""
    shares = (
        f"the KL as a share of the reference's entropy, small below {NOTICEABLE:.0%}, large from "
        f"{LARGE:.0%} on, noticeable between"
    ).replace("%", " %")
    if floor:
        return (
            "Verdicts: within noise where the KL less that of the noise floor does not rule out "
            f"0; else {shares}."
        )
    return f"Verdicts: {shares}. No noise floor was measured."


def _infinite(comparison: Comparison, nouns: Nouns) -> str:
    return (
        f"The candidate gives no probability to what the reference allows, at "
        f"{comparison.infinite_positions:,} of {nouns.count(comparison.positions)}."
    )


def _below(floor: Floor) -> str:
    difference = floor.difference
    return (
        f"The reference against itself has a KL of {floor.kl.value:.3g} nats, and the candidate's "
        f"differs from that by {difference.value:.2g} [{difference.low:.2g}, "
        f"{difference.high:.2g}] nats, which does not rule out 0."
    )


def _by_share(comparison: Comparison, floor: Floor | None, nouns: Nouns) -> Verdict:
    kl, entropy = comparison.kl, comparison.entropy_p.value
    share = _share(kl.value, entropy)
    level = _level(share)
    reason = (
        f"The KL is {_percent(share)} of the entropy of the reference, which is {entropy:.3g} "
        f"nats per {nouns.unit}. {_rule(level)}"
    )
    ends = [_level(_share(end, entropy)) for end in (kl.low, kl.high) if not math.isnan(end)]
    others = [end for end in dict.fromkeys(ends) if end != level]
    if others:
        reason += f" The interval reaches into {' and '.join(others)}."
    if not ends:
        reason += f" There {_too_little(nouns)} for an interval, so this may change with more."
    return Verdict(level, level.capitalize() + " loss", reason + _above(floor, nouns))


def _too_little(nouns: Nouns) -> str:
    return "are too few examples" if nouns.is_example else "is too little text"


def _share(kl: float, entropy: float) -> float:
    if entropy == 0:
        return math.inf if kl > 0 else 0.0
    return kl / entropy


def _percent(share: float) -> str:
    if math.isinf(share):
        return "an infinite multiple"
    return f"{100 * share:.3g} %" if share < 10 else f"{share:.3g} times"


def _level(share: float) -> str:
    if share < NOTICEABLE:
        return "small"
    return "noticeable" if share < LARGE else "large"


def _rule(level: str) -> str:
    bounds = {
        "small": f"Below {NOTICEABLE:.0%} is called small.",
        "noticeable": f"From {NOTICEABLE:.0%} to {LARGE:.0%} is called noticeable.",
        "large": f"From {LARGE:.0%} on it is called large.",
    }
    return bounds[level].replace("%", " %")


def _above(floor: Floor | None, nouns: Nouns) -> str:
    if floor is None:
        return " No noise floor was measured."
    if math.isnan(floor.difference.low):
        little = _too_little(nouns).partition(" ")[2]
        return f" The noise floor was measured on {little} to judge by."
    if floor.kl.value == 0:
        return (
            " Running the reference another way changed nothing, so there is no floor to judge by."
        )
    return f" It is above the noise floor of {floor.kl.value:.3g} nats."
