"""Names on a terminal: what comes from files and paths must not move its cursor or colour it."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""`text` with everything that is no visible sign or blank written as an escape.

    >>> printable("St. Mary's"), printable("red\x1b[31m"), printable("\ud800\u202e")
    ("St. Mary's", 'red\\x1b[31m', '\\ud800\\u202e')
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
