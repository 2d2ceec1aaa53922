"""A record gives back the logits that the model made, and so the comparison that it would."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kullback.compare import compare
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded
from kullback.compare.readers.recorded import RecordedReference
from kullback.compare.record import record
from kullback.compare.record.head import AFTER
from kullback.compare.record.recording import Recording
from kullback.errors import ComparisonError, DtypeError, InputError, NonFiniteError

from ..conftest import random_llama
from .conftest import CUT


def test_rows_are_the_models_own(reference: HuggingFaceModel, recorded: Recording) -> None:
    opened = RecordedReference.open(recorded.folder)
    for window in opened.windows.items:
        made, kept = reference.rows([window]).values, opened.rows([window]).values
        assert made.dtype == kept.dtype
        # The same product of the same numbers; only its blocking may differ with the shape.
        torch.testing.assert_close(kept, made, rtol=1e-5, atol=1e-6)


def test_a_record_loses_nothing_against_its_own_model(
    reference: HuggingFaceModel, recorded: Recording
) -> None:
    # Rounding moves logits by 1e-6 at most, and KL goes with the square.
    assert compare(recorded.folder, reference).percentiles["max"] <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_comparison_is_that_of_two_models(
    reference: HuggingFaceModel, candidate: HuggingFaceModel, tmp_path: Path, dtype: torch.dtype
) -> None:
    reference.model.to(dtype)
    try:
        record(reference, tmp_path / "ref", **CUT)
        direct, found = compare(reference, candidate, **CUT), compare(tmp_path / "ref", candidate)
    finally:
        reference.model.to(torch.float32)
    assert found.kl.value == pytest.approx(direct.kl.value, rel=1e-5)
    assert found.kl.low == pytest.approx(direct.kl.low, rel=1e-5)
    assert (found.positions, found.documents, found.chunks) == (
        direct.positions,
        direct.documents,
        direct.chunks,
    )
    assert found.perplexity_ratio is not None
    assert direct.perplexity_ratio is not None
    assert found.perplexity_ratio.value == pytest.approx(direct.perplexity_ratio.value, rel=1e-5)
    for key in ("token_stream", "context", "warmup"):
        assert found.provenance[key] == direct.provenance[key]


def test_documents_windows_and_provenance_come_back(
    reference: HuggingFaceModel, recorded: Recording
) -> None:
    opened = RecordedReference.open(recorded.folder)
    assert opened.windows.documents == ["text 1", "text 2", "text 3"]
    assert {window.document for window in opened.windows.items} == {0, 1, 2}
    assert opened.windows.scored == recorded.positions
    offsets = np.cumsum([0, *(window.scored for window in opened.windows.items)])
    assert [window.offset for window in opened.windows.items] == offsets[:-1].tolist()
    provenance = opened.provenance()
    assert provenance["model"]["sha256"] == reference.provenance()["sha256"]
    assert provenance["rounding"] is None


def test_batches_do_not_change_the_order(
    reference: HuggingFaceModel, recorded: Recording, tmp_path: Path
) -> None:
    record(reference, tmp_path / "other", batch=3, shard_windows=7, **CUT)
    one, other = (RecordedReference.open(f) for f in (recorded.folder, tmp_path / "other"))
    for window in one.windows.items:
        torch.testing.assert_close(
            one.rows([window]).values, other.rows([window]).values, rtol=1e-4, atol=1e-5
        )


def test_max_tokens_and_llama_cpps_cut(
    reference: HuggingFaceModel, candidate: HuggingFaceModel, tmp_path: Path
) -> None:
    cut = {"text": CUT["text"], "context": 16, "as_llama_cpp": True, "max_tokens": 128}
    record(reference, tmp_path / "ref", **cut)
    direct = compare(reference, candidate, **cut)
    found = compare(tmp_path / "ref", candidate, as_llama_cpp=True)
    assert found.kl.value == pytest.approx(direct.kl.value, rel=1e-4)
    assert found.chunks == 8


def test_two_records_are_compared_without_a_model(
    reference: HuggingFaceModel, candidate: HuggingFaceModel, recorded: Recording, tmp_path: Path
) -> None:
    record(candidate, tmp_path / "q", **CUT)
    found = compare(recorded.folder, tmp_path / "q")
    assert found.kl.value == pytest.approx(compare(reference, candidate, **CUT).kl.value, rel=1e-5)


def test_rounding_is_measured_noted_and_what_the_reader_finds(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    found = record(reference, tmp_path / "ref", dtype="bfloat16", **CUT)
    rounding = found.manifest.rounding
    assert rounding is not None
    # The model against its rounded record is the other direction, which to second order agrees.
    back = compare(tmp_path / "ref", reference)
    assert back.reverse_kl.value == pytest.approx(rounding["kl_mean"], rel=1e-3)
    assert 0 < rounding["kl_mean"] < rounding["kl_max"] < 1e-3
    assert any(f"{rounding['kl_mean']:.2g} nats on average" in note for note in back.notes)
    # 32 numbers of two bytes, and the header of each file.
    assert found.bytes / found.positions < 2 * 32 * 1.5


def test_a_wider_dtype_or_one_that_overflows_is_refused(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    with pytest.raises(DtypeError, match="no smaller than"):
        record(reference, tmp_path / "ref", dtype="float64", **CUT)
    model = random_llama(0)
    with torch.no_grad():
        model.model.norm.weight.mul_(1e6)
    with pytest.raises(NonFiniteError, match=r"hidden states are not finite in window 0.*float16"):
        record((model, reference.tokenizer), tmp_path / "ref", dtype="float16", **CUT)


def after_the_head(reference: HuggingFaceModel, change: Any, **settings: float) -> HuggingFaceModel:
    """The reference, whose logits are changed as some architectures do."""
    model = random_llama(0)
    plain = model.forward

    def forward(*inputs: Any, logits_to_keep: Any = 0, **named: Any) -> Any:
        output = plain(*inputs, logits_to_keep=logits_to_keep, **named)
        return SimpleNamespace(logits=change(output.logits))

    model.forward = forward
    for name, value in settings.items():
        setattr(model.config, name, value)
    return from_loaded(model, reference.tokenizer)


@pytest.mark.parametrize(
    ("setting", "value", "dtype"),
    [
        ("final_logit_softcapping", 3.0, torch.float32),
        ("final_logit_softcapping", 300.0, torch.float32),
        ("final_logit_softcapping", 30.0, torch.bfloat16),
        ("logit_scale", 0.0625, torch.float32),
        ("logits_scaling", 13.0, torch.bfloat16),
        ("lm_head_multiplier", 0.5, torch.float32),
    ],
)
def test_what_follows_the_head_is_found_and_applied(
    reference: HuggingFaceModel, tmp_path: Path, setting: str, value: float, dtype: torch.dtype
) -> None:
    capped = after_the_head(reference, lambda x: AFTER[setting](x, value), **{setting: value})
    capped.model.to(dtype)
    found = record(capped, tmp_path / "ref", **CUT)
    assert found.manifest.head is not None
    assert found.manifest.head["after"] == {"setting": setting, "value": value}
    assert compare(tmp_path / "ref", capped).percentiles["max"] <= 1e-12


def test_a_real_capped_architecture(reference: HuggingFaceModel, tmp_path: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=102,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        initializer_range=0.5,
        final_logit_softcapping=5.0,
    )
    model = from_loaded(Gemma2ForCausalLM(config).eval(), reference.tokenizer)
    found = record(model, tmp_path / "ref", **CUT)
    assert found.manifest.head is not None
    assert found.manifest.head["after"]["setting"] == "final_logit_softcapping"
    assert compare(tmp_path / "ref", model).percentiles["max"] <= 1e-12


def test_a_setting_that_the_model_does_not_use_is_not_applied(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    idle = after_the_head(reference, lambda x: x, logit_scale=0.5, final_logit_softcapping=300.0)
    assert record(idle, tmp_path / "ref", **CUT).manifest.head["after"] is None  # type: ignore[index]


def test_an_unknown_change_after_the_head_is_refused(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    odd = after_the_head(reference, lambda x: x - 0.1 * x.relu())
    with pytest.raises(ComparisonError, match=r"not what its head makes.*--top-k"):
        record(odd, tmp_path / "ref", **CUT)
    # What is refused leaves nothing behind, and what the message names works.
    assert not (tmp_path / "ref").exists()
    record(odd, tmp_path / "ref", top_k=8, **CUT)


def test_a_head_with_a_bias(reference: HuggingFaceModel, tmp_path: Path) -> None:
    model = random_llama(0)
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, 102))
    source = from_loaded(model, reference.tokenizer)
    record(source, tmp_path / "ref", **CUT)
    assert compare(tmp_path / "ref", source).percentiles["max"] <= 1e-12


def saved(tmp_path: Path, reference: HuggingFaceModel, seed: int = 0) -> Path:
    folder = tmp_path / "model"
    random_llama(seed, tie_word_embeddings=True).save_pretrained(folder)
    reference.tokenizer.save_pretrained(folder)
    return folder


def test_a_pointer_takes_the_head_from_the_model_and_refuses_another(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    folder = saved(tmp_path, reference)
    found = record(folder, tmp_path / "ref", head="pointer", **CUT)
    assert not (tmp_path / "ref" / "head.safetensors").exists()
    stored = record(folder, tmp_path / "whole", **CUT)
    # The head of 13 kB is saved, for a longer manifest.
    assert found.bytes_once < stored.bytes_once - 12_000
    assert compare(tmp_path / "ref", folder).percentiles["max"] <= 1e-12
    saved(tmp_path, reference, seed=1)
    with pytest.raises(ComparisonError, match="no longer the file that was recorded"):
        compare(tmp_path / "ref", folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ComparisonError, match="no such file of weights"):
        RecordedReference.open(tmp_path / "ref")


def test_a_model_in_memory_has_no_file_to_point_to(
    reference: HuggingFaceModel, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="leave out --head pointer"):
        record(reference, tmp_path / "ref", head="pointer", **CUT)
