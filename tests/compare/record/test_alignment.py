"""A record is compared only with what shares its tokeniser, its length and its convention."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest

from kullback.compare import compare
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded
from kullback.compare.record import record
from kullback.compare.record.recording import Recording
from kullback.errors import InputError, TokenizerMismatch

from ..conftest import character_tokenizer, random_llama
from .conftest import CUT


def test_another_tokenizer_is_refused(recorded: Recording) -> None:
    shuffled = character_tokenizer("ba" + string.printable.replace("a", "").replace("b", ""))
    with pytest.raises(TokenizerMismatch, match="id 2 is '0' in the record"):
        compare(recorded.folder, from_loaded(random_llama(0), shuffled))


def test_the_same_tokenizer_needs_no_note(reference: HuggingFaceModel, recorded: Recording) -> None:
    notes = compare(recorded.folder, reference).notes
    assert not any("tokeniser" in note for note in notes)


def test_a_beginning_of_sequence_stays_where_it_was_recorded(
    make_model: Callable[..., HuggingFaceModel], tmp_path: Path
) -> None:
    beginning = character_tokenizer(string.printable, bos=True)
    model, other = (from_loaded(random_llama(seed), beginning) for seed in (0, 1))
    record(model, tmp_path / "ref", **CUT)
    direct, found = compare(model, other, **CUT), compare(tmp_path / "ref", other)
    assert found.kl.value == pytest.approx(direct.kl.value, rel=1e-5)
    assert found.provenance["token_stream"] == direct.provenance["token_stream"]


def test_windows_longer_than_the_candidate_are_refused(
    recorded: Recording, tokenizer: object
) -> None:
    short = from_loaded(random_llama(0, max_position_embeddings=16), tokenizer)
    with pytest.raises(InputError, match="context=32 is longer than the 16 positions"):
        compare(recorded.folder, short)


def test_llama_cpps_sum_is_refused_for_the_largest_probabilities(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    record(reference, tmp_path / "ref", top_k=8, **CUT)
    with pytest.raises(InputError, match="holds the largest probabilities alone"):
        compare(tmp_path / "ref", reference, as_llama_cpp=True)
