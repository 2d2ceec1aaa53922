"""`compare` from end to end on models made on the spot: the numbers, and what goes with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kullback.compare import compare
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.errors import ComparisonError, InputError, NonFiniteError

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]


def test_means_are_those_of_the_textbook(make_model: MakeModel) -> None:
    p, q = make_model(), make_model(seed=1)
    found = compare(p, q, text=[TEXT, TEXT[::-1]], context=32, warmup=8)
    kl, surprisal, same = [], [], []
    for text in (TEXT, TEXT[::-1]):
        ids = tokenize(p.tokenizer, text)
        for start in range(0, len(ids), 32):
            window = torch.from_numpy(ids[start : start + 32])
            with torch.inference_mode():
                log_p, log_q = (
                    torch.log_softmax(side.model(window[None]).logits[0].double(), -1)
                    for side in (p, q)
                )
            for j in range(8, len(window) - 1):
                kl.append(float((log_p[j].exp() * (log_p[j] - log_q[j])).sum()))
                surprisal.append(-float(log_q[j, window[j + 1]]))
                same.append(int(log_p[j].argmax()) == int(log_q[j].argmax()))
    assert found.positions == len(kl)
    # float32 forwards and kernels against float64 sums.
    assert found.kl.value == pytest.approx(np.mean(kl), rel=1e-4)
    assert found.perplexity_candidate is not None
    assert found.perplexity_candidate.value == pytest.approx(np.exp(np.mean(surprisal)), rel=1e-4)
    assert found.same_top.value == np.mean(same)
    assert found.documents == 2
    assert found.convention == "careful"
    assert found.precision_reached is None


def test_a_model_loses_nothing_against_itself(make_model: MakeModel) -> None:
    source = make_model()
    found = compare(source, source, text=TEXT, context=32, warmup=8, batch=2)
    assert found.kl.value == found.js.value == found.percentiles["max"] == 0.0
    assert found.same_top.value == 1.0


def test_llama_cpps_cut_runs_documents_together(make_model: MakeModel) -> None:
    p, q = make_model(), make_model(seed=1)
    found = compare(p, q, text=[TEXT, TEXT], context=32, as_llama_cpp=True)
    tokens = len(tokenize(p.tokenizer, TEXT)) * 2
    assert found.positions == tokens // 32 * 15
    assert found.documents == 1
    assert found.convention == "llama.cpp"
    # All events lie within 16 nats of the top here, so only the 16-bit codes differ.
    ours = compare(p, q, text=TEXT + TEXT, context=32, warmup=16)
    assert found.kl.value == pytest.approx(ours.kl.value, rel=0.05)


def test_progress_counts_up_to_all_positions(make_model: MakeModel) -> None:
    source, seen = make_model(), list[tuple[int, int]]()
    compare(
        source,
        source,
        text=TEXT,
        context=32,
        warmup=8,
        max_tokens=96,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(23, 69), (46, 69), (69, 69)]


def test_provenance_tells_models_text_and_versions_apart(make_model: MakeModel) -> None:
    p, q = make_model(), make_model(seed=1)
    found = compare(p, q, text=TEXT, context=32, warmup=8, seed=7)
    again = compare(p, q, text=TEXT, context=32, warmup=8, seed=7)
    other = compare(p, q, text=TEXT[1:], context=32, warmup=8, seed=7)
    provenance = found.provenance
    assert provenance == again.provenance
    assert provenance["reference"]["sha256"] != provenance["candidate"]["sha256"]
    assert provenance["token_stream"] != other.provenance["token_stream"]
    assert provenance["tokenizer"] == other.provenance["tokenizer"]
    assert provenance["versions"]["torch"] == torch.__version__
    assert (provenance["seed"], provenance["context"], provenance["warmup"]) == (7, 32, 8)


def test_a_candidate_or_a_recipe_and_not_both(make_model: MakeModel) -> None:
    source = make_model()
    with pytest.raises(InputError, match="either a candidate or quantize="):
        compare(source, text=TEXT)
    with pytest.raises(InputError, match="either a candidate or quantize="):
        compare(source, source, quantize="int8", text=TEXT)
    with pytest.raises(InputError, match="batch=0"):
        compare(source, source, text=TEXT, context=32, warmup=8, batch=0)


def test_llama_cpps_cut_takes_whole_files_alone(make_model: MakeModel, tmp_path: Path) -> None:
    source, options = make_model(), {"context": 32, "as_llama_cpp": True}
    path = tmp_path / "text.txt"
    path.write_text(TEXT + "\n\n" + TEXT, encoding="utf-8")
    whole = compare(source, source, text=path, documents="files", **options)
    assert whole.positions == (2 * len(TEXT) + 2) // 32 * 15
    for splitting in ("lines", "paragraphs", "jsonl"):
        with pytest.raises(InputError, match=f"documents='{splitting}' does not go with"):
            compare(source, source, text=path, documents=splitting, **options)
    with pytest.raises(InputError, match="warmup=3 does not go with"):
        compare(source, source, text=path, warmup=3, **options)


def test_provenance_has_the_sizes_that_were_used(make_model: MakeModel) -> None:
    source = make_model()
    theirs = compare(source, source, text=TEXT, context=32, as_llama_cpp=True).provenance
    assert (theirs["context"], theirs["warmup"], theirs["documents"]) == (32, 16, "files")
    with pytest.raises(InputError, match=r"context=512 is longer than the 128"):
        compare(source, source, text=TEXT)


def test_a_model_against_a_file_is_told_to_swap_also_without_a_text(
    make_model: MakeModel, tmp_path: Path
) -> None:
    np.save(tmp_path / "q.npy", np.zeros((3, 102)))
    with pytest.raises(ComparisonError, match="it must be the reference; swap the two"):
        compare(make_model(), tmp_path / "q.npy")


def test_the_callers_random_numbers_are_left_alone(make_model: MakeModel) -> None:
    source = make_model()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    compare(source, source, text=TEXT, context=32, warmup=8, seed=5)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_a_model_that_draws_at_random_repeats_itself_by_seed(make_model: MakeModel) -> None:
    p, q = make_model(), make_model(seed=1)
    handle = q.model.lm_head.register_forward_hook(
        lambda *call: call[-1] + torch.randn_like(call[-1])
    )
    try:
        first, again, other = (
            compare(p, q, text=TEXT, context=32, warmup=8, seed=seed).kl.value for seed in (1, 1, 2)
        )
    finally:
        handle.remove()
    assert first == again != other


@pytest.mark.parametrize("seed", [10**23, 2**64, -(2**63) - 1])
def test_a_seed_beyond_64_bits_is_refused(make_model: MakeModel, seed: int) -> None:
    with pytest.raises(InputError, match="does not fit 64 bits"):
        compare(make_model(), make_model(), text=TEXT, context=32, warmup=8, seed=seed)


def test_a_limit_says_that_it_is_why_documents_are_missing(make_model: MakeModel) -> None:
    source = make_model()
    found = compare(source, source, text=[TEXT] * 3, context=32, warmup=8, max_tokens=64)
    assert any(note.startswith("the text was ended after 64 tokens") for note in found.notes)
    assert not any("gave no position" in note for note in found.notes)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [("float32", "the checkpoint is damaged"), ("bfloat16", "try --dtype float32")],
)
def test_a_nan_in_a_model_comes_with_advice_that_fits(
    make_model: MakeModel, dtype: str, words: str
) -> None:
    p, q = (make_model(seed=seed) for seed in (0, 1))
    for side in (p, q):
        side.model.to(getattr(torch, dtype))
    q.model.lm_head.weight.data[5] = torch.nan
    with pytest.raises(NonFiniteError, match=words):
        compare(p, q, text=TEXT, context=32, warmup=8)


def test_a_note_of_what_stands_on_both_sides_is_given_once(make_model: MakeModel) -> None:
    source = replace(make_model(), notes=["a note"])
    assert compare(source, source, text=TEXT, context=32, warmup=8).notes.count("a note") == 1


def test_importing_the_room_loads_no_model_library() -> None:
    code = (
        "import sys, kullback.compare, kullback.compare.alignment, kullback.compare.quantize\n"
        "heavy = {'transformers', 'gguf', 'safetensors', 'pandas', 'rich'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
