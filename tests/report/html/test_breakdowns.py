"""Means by group against sums over the same positions, and passages against every window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kullback.compare.intervals import positive_interval
from kullback.report.html import breakdowns
from kullback.report.html.passages import LENGTH, worst_passages
from kullback.report.html.positions import Positions, positions_of


@pytest.fixture
def positions(made: Callable[..., Any]) -> Positions:
    return positions_of(made().table, "candidate")


def with_kl(positions: Positions, kl: np.ndarray) -> Positions:
    return replace(positions, columns=positions.columns | {"kl": kl})


def test_rows_are_sorted_as_the_text_goes(made: Callable[..., Any]) -> None:
    example = made()
    shuffled = example.table.take(np.random.default_rng(1).permutation(len(example.batch)))
    found = positions_of(shuffled, "candidate")
    for name in ("kl", "log_prob_q", "top_q"):
        assert (found[name] == example.batch.statistics[name]).all()
    assert (found.top.p == example.batch.top.p.astype(np.float32)).all()
    assert list(found.documents.values()) == ["a.txt", "b.txt", "c.txt"]
    assert np.flatnonzero(~found.joined).tolist() == list(range(0, 600, 50))


def test_groups_are_means_and_their_shares_make_a_whole(positions: Positions) -> None:
    kinds = np.arange(len(positions)) % 3
    for groups in (
        breakdowns.by_place(positions, "chunk", 0.95),
        breakdowns.by_kind(positions, kinds, "xyz", "chunk", 0.95),
        breakdowns.by_document(positions, 0.95),
    ):
        assert sum(g.positions for g in groups) == len(positions)
        assert sum(g.kl_share for g in groups) == pytest.approx(1, rel=1e-12)
        whole = sum(g.positions * g.mean.value for g in groups)
        assert whole == pytest.approx(positions["kl"].sum(), rel=1e-12)
    found = breakdowns.by_kind(positions, kinds, "xyz", "chunk", 0.95)[1]
    mine = kinds == 1
    sums = [positions["kl"][mine & (positions["chunk"] == c)].sum() for c in range(12)]
    sizes = [(mine & (positions["chunk"] == c)).sum() for c in range(12)]
    truth = positive_interval(np.array(sums), np.array(sizes))
    assert found.mean.low == pytest.approx(truth.low, rel=1e-12)
    assert found.mean.high == pytest.approx(truth.high, rel=1e-12)


def test_a_document_has_an_interval_where_it_has_five_chunks(made: Callable[..., Any]) -> None:
    few = breakdowns.by_document(positions_of(made().table, "candidate"), 0.95)
    assert [math.isnan(group.mean.low) for group in few] == [True] * 3
    many = breakdowns.by_document(positions_of(made(chunk=25).table, "candidate"), 0.95)
    assert all(group.mean.low < group.mean.value < group.mean.high for group in many)
    assert [g.mean.value for g in many] == sorted((g.mean.value for g in many), reverse=True)


def test_calibration_counts_how_often_the_top_token_came(positions: Positions) -> None:
    for side in "pq":
        groups = breakdowns.calibration(positions, side, "chunk", 0.95)
        hits = positions[f"top_{side}"] == positions["token"]
        right = sum(g.positions * g.mean.value for g in groups)
        assert right == pytest.approx(hits.sum(), rel=1e-12)
        given = sum(g.positions * g.at for g in groups)
        assert given == pytest.approx(positions[f"top_prob_{side}"].sum(), rel=1e-12)
    unknown = replace(positions, columns=positions.columns | {"token": np.full(600, -1)})
    assert breakdowns.calibration(unknown, "p", "chunk", 0.95) == []


def test_the_histogram_loses_no_position(positions: Positions) -> None:
    kl = positions["kl"].copy()
    kl[:4] = 0, 0, -1e-9, math.inf
    kl[4:8] = 1e-16, 1.0, 10.0, 100.0
    found = breakdowns.histogram(kl)
    assert (found.zeros, found.negative, found.infinite) == (2, 1, 1)
    assert found.positions == len(kl)
    assert breakdowns.histogram(np.zeros(5)).positions == 5
    assert breakdowns.histogram(np.full(5, 0.1)).positions == 5


def test_infinite_positions_make_their_group_infinite_and_no_other(positions: Positions) -> None:
    kl = positions["kl"].copy()
    kl[7] = math.inf
    groups = breakdowns.by_document(with_kl(positions, kl), 0.95)
    assert [math.isinf(group.mean.value) for group in groups] == [True, False, False]
    assert all(math.isnan(group.kl_share) for group in groups)


def test_the_worst_passage_is_the_worst_of_all_windows(positions: Positions) -> None:
    kl = positions["kl"]
    windows = [
        kl[a : a + LENGTH].sum()
        for c in range(12)
        for a in range(50 * c, 50 * (c + 1) - LENGTH + 1)
    ]
    found = worst_passages(positions)
    assert found[0].kl == pytest.approx(max(windows), rel=1e-12)
    covered = [row for passage in found for row in range(passage.first, passage.end)]
    assert len(covered) == len(set(covered))
    assert all(p.end - p.first == LENGTH or p.end % 50 == 0 for p in found)
    for passage in found:
        assert passage.kl == pytest.approx(kl[passage.first : passage.end].sum(), rel=1e-12)
        assert passage.first // 50 == (passage.end - 1) // 50
        assert passage.before // 50 == (passage.after - 1) // 50 == passage.first // 50
    assert [p.kl for p in found] == sorted((p.kl for p in found), reverse=True)


def test_what_is_left_at_the_end_of_a_text_is_a_shorter_passage(positions: Positions) -> None:
    kl = np.zeros(len(positions))
    kl[[36, 40, 49]] = 90.0, 100.0, 50.0
    found = worst_passages(with_kl(positions, kl))
    assert [(p.first, p.end, p.kl) for p in found] == [(29, 41, 190.0), (41, 50, 50.0)]


def test_passages_of_nothing_and_of_infinities(positions: Positions) -> None:
    kl = np.zeros(len(positions))
    assert worst_passages(with_kl(positions, kl)) == []
    kl[[100, 300, 302]] = math.inf
    kl[200] = 50.0
    found = worst_passages(with_kl(positions, kl))
    assert [300 in range(p.first, p.end) for p in found] == [True, False, False]
    assert [p.kl for p in found] == [math.inf, math.inf, 50.0]
