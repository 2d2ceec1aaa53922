"""Documents and windows: which positions count, and which texts are refused."""

from __future__ import annotations

import numpy as np
import pytest

from kullback.compare.windows import (
    batches,
    cut,
    cut_as_llama_cpp,
    first_tokens,
)
from kullback.errors import InputError, TextError


def test_each_window_scores_what_follows_its_warmup() -> None:
    windows = cut([np.arange(11), np.arange(100, 105)], ["a", "b"], context=5, warmup=2)
    assert [w.tokens.tolist() for w in windows.items] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [100, 101, 102, 103, 104],
    ]
    assert [w.targets.tolist() for w in windows.items] == [[3, 4], [8, 9], [103, 104]]
    assert [w.document for w in windows.items] == [0, 0, 1]
    assert [w.chunk for w in windows.items] == [0, 1, 2]
    assert [w.offset for w in windows.items] == [0, 2, 4]
    assert windows.items[0].first_position == 3
    assert windows.scored == 6


def test_a_last_shorter_window_counts_once_it_has_a_scored_position() -> None:
    assert cut([np.arange(9)], ["a"], context=5, warmup=2).scored == 3
    assert cut([np.arange(8)], ["a"], context=5, warmup=2).scored == 2


def test_the_beginning_of_sequence_token_takes_a_place_in_every_window() -> None:
    windows = cut([np.arange(10, 18)], ["a"], context=5, warmup=0, bos=1)
    assert [w.tokens.tolist() for w in windows.items] == [[1, 10, 11, 12, 13], [1, 14, 15, 16, 17]]
    assert np.concatenate([w.targets for w in windows.items]).tolist() == list(range(10, 18))


def test_documents_that_yield_nothing_are_counted_and_not_hidden() -> None:
    windows = cut([np.arange(3), np.arange(4)], ["short", "long"], context=4, warmup=2)
    assert [w.document for w in windows.items] == [1]
    assert "1 of 2 documents" in windows.notes[0]
    with pytest.raises(TextError, match=r"longer than warmup \+ 1 = 9 tokens.*lower --warmup"):
        cut([np.arange(9)], ["a"], context=16, warmup=8)


@pytest.mark.parametrize(("context", "warmup"), [(4, 3), (4, 4), (1, 0), (4, -1)])
def test_a_context_with_nothing_to_score_is_refused(context: int, warmup: int) -> None:
    with pytest.raises(InputError, match="warmup"):
        cut([np.arange(100)], ["a"], context=context, warmup=warmup)


def test_llama_cpp_scores_the_second_half_of_full_chunks() -> None:
    windows = cut_as_llama_cpp(np.arange(10, 27), "a", context=8, bos=1)
    assert [w.tokens[0] for w in windows.items] == [1, 1]
    assert [w.targets.tolist() for w in windows.items] == [[15, 16, 17], [23, 24, 25]]
    assert windows.items[0].first_position == 5
    with pytest.raises(TextError, match="less than one chunk of 8"):
        cut_as_llama_cpp(np.arange(7), "a", context=8)


def test_max_tokens_keeps_whole_windows() -> None:
    windows = cut([np.arange(20)], ["a"], context=5, warmup=2)
    assert len(first_tokens(windows, 14).items) == 2
    assert len(first_tokens(windows, 15).items) == 3
    assert first_tokens(windows, None) is windows
    with pytest.raises(TextError, match="first window, which has 5 tokens: give at least 5"):
        first_tokens(windows, 4)


def test_batches_hold_windows_of_one_shape_and_lose_none() -> None:
    windows = cut([np.arange(n) for n in (13, 5, 9, 4)], list("abcd"), context=5, warmup=1)
    groups = list(batches(windows.items, 2))
    assert all(len({len(w.tokens) for w in group}) == 1 for group in groups)
    assert max(len(group) for group in groups) == 2
    assert sorted(w.chunk for group in groups for w in group) == list(range(len(windows.items)))


def test_documents_that_max_tokens_does_not_reach_are_not_of_the_text() -> None:
    windows = cut([np.arange(n) for n in (2, 10, 5, 5)], list("abcd"), context=5, warmup=2)
    kept = first_tokens(windows, 10)
    assert kept.documents == ["a", "b"]
    assert [w.document for w in kept.items] == [1, 1]
    assert kept.notes[-1] == (
        "the text was ended after 10 tokens, as asked for, before 2 of its documents"
    )
    assert (kept.context, kept.warmup) == (5, 2)
