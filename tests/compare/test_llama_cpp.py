"""llama.cpp's files: its own printed numbers, the layout byte for byte, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kullback.compare import compare
from kullback.compare.conventions import careful
from kullback.compare.readers.llama_cpp import Codes, LlamaCppFile, decode, encode, write
from kullback.errors import ComparisonError, FileFormatError, InputError, TokenizerMismatch

DATA = Path(__file__).parents[1] / "data" / "llama_cpp"
REFERENCE, CANDIDATE = DATA / "smollm2_f32.ctx16.kld", DATA / "smollm2_q8_0.ctx16.kld"


def printed() -> dict[str, str]:
    """The last line of llama.cpp's table: what it says over both chunks."""
    fields = (DATA / "expected_q8_0.ctx16.txt").read_text(encoding="utf-8").split("\n")[2].split()
    return {
        "perplexity": fields[1],
        "log_ratio": fields[4],
        "kl": fields[7],
        "kl_stderr": fields[9],
        "delta_p_rms": fields[10],
        "same_top": fields[14],
    }


def test_its_convention_gives_the_digits_that_it_printed() -> None:
    found, expected = compare(REFERENCE, CANDIDATE, as_llama_cpp=True), printed()
    assert found.convention == "llama.cpp"
    assert found.delta_p_rms is not None
    assert f"{found.kl.value:.5f}" == expected["kl"]
    assert f"{100 * found.delta_p_rms.value:.3f}" == expected["delta_p_rms"]
    assert f"{100 * found.same_top.value:.3f}" == expected["same_top"]


def test_provenance_has_the_sizes_of_the_file() -> None:
    provenance = compare(REFERENCE, CANDIDATE).provenance
    assert (provenance["context"], provenance["warmup"], provenance["documents"]) == (16, 8, None)


def test_perplexities_agree_up_to_the_rounding_of_stored_codes() -> None:
    found, expected = compare(REFERENCE, CANDIDATE, as_llama_cpp=True), printed()
    assert found.perplexity_candidate is not None
    assert found.perplexity_ratio is not None
    # llama.cpp printed these from the candidate's own logits; a stored log p is off by up to
    # half a step of 16/65535, here averaged over 14 positions.
    tolerance = 0.5 * 16 / 65535
    log_perplexity = math.log(found.perplexity_candidate.value)
    assert log_perplexity == pytest.approx(math.log(float(expected["perplexity"])), abs=tolerance)
    log_ratio = math.log(found.perplexity_ratio.value)
    assert log_ratio == pytest.approx(float(expected["log_ratio"]), abs=tolerance)


def test_our_own_convention_is_the_default_and_close_by() -> None:
    found = compare(REFERENCE, CANDIDATE)
    assert found.convention == "careful"
    assert found.kl.value == pytest.approx(float(printed()["kl"]), rel=0.02)
    assert any("lower bounds" in note for note in found.notes)
    assert found.percentiles["min"] >= 0
    assert compare(REFERENCE, REFERENCE).kl.value == 0.0


def logits(rows: int, events: int, *, spread: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(rows, events, generator=generator)


def saved(path: Path, values: Tensor, *, tokens: np.ndarray | None = None) -> Path:
    """A file of chunks of 8 tokens, three scored positions each."""
    events = values.shape[1]
    chunks = len(values) // 3
    if tokens is None:
        tokens = np.arange(8 * chunks).reshape(chunks, 8) % events
    write(path, tokens, events, encode(values))
    return path


def test_encoding_is_within_half_a_step_above_the_floor() -> None:
    values = logits(6, 999, spread=6.0, seed=0)
    log_probs = torch.log_softmax(values.double(), -1)
    stored = encode(values)
    known = torch.from_numpy(stored.codes > 0)
    error = (decode(stored).double() - log_probs).abs()
    # Half a step, and float32 rounding of numbers of up to 32 nats.
    assert float(error[known].max()) <= 0.5 * 16 / 65535 + 4e-6
    assert 0 < int((~known).sum()) < known.numel()
    assert bool((decode(stored).double() >= log_probs - error[known].max())[~known].all())


@pytest.mark.parametrize("events", [64, 65])
def test_a_written_file_reads_back(tmp_path: Path, events: int) -> None:
    values = logits(6, events, spread=3.0, seed=1)
    file = LlamaCppFile.open(saved(tmp_path / "base.kld", values))
    assert file.events == events
    assert [w.targets.tolist() for w in file.windows.items] == [[5, 6, 7], [13, 14, 15]]
    rows = file.rows(file.windows.items)
    torch.testing.assert_close(rows.values, decode(encode(values)), rtol=0, atol=0)


def test_bytes_are_laid_out_as_llama_cpp_lays_them_out(tmp_path: Path) -> None:
    stored = Codes(
        np.full((1, 1), 0.5, np.float32),
        np.full((1, 1), -2.0, np.float32),
        np.array([[4, 0, 1]], np.uint16),
    )
    path = tmp_path / "base.kld"
    write(path, np.array([[0, 1, 2]]), 3, stored)
    head = b"_logits_" + np.array([3, 3, 1, 0, 1, 2], "<i4").tobytes()
    row = np.array([0.5, -2.0], "<f4").tobytes() + np.array([4, 0, 1, 0], "<u2").tobytes()
    assert path.read_bytes() == head + row


@pytest.mark.parametrize("seed", range(5))
def test_the_censored_tail_is_known_to_the_reader_within_its_bounds(
    tmp_path: Path, seed: int
) -> None:
    values = logits(30, 2000, spread=5.0, seed=seed)
    file = LlamaCppFile.open(saved(tmp_path / "base.kld", values))
    censoring = file.rows(file.windows.items).censoring
    assert censoring is not None
    exact = torch.softmax(values.double(), -1).masked_fill(~censoring.events, 0).sum(-1)
    # The edge itself is rounded to a code, so one event may lie half a step over its floor.
    assert bool((censoring.low <= exact).all())
    assert bool((exact <= censoring.high * (1 + 2e-4)).all())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("shared", "noise", "kept"), [(1, 0.05, 0.95), (1, 1, 0.9), (0, 5, 0.5)])
