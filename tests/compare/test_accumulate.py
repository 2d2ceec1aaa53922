"""The accumulator against the whole arrays at once: values, merging, memory, and notes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kullback.compare.accumulate import Accumulator, comparison_from
from kullback.compare.positions import PositionBatch
from kullback.errors import InputError, NonFiniteError, TextError
from kullback.results import Comparison, Estimate
from synthetic import comparison, part, positions

WHOLE = positions()
# Sums of some thousand float64 in another order.
ROUNDING = 1e-12


def changed(batch: PositionBatch, name: str, where: object, value: float) -> PositionBatch:
    values = batch.statistics[name].copy()
    values[where] = value
    return replace(batch, statistics=batch.statistics | {name: values})


def estimates_of(result: Comparison) -> dict[str, Estimate]:
    named = {name: value for name, value in vars(result).items() if isinstance(value, Estimate)}
    bins = {f"bin{i}": part.kl for i, part in enumerate(result.by_confidence)}
    return named | bins


def assert_same(a: Comparison, b: Comparison) -> None:
    for name, estimate in estimates_of(a).items():
        other = estimates_of(b)[name]
        for field in ("value", "low", "high", "stderr"):
            expected = pytest.approx(getattr(other, field), rel=1e-9, nan_ok=True)
            assert getattr(estimate, field) == expected, (name, field)
    assert a.percentiles == b.percentiles
    assert (a.positions, a.documents, a.chunks) == (b.positions, b.documents, b.chunks)
    assert a.notes == b.notes


def test_means_are_those_of_all_positions() -> None:
    result, s = comparison(WHOLE), WHOLE.statistics
    for name in ("kl", "reverse_kl", "js", "total_variation", "entropy_p", "entropy_q"):
        assert getattr(result, name).value == pytest.approx(s[name].mean(), rel=ROUNDING)
    assert result.same_top.value == pytest.approx((s["top_p"] == s["top_q"]).mean())
    change = np.exp(s["log_prob_q"]) - np.exp(s["log_prob_p"])
    assert result.delta_p.value == pytest.approx(change.mean())
    assert result.delta_p_rms.value == pytest.approx(math.sqrt((change**2).mean()))
    p, q = (math.exp(-s[f"log_prob_{side}"].mean()) for side in "pq")
    assert result.perplexity_reference.value == pytest.approx(p)
    assert result.perplexity_candidate.value == pytest.approx(q)
    assert result.perplexity_ratio.value == pytest.approx(q / p)


def test_pairing_makes_the_ratio_surer_than_either_side() -> None:
    result = comparison(WHOLE)
    ratio, reference = result.perplexity_ratio, result.perplexity_reference
    assert ratio.stderr / ratio.value < reference.stderr / reference.value / 2


def test_percentiles_are_within_half_a_percent() -> None:
    kl = np.sort(WHOLE.statistics["kl"])
    found = comparison(WHOLE).percentiles
    assert (found["min"], found["max"]) == (kl[0], kl[-1])
    for key, q in (("p1", 0.01), ("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)):
        assert found[key] == pytest.approx(kl[math.floor(q * (len(kl) - 1))], rel=0.00501)


def test_counts() -> None:
    result = comparison(WHOLE)
    assert result.positions == len(WHOLE)
    assert result.documents == 8
    assert result.chunks == len(np.unique(WHOLE.chunk))
    assert result.infinite_positions == 0


def test_bins_of_confidence_add_up() -> None:
    result = comparison(WHOLE)
    assert [(b.low, b.high) for b in result.by_confidence] == [
        (0.0, 0.1),
        (0.1, 0.5),
        (0.5, 0.9),
        (0.9, 0.99),
        (0.99, 1.0),
    ]
    assert sum(b.positions for b in result.by_confidence) == len(WHOLE)
    assert sum(b.kl_share for b in result.by_confidence) == pytest.approx(1)
    top, kl = WHOLE.statistics["top_prob_p"], WHOLE.statistics["kl"]
    inside = (top >= 0.5) & (top < 0.9)
    middle = result.by_confidence[2]
    assert middle.share == pytest.approx(inside.mean())
    assert middle.kl.value == pytest.approx(kl[inside].mean())
    assert middle.kl_share == pytest.approx(kl[inside].sum() / kl.sum())


def test_the_edge_of_a_bin_belongs_to_the_bin_above() -> None:
    batch = changed(part(WHOLE, slice(0, 5)), "top_prob_p", slice(None), 0.0)
    batch.statistics["top_prob_p"][:] = [0.0, 0.1, 0.5, 0.99, 1.0]
    assert [b.positions for b in comparison(batch).by_confidence] == [1, 1, 1, 0, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(WHOLE)), max_size=6), st.sampled_from([8, 16, 4096]))
def test_any_split_merges_to_the_whole(cuts: list[int], max_rows: int) -> None:
    whole = Accumulator(max_rows=max_rows)
    whole.update(WHOLE)
    merged = Accumulator(max_rows=max_rows)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(WHOLE)], strict=True):
        one = Accumulator(max_rows=max_rows)
        one.update(part(WHOLE, slice(start, stop)))
        merged.merge(one)
    assert_same(
        comparison_from(merged, convention="careful"), comparison_from(whole, convention="careful")
    )
    assert merged.worst == whole.worst


def test_order_does_not_matter() -> None:
    shuffled = part(WHOLE, np.random.default_rng(1).permutation(len(WHOLE)))
    assert_same(comparison(shuffled), comparison(WHOLE))


def test_memory_does_not_grow_with_the_text() -> None:
    accumulator = Accumulator(max_rows=64)
    batch = part(WHOLE, slice(0, 100))
    for chunk in range(1000):
        same = np.full(100, chunk)
        accumulator.update(replace(batch, chunk=same, document=same // 500))
    assert len(accumulator.table) <= 64
    result = comparison_from(accumulator, convention="careful")
    assert (result.positions, result.documents, result.chunks) == (100_000, 2, 1000)
    assert result.kl.value == pytest.approx(batch.statistics["kl"].mean())


def test_every_document_keeps_a_row_of_its_own() -> None:
    accumulator = Accumulator(max_rows=4)
    accumulator.update(WHOLE)
    assert len(accumulator.table.by_document().sizes) == 8


def test_many_documents_cluster_by_document() -> None:
    result = comparison(WHOLE)
    assert result.clustered_by == "document"
    assert not any("clustered by chunk" in note for note in result.notes)


@pytest.mark.parametrize(("documents", "words"), [(1, "one document is"), (3, "3 documents")])
def test_few_documents_cluster_by_chunk_and_say_so(documents: int, words: str) -> None:
    result = comparison(positions(documents=documents))
    assert result.clustered_by == "chunk"
    assert any("clustered by chunk" in note and words in note for note in result.notes)


def test_documents_that_one_outweighs_are_too_few() -> None:
    long = positions(documents=1, per_document=20_000)
    short = positions(documents=8, per_document=30)
    accumulator = Accumulator()
    accumulator.update(long)
    accumulator.update(replace(short, document=short.document + 1, chunk=short.chunk + 10_000))
    assert comparison_from(accumulator, convention="careful").clustered_by == "chunk"


def test_a_single_chunk_has_no_interval() -> None:
    result = comparison(part(WHOLE, slice(0, 20)))
    assert math.isnan(result.kl.low)
    assert not result.kl.trusted
    assert result.kl.value > 0


def test_infinite_positions_are_counted_placed_and_left_out_of_the_rest() -> None:
    result = comparison(changed(WHOLE, "kl", [300, 900], math.inf))
    assert result.kl.value == math.inf
    assert result.infinite_positions == 2
    assert result.percentiles["max"] == math.inf
    assert math.isfinite(result.percentiles["p99"])
    assert math.isfinite(result.js.value)
    (note,) = [note for note in result.notes if "infinite" in note]
    finite = np.delete(WHOLE.statistics["kl"], [300, 900]).mean()
    assert f"Over the others the mean is {finite:#.3g}" in note
    name = "abcdefgh"[WHOLE.document[300]]
    place = f"position {WHOLE.position[300]} of chunk {WHOLE.chunk[300]} in document {name}"
    assert place in note
    assert all(math.isnan(b.kl_share) for b in result.by_confidence)


def test_an_impossible_next_token_makes_perplexity_infinite() -> None:
    candidate = comparison(changed(WHOLE, "log_prob_q", 5, -math.inf))
    assert candidate.perplexity_candidate.value == math.inf
    assert candidate.perplexity_ratio.value == math.inf
    assert math.isfinite(candidate.perplexity_reference.value)
    assert math.isfinite(candidate.delta_p.value)
    reference = comparison(changed(WHOLE, "log_prob_p", 5, -math.inf))
    assert reference.perplexity_reference.value == math.inf
    assert reference.perplexity_ratio is None


def test_unknown_tokens_are_left_out_and_said_to_be() -> None:
    some = replace(WHOLE, token=np.where(np.arange(len(WHOLE)) < 100, -1, WHOLE.token))
    some = changed(changed(some, "log_prob_p", slice(100), math.nan), "log_prob_q", slice(100), -9)
    result = comparison(some)
    log_prob = WHOLE.statistics["log_prob_p"][100:]
    assert result.perplexity_reference.value == pytest.approx(math.exp(-log_prob.mean()))
    assert any("unknown at 100 of" in note for note in result.notes)


def test_without_any_token_there_is_no_perplexity() -> None:
    result = comparison(replace(WHOLE, token=np.full(len(WHOLE), -1)))
    assert result.perplexity_reference is None
    assert result.perplexity_ratio is None
    assert result.delta_p is None
    assert result.delta_p_rms is None
    assert any("are not given" in note for note in result.notes)


def test_further_columns_are_averaged() -> None:
    values = np.linspace(0, 1, len(WHOLE))
    result = comparison(replace(WHOLE, columns={"padding_mass_p": values}))
    assert result.columns["padding_mass_p"].value == pytest.approx(0.5)


def test_documents_without_a_position_are_named() -> None:
    result = comparison(WHOLE, documents=[*"abcdefgh", "short.txt"])
    assert any("1 of 9 documents" in n and "short.txt" in n for n in result.notes)


def test_a_negative_kl_of_a_rounding_convention_is_kept() -> None:
    result = comparison(changed(WHOLE, "kl", 3, -1e-7))
    assert result.percentiles["min"] == -1e-7


def test_nan_is_refused_with_its_place() -> None:
    with pytest.raises(NonFiniteError, match=rf"js .* document {WHOLE.document[700]}, chunk"):
        comparison(changed(WHOLE, "js", 700, math.nan))


def test_nothing_to_compare_is_refused() -> None:
    accumulator = Accumulator()
    accumulator.update(part(WHOLE, slice(0, 0)))
    accumulator.merge(Accumulator())
    with pytest.raises(TextError, match="no position"):
        comparison_from(accumulator, convention="careful")


def test_batches_with_different_columns_are_refused() -> None:
    accumulator = Accumulator()
    accumulator.update(WHOLE)
    with pytest.raises(InputError, match="mass"):
        accumulator.update(replace(WHOLE, columns={"mass": np.zeros(len(WHOLE))}))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(InputError, match="confidence"):
        comparison(WHOLE, confidence=confidence)
