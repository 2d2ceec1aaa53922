"""Texts of tokens: what a page may show of them, and what kind of token each is.

A token can be anything: half a character, a newline, an override of the writing direction, a
script tag. The page gets only what `visible` makes of it, as text.

| kind | a token that |
| --- | --- |
| whitespace | has nothing but blanks, tabs and newlines |
| number | has a digit and no letter |
| word start | has a letter; begins with a blank, or stands after what is no letter or digit |
| inside a word | has a letter, and goes on (as "'t" does) after one that ends in letter or digit |
| punctuation | has neither, but visible signs |
| other | the rest: control characters, broken bytes |

Where the token before it is not known (the first one scored of a chunk), only a blank of its own
begins a word. Languages that write no blanks are all "inside a word" by this rule.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["KINDS", "Vocabulary", "in_full", "kinds_of", "visible"]

KINDS = ("word start", "inside a word", "number", "punctuation", "whitespace", "other")
_LONGEST = 64
_UNKNOWN = "▯"
# SentencePiece writes a blank so in the names of its pieces.
_BLANK = "▁"
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Vocabulary:
    """Texts by token id: those a table brought, and for the rest whoever can tell."""

    known: Mapping[int, str]
    token_text: Callable[[int], str] | None = None
    apart: bool = False
    """Whether the texts are names, which stand apart from each other."""

    def raw(self, token: int) -> str | None:
        """The text of a token as it is, None where nobody knows it."""
        if token in self.known:
            return self.known[token]
        return None if token < 0 or self.token_text is None else str(self.token_text(token))

    def shown(self, token: int) -> str:
        """What the page shows of a token: its text made visible, else its number."""
        text = self.raw(token)
        number = _UNKNOWN if token < 0 else f"#{token} "
        shown = number if text is None else visible(text)
        return shown.strip() + " " if self.apart else shown


def visible(text: str) -> str:
    r"""`text` with everything unseen made visible, in at most 64 characters.

    Newlines stay, after a sign for them; so do the joiners that scripts and emoji need.

    >>> visible("a\n"), visible("\u202eabc"), visible("\ud800"), visible("\x00")
    ('a↵\n', '⟨U+202E⟩abc', '⟨U+D800⟩', '␀')
    """
    text = text.replace(_BLANK, " ")
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    if not cut.strip(_JOINERS):
        return "".join(_named(character) for character in cut) or "⟨empty⟩"
    return in_full(cut)


def in_full(text: str) -> str:
    """`text` with everything unseen made visible, however long."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    special = {"\n": "↵\n", "\t": "⇥", "\x7f": "␡"}
    if character in special:
        return special[character]
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))
    if character in _JOINERS:
        return character
    # Controls, formats, surrogates, separators of lines and paragraphs.
    return _named(character) if unicodedata.category(character)[0] in "CZ" else character


def _named(character: str) -> str:
    unseen = unicodedata.category(character) not in ("Zs", "Cn", "Co")
    return f"⟨U+{ord(character):04X}⟩" if unseen else character


def kinds_of(tokens: np.ndarray, joined: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """The index in `KINDS` of each of `tokens`; `joined` where the one before it is known."""
    ids, place = np.unique(tokens, return_inverse=True)
    texts = [(vocabulary.raw(int(token)) or "").replace(_BLANK, " ") for token in ids]
    kind = np.array([_kind_alone(text) for text in texts])[place]
    blank = np.array([text[:1].isspace() for text in texts])[place]
    # Of "(x" the x begins a word, whatever was before the bracket; "'t" goes on with its word.
    begins = np.array([not (text[:1].isalnum() or text[:1] in "'’") for text in texts])[place]
    ends = np.array([text[-1:].isalnum() for text in texts])[place]
    after_word = np.where(joined, np.roll(ends, 1), True)
    inside = (kind == 0) & ~blank & ~(begins & joined) & after_word
    return np.where(inside, 1, kind)


def _kind_alone(text: str) -> int:
    if text.isspace():
        return KINDS.index("whitespace")
    if any(character.isalpha() for character in text):
        return KINDS.index("word start")
    if any(character.isnumeric() for character in text):
        return KINDS.index("number")
    signs = [c for c in text if c != "\ufffd" and unicodedata.category(c)[0] in "PS"]
    return KINDS.index("punctuation" if signs else "other")
