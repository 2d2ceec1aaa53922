"""When a comparison knows enough: the width at which its interval lets it stop."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from kullback.errors import InputError
from kullback.results import Estimate

__all__ = ["Precision"]

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_HOW = 'give the whole width of the interval in nats, like "0.02", or as a share, like "5%"'


@dataclass(frozen=True)
class Precision:
    """The whole width (high − low) that an interval may have: in nats, or as a share of its mean.

    >>> kl = Estimate(0.20, low=0.19, high=0.21, stderr=0.003)
    >>> Precision.parse("0.05").reached(kl), Precision.parse("5%").reached(kl)
    (True, False)
    """

    width: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise InputError(f"a precision is above 0 and finite, got {self.width}: {_HOW}")

    @classmethod
    def parse(cls, text: str) -> Precision:
        """The precision that `text` asks for: "0.02" is a width in nats, "5%" a share of the mean.

        Raises `InputError` for anything else, and for a width that is zero or not finite.
        """
        words = text.strip()
        relative = words.endswith("%")
        number = words.removesuffix("%").rstrip()
        if not _NUMBER.fullmatch(number):
            raise InputError(f"{text!r} is no precision: {_HOW}")
        width = float(number)
        if not 0 < width < math.inf:
            raise InputError(f"{text!r} is no precision, which is above 0 and finite: {_HOW}")
        return cls(width / 100 if relative else width, relative)

    def reached(self, estimate: Estimate) -> bool:
        """Whether `estimate` has an interval that can be leaned on and is this narrow.

        An infinite mean is never known well enough: more text still tells how often it is
        infinite, and what it is elsewhere.
        """
        value, low, high = float(estimate.value), float(estimate.low), float(estimate.high)
        if not estimate.trusted or not all(map(math.isfinite, (value, low, high))):
            return False
        return high - low <= self.width * (value if self.relative else 1.0)

    def __str__(self) -> str:
        return f"{100 * self.width:g} %" if self.relative else f"{self.width:g} nats"