def test_the_careful_convention_is_a_lower_bound_close_to_the_truth(
    tmp_path: Path, seed: int, shared: float, noise: float, kept: float
) -> None:
    values = logits(30, 2000, spread=5.0, seed=seed)
    other = shared * values + logits(30, 2000, spread=noise, seed=seed + 100)
    log_p, log_q = (torch.log_softmax(x.double(), -1) for x in (values, other))
    exact = (log_p.exp() * (log_p - log_q)).sum(-1).numpy()
    rows = []
    for name, side in (("p", values), ("q", other)):
        file = LlamaCppFile.open(saved(tmp_path / name, side))
        rows.append(file.rows(file.windows.items))
    found = careful(rows[0], rows[1], torch.zeros(30, dtype=torch.int64))
    kl = found.statistics["kl"].double().numpy()
    # Codes are off by up to 1.2e-4 each: noise e moves a row's KL by about sqrt(KL)·e.
    slack = 3e-4 * np.sqrt(exact) + found.columns["censored_mass_q"].numpy() * (shared == 0)
    assert (kl >= 0).all()
    assert (kl <= exact + slack).all()
    # Two unrelated sides lose what llama.cpp's format cannot say: how improbable it is.
    assert kl.mean() >= kept * exact.mean()


def test_a_censored_next_token_keeps_its_own_probability(tmp_path: Path) -> None:
    values = torch.zeros(3, 16)
    values[:, 5:8] = -30.0
    path = saved(tmp_path / "p.kld", values)
    found = compare(path, path)
    assert found.columns["censored_token"].value == 1.0
    assert found.perplexity_reference is not None
    # Its floor: 16 nats below the top of 13 equal events, which have all the mass.
    floor = math.exp(16) * 13
    assert found.perplexity_reference.value == pytest.approx(floor, rel=1e-3)
    assert found.same_top.value == 1.0


def test_where_the_candidate_likes_what_the_reference_censors(tmp_path: Path) -> None:
    values = torch.zeros(3, 16)
    values[:, 8:] = -40.0
    p, q = saved(tmp_path / "p.kld", values), saved(tmp_path / "q.kld", values.flip(-1))
    found = compare(p, q)
    assert found.same_top.value == 0.0
    assert 10 < found.kl.value < 40
    assert found.columns["censored_mass_p"].value == pytest.approx(1.0, abs=1e-3)


def test_a_truncated_file_names_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "cut.kld"
    data = REFERENCE.read_bytes()
    path.write_bytes(data[:-1000])
    with pytest.raises(FileFormatError, match=r"1,375,516 bytes.*1,376,516: it is truncated"):
        compare(path, CANDIDATE)
    path.write_bytes(data + b"\0\0")
    with pytest.raises(FileFormatError, match="not of this layout"):
        compare(path, CANDIDATE)
    path.write_bytes(data[:12])
    with pytest.raises(FileFormatError, match="does not begin"):
        compare(path, CANDIDATE)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.kld", logits(3, 16, spread=1.0, seed=0))
    data = bytearray(path.read_bytes())
    bad_token = data.copy()
    bad_token[20:24] = np.array(16, "<i4").tobytes()
    bad_scale = data.copy()
    start = 20 + 4 * 8
    bad_scale[start : start + 4] = np.array(1e-3, "<f4").tobytes()
    bad_sizes = data.copy()
    bad_sizes[8:12] = np.array(-5, "<i4").tobytes()
    cases = [
        (bad_token, "token 0 is 16, outside the vocabulary of 16"),
        (bad_scale, "row 0 of .* does not add up to 1"),
        (bad_sizes, "n_ctx=-5"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=message):
            compare(path, path)


def test_files_of_other_texts_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    values = logits(6, 64, spread=1.0, seed=0)
    p = saved(tmp_path / "p.kld", values)
    tokens = np.arange(16).reshape(2, 8)
    tokens[1, 2] = 63
    q = saved(tmp_path / "q.kld", values, tokens=tokens)
    with pytest.raises(
        TokenizerMismatch, match="in chunk 1, token 2 is 10 in the reference and 63"
    ):
        compare(p, q)
    fewer = saved(tmp_path / "fewer.kld", values[:3])
    with pytest.raises(
        ComparisonError,
        match=r"6 rows of 64 events .* 3 of 64: save both from",
    ):
        compare(p, fewer)


def test_a_file_takes_no_text_and_cannot_be_quantised() -> None:
    with pytest.raises(InputError, match="brings its own tokens, already cut: leave out text"):
        compare(REFERENCE, CANDIDATE, text="a text")
    with pytest.raises(InputError, match="needs a model"):
        compare(REFERENCE, quantize="int8")
