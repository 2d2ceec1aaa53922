"""Saved logits: every format and shape gives the same answer, and bad files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kullback.compare import compare
from kullback.compare.readers import open_source
from kullback.errors import (
    ComparisonError,
    DtypeError,
    FileFormatError,
    InputError,
    NonFiniteError,
    ShapeError,
    SpaceError,
    TextError,
    TokenizerMismatch,
    VocabularyMismatch,
)

POSITIONS, EVENTS = 12, 7


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(POSITIONS, EVENTS)).astype(np.float32)


def log_probs(values: np.ndarray) -> np.ndarray:
    return torch.log_softmax(torch.from_numpy(values), -1).numpy()


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path.with_suffix(".npz"), **arrays)  # pyright: ignore[reportArgumentType]
    return path.with_suffix(".npz")


def save_safetensors(path: Path, arrays: dict[str, Any]) -> Path:
    tensors = {name: torch.as_tensor(values).contiguous() for name, values in arrays.items()}
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def save_npy(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.save(path.with_suffix(".npy"), arrays["logits"])
    return path.with_suffix(".npy")


Saver = Callable[[Path, dict[str, Any]], Path]
SAVERS: list[Saver] = [save_npz, save_safetensors, save_npy]


def exact_kl(p: np.ndarray, q: np.ndarray) -> float:
    a, b = (torch.log_softmax(torch.from_numpy(x).double(), -1) for x in (p, q))
    return float((a.exp() * (a - b)).sum(-1).mean())


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("shape", [(12, 7), (3, 4, 7)])
def test_all_formats_and_shapes_give_the_kl(
    tmp_path: Path, save: Saver, shape: tuple[int, ...]
) -> None:
    p, q = rows(0), rows(1)
    found = compare(
        save(tmp_path / "p", {"logits": p.reshape(shape)}),
        save(tmp_path / "q", {"logits": q.reshape(shape)}),
    )
    # float32 arithmetic over seven events.
    assert found.kl.value == pytest.approx(exact_kl(p, q), rel=1e-5)
    assert found.positions == POSITIONS
    assert found.perplexity_reference is None


def test_sides_may_differ_in_format_shape_and_space(tmp_path: Path) -> None:
    p, q = rows(0), rows(1)
    reference = save_npz(tmp_path / "p", {"log_probs": log_probs(p).reshape(4, 3, 7)})
    candidate = save_safetensors(tmp_path / "q", {"logits": q.reshape(2, 6, 7)})
    assert compare(reference, candidate).kl.value == pytest.approx(exact_kl(p, q), rel=1e-5)


def test_half_precision_is_read_as_it_is(tmp_path: Path) -> None:
    p = torch.from_numpy(rows(0)).bfloat16()
    path = save_safetensors(tmp_path / "p", {"logits": p})
    source = open_source(path)
    assert source.windows is not None
    torch.testing.assert_close(source.rows(source.windows.items).values, p, rtol=0, atol=0)


@pytest.mark.parametrize("save", [save_npz, save_safetensors])
def test_tokens_and_documents_are_used(tmp_path: Path, save: Saver) -> None:
    p, q = rows(0), rows(1)
    tokens = np.arange(POSITIONS) % EVENTS
    tokens[3] = -1
    documents = np.repeat([4, 2, 9], [5, 5, 2])
    reference = save(tmp_path / "p", {"logits": p, "tokens": tokens, "documents": documents})
    found = compare(reference, save(tmp_path / "q", {"logits": q}))
    known = tokens >= 0
    surprisal = -log_probs(p)[known, tokens[known]].mean(dtype=np.float64)
    assert found.perplexity_reference is not None
    assert found.perplexity_reference.value == pytest.approx(np.exp(surprisal), rel=1e-5)
    assert found.documents == 3
    assert found.provenance["reference"]["kind"] == "saved logits"


def test_tokens_may_come_from_the_candidate_and_must_agree(tmp_path: Path) -> None:
    tokens = np.arange(POSITIONS) % EVENTS
    plain = save_npz(tmp_path / "plain", {"logits": rows(0)})
    known = save_npz(tmp_path / "known", {"logits": rows(1), "tokens": tokens})
    other = save_npz(tmp_path / "other", {"logits": rows(1), "tokens": (tokens + 1) % EVENTS})
    assert compare(plain, known).perplexity_candidate is not None
    with pytest.raises(TokenizerMismatch, match=r"at position 0 of the file it is 0 .* and 1"):
        compare(known, other)


def test_documents_may_come_from_the_candidate(tmp_path: Path) -> None:
    p, q = (np.random.default_rng(seed).normal(size=(700, 5)) for seed in (0, 1))
    documents = np.repeat([f"d{i}" for i in range(14)], 50)
    plain = save_npy(tmp_path / "plain", {"logits": p})
    known = save_npz(tmp_path / "known", {"logits": q, "documents": documents})
    both = save_npz(tmp_path / "both", {"logits": p, "documents": documents})
    found, expected = compare(plain, known), compare(both, known)
    assert found.documents == 14
    assert found.clustered_by == "document"
    assert (found.kl.low, found.kl.high) == (expected.kl.low, expected.kl.high)
    assert not any("runs of 256" in note for note in found.notes)
    assert any(note.startswith("the document ids are those of") for note in found.notes)


def test_documents_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    ours, theirs = (
        save_npz(
            tmp_path / f"{n}", {"logits": rows(0), "documents": np.repeat([0, 1], [n, 12 - n])}
        )
        for n in (5, 6)
    )
    message = "position 5 belongs to '1' in the reference and to '0' in the candidate"
    with pytest.raises(ComparisonError, match=message):
        compare(ours, theirs)


def test_notes_stand_once(tmp_path: Path) -> None:
    path = save_npy(tmp_path / "p", {"logits": rows(0)})
    notes = compare(path, path).notes
    assert len(set(notes)) == len(notes)
    # A sentence begins with a capital, which must not change the name of a file.
    assert not any(note.startswith("p.npy") for note in notes)


def test_what_only_a_model_or_a_text_can_take_is_refused(tmp_path: Path) -> None:
    path = save_npy(tmp_path / "p", {"logits": rows(0)})
    with pytest.raises(InputError, match="leave out context, warmup"):
        compare(path, path, context=8, warmup=2)
    with pytest.raises(InputError, match="files need no model: leave out dtype"):
        compare(path, path, dtype="bfloat16")
    with pytest.raises(InputError, match="dtype='float33'"):
        compare(path, path, dtype="float33")
    with pytest.raises(InputError, match="device='gpu'"):
        compare(path, path, device="gpu")
    with pytest.raises(TextError, match="has 12 positions: give at least 12"):
        compare(path, path, max_tokens=5)
    provenance = compare(path, path).provenance
    assert [provenance[key] for key in ("context", "warmup", "documents")] == [None] * 3


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2"])
def test_bytes_in_the_other_order_are_turned(tmp_path: Path, dtype: str) -> None:
    own = np.dtype(dtype).newbyteorder("=")
    p, q = rows(0).astype(own), rows(1).astype(own)
    swapped = save_npy(tmp_path / "swapped", {"logits": p.astype(dtype)})
    native = save_npy(tmp_path / "native", {"logits": p})
    candidate = save_npy(tmp_path / "q", {"logits": q})
    assert compare(swapped, candidate).kl.value == compare(native, candidate).kl.value


@pytest.mark.parametrize("values", [rows(0).astype(np.longdouble), np.full((3, 4), "a")])
def test_dtypes_that_torch_lacks_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = save_npy(tmp_path / "p", {"logits": values})
    with pytest.raises(DtypeError, match="logits need a floating dtype: float16"):
        compare(path, path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", [b"hello, world", b"\x80\x04K\x01.", b""])
def test_a_foreign_file_by_that_name_is_refused_without_talk_of_pickles(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="is not a whole") as caught:
        compare(path, path)
    assert "pickle" not in str(caught.value)


def test_python_objects_are_refused_without_talk_of_pickles(tmp_path: Path) -> None:
    values = np.array([[1.0, None]], dtype=object)
    for path in (
        save_npy(tmp_path / "p", {"logits": values}),
        save_npz(tmp_path / "p", {"logits": values}),
    ):
        with pytest.raises(FileFormatError, match="Python objects") as caught:
            compare(path, path)
        assert "pickle" not in str(caught.value)


def test_long_documents_are_read_in_blocks(tmp_path: Path) -> None:
    p = np.random.default_rng(0).normal(size=(700, 5))
    source = open_source(save_npz(tmp_path / "p", {"logits": p}))
    assert source.windows is not None
    assert [w.scored for w in source.windows.items] == [256, 256, 188]
    assert "runs of 256 rows" in source.windows.notes[0]
    torch.testing.assert_close(source.rows(source.windows.items[1:]).values, torch.tensor(p[256:]))


def test_rows_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    values = log_probs(rows(0))
    truncated = np.where(values < np.median(values), -np.inf, values)
    good = save_npz(tmp_path / "good", {"log_probs": values})
    with pytest.raises(SpaceError, match=r"row 0 of 'log_probs' .* instead of 1"):
        compare(good, save_npz(tmp_path / "top", {"log_probs": truncated}))
    with pytest.raises(SpaceError, match="look like probabilities"):
        compare(good, save_npz(tmp_path / "probs", {"logits": np.exp(values)}))
    with pytest.raises(DtypeError, match="int64"):
        compare(good, save_npz(tmp_path / "ints", {"logits": np.arange(84).reshape(12, 7)}))


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"logits": np.zeros(3)}, ShapeError, r"shape \[3\]"),
        ({"logits": np.zeros((0, 3))}, ShapeError, "none of them empty"),
        ({"weight": np.zeros((2, 3))}, FileFormatError, "holds weight: it needs"),
        ({"logits": np.eye(3), "log_probs": np.eye(3)}, FileFormatError, "either"),
        ({"logits": np.eye(3) - 1, "tokens": np.zeros(2, int)}, ShapeError, r"'tokens'.*\[3\]"),
        ({"logits": np.eye(3) - 1, "tokens": np.zeros(3)}, DtypeError, "token ids are integers"),
    ],
)
def test_files_that_hold_something_else_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], error: type[Exception], message: str
) -> None:
    path = save_npz(tmp_path / "p", arrays)
    with pytest.raises(error, match=message):
        compare(path, path)


@pytest.mark.parametrize("save", SAVERS)
def test_truncated_files_are_refused(tmp_path: Path, save: Saver) -> None:
    path = save(tmp_path / "p", {"logits": rows(0)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match="is not a whole"):
        compare(path, path)


def test_foreign_and_absent_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("hello, world")
    with pytest.raises(FileFormatError, match="none of the kinds"):
        compare(foreign, foreign)
    with pytest.raises(FileFormatError, match="no file or folder"):
        compare(tmp_path / "absent.npy", foreign)


def test_what_does_not_line_up_is_refused(tmp_path: Path) -> None:
    p = save_npz(tmp_path / "p", {"logits": rows(0)})
    narrow = save_npz(tmp_path / "narrow", {"logits": rows(0)[:, :6]})
    short = save_npz(tmp_path / "short", {"logits": rows(0)[:11]})
    foreign = save_npz(tmp_path / "foreign", {"logits": rows(0), "tokens": np.full(12, 7)})
    with pytest.raises(VocabularyMismatch, match="predicts 7 events and the candidate 6"):
        compare(p, narrow)
    with pytest.raises(ComparisonError, match=r"12 rows of 7 events .* 11 of 7: .* same example"):
        compare(p, short)
    with pytest.raises(VocabularyMismatch, match="token 7, and there are only 7 events"):
        compare(foreign, p)


def test_a_nan_is_found_with_its_side_and_place(tmp_path: Path) -> None:
    broken = rows(1)
    broken[9, 2] = np.nan
    documents = np.repeat([0, 1], 6)
    p = save_npz(tmp_path / "p", {"logits": rows(0), "documents": documents})
    q = save_npz(tmp_path / "q", {"logits": broken})
    message = (
        r"the candidate's logits .* window 1 \(document '1'\), position 3: event 2 is nan; the file"
    )
    with pytest.raises(NonFiniteError, match=message):
        compare(p, q)
    with pytest.raises(NonFiniteError, match="the candidate's logits"):
        compare(p, q, as_llama_cpp=True)
