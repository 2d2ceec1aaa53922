"""What is shown of a token, and what kind it is."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kullback.report.html.tokens import KINDS, Vocabulary, kinds_of, visible


@given(st.text(st.characters(), max_size=200))
def test_nothing_shown_is_unseen_or_turns_the_text_around(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert shown
    for character in shown.replace("↵\n", ""):
        if character in "\u200c\u200d":
            continue
        assert unicodedata.category(character) in ("Zs", "Cn", "Co") or unicodedata.category(
            character
        )[0] not in ("C", "Z")


def test_a_long_token_is_cut() -> None:
    assert len(visible("x" * 10**6)) == 64
    assert len(visible("\n" * 10**6)) <= 128


def test_joiners_stay_where_scripts_need_them_and_show_where_they_are_alone() -> None:
    assert visible("👩\u200d💻") == "👩\u200d💻"
    assert visible("\u200d") == "⟨U+200D⟩"
    assert visible("") == "⟨empty⟩"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ([" The", " cat", "alog", "ue", "."], [0, 0, 1, 1, 3]),
        ([" (", "see", " 3", ".", "14", ")"], [3, 0, 2, 3, 2, 3]),
        (["a", "\n\n", "b", " \t"], [1, 4, 0, 4]),
        ([" don", "'t", " '", "re"], [0, 1, 3, 0]),
        (["\ufffd", "\x00", "€", "½"], [5, 5, 3, 2]),
        (["▁The", "▁c", "at", "x2", "3d"], [0, 0, 1, 1, 1]),
    ],
)
def test_kinds(text: list[str], kinds: list[int]) -> None:
    tokens = np.arange(len(text))
    joined = tokens > 0
    found = kinds_of(tokens, joined, Vocabulary(dict(enumerate(text))))
    assert [KINDS[i] for i in found] == [KINDS[i] for i in kinds]


def test_without_the_token_before_only_a_blank_begins_a_word() -> None:
    vocabulary = Vocabulary({0: " a", 1: "b"})
    assert kinds_of(np.array([0, 1]), np.zeros(2, bool), vocabulary).tolist() == [0, 1]


def test_texts_come_from_the_table_then_from_the_tokeniser_then_there_are_numbers() -> None:
    vocabulary = Vocabulary({1: "one"}, lambda i: f"t{i}")
    assert [vocabulary.shown(i) for i in (1, 2, -1)] == ["one", "t2", "▯"]
    assert Vocabulary({}).shown(7) == "#7 "
