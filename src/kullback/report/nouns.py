"""What a position is called: a token of a text, or an example of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Nouns", "nouns_of"]


@dataclass(frozen=True)
class Nouns:
    """`unit` is what a loss is counted per, `place` where it is; `event` is what both sides give
    probabilities to, `truth` the event that really came."""

    unit: str
    place: str
    event: str
    truth: str

    @property
    def places(self) -> str:
        """Several of them."""
        return self.place + "s"

    @property
    def is_example(self) -> bool:
        """Whether positions are examples, which stand in no order and make no text."""
        return self.unit == "example"

    def count(self, number: int) -> str:
        """So many of them.

        >>> nouns_of("token").count(1), nouns_of("example").count(2_000)
        ('1 position', '2,000 examples')
        """
        return f"{number:,} {self.place if number == 1 else self.places}"


def nouns_of(unit: str) -> Nouns:
    """The words of a comparison whose `unit` is "token" or "example"."""
    if unit == "example":
        return Nouns("example", "example", "class", "label")
    return Nouns(unit, "position", "token", "next token")
