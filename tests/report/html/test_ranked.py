"""Several candidates on the page: sizes, what can be told apart, and who is on the frontier."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kullback.compare.accumulate import Accumulator
from kullback.compare.ranking import ranking_from
from kullback.errors import InputError
from kullback.report.cells import size
from kullback.report.html import write_report
from kullback.report.html.ranked import frontier, ranked
from kullback.results import Difference, Estimate, Ranking
from report.html.test_page import HOSTILE_NAME, Elements

DOCUMENTS = tuple(f"{i}.txt" for i in range(12))


def ranking_of(make: Callable[..., Any], noises: dict[str, float], sizes: dict[str, Any]) -> Any:
    import pyarrow as pa

    # Of one seed, so that all candidates have the same reference and the same tokens.
    made = {
        name: make(name=name, noise=noise, documents=DOCUMENTS) for name, noise in noises.items()
    }
    found = {name: Accumulator() for name in made}
    for name, one in made.items():
        found[name].update(one.batch)
    comparisons = {name: one.comparison for name, one in made.items()}
    table = pa.concat_tables([one.table for one in made.values()]).unify_dictionaries()
    return ranking_from(comparisons, found, sizes, confidence=0.95), table


def page_of(path: Path, ranking: Ranking, table: Any) -> Elements:
    write_report(path, ranking.comparisons, table, ranking=ranking)
    return Elements(path.read_text(encoding="utf-8"))


def test_sizes_and_differences_are_on_the_page(made: Callable[..., Any], tmp_path: Path) -> None:
    noises = {"large": 0.1, "near": 0.4, "small": 0.9}
    sizes = {"large": 144_811_072, "near": 2_500_000, "small": 999}
    ranking, table = ranking_of(made, noises, sizes)
    words = " ".join(page_of(tmp_path / "r.html", ranking, table).words.split())
    for text in ("145 MB", "2.5 MB", "999 B"):
        assert text in words
    by_names = {(d.less, d.more): d for d in ranking.differences}
    assert all(difference.distinguishable for difference in ranking.differences)
    for less, more in itertools.pairwise(ranking.comparisons):
        (told,) = re.findall(rf"{more} loses ([\d.]+) \[[\d., ]+\] more than {less}", words)
        # Three digits are told.
        assert float(told) == pytest.approx(by_names[less, more].kl.value, rel=5e-3)
    first, *_, last = ranking.comparisons
    assert re.search(rf"{first} {last} [\d.]+ \[", words)
    assert "All 3 pairs" in words
    assert "Loss against size" in words


def test_neighbours_that_cannot_be_told_apart_are_said_to_be(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    ranking, table = ranking_of(made, {"a": 0.3, "b": 0.6}, {})
    less, more = ranking.comparisons
    for kl, said in (
        (Estimate(0.01, -0.02, 0.04), f"{less} and {more} cannot be told apart: 0.010"),
        (Estimate(0.05, 0.03, 0.07), f"{more} loses 0.0500 [0.0300, 0.0700] more than {less}"),
        (
            Estimate(math.nan, math.nan, math.nan, diagnosis="both are infinite"),
            "both are infinite",
        ),
    ):
        one = Ranking(ranking.comparisons, (Difference(less, more, kl),), ranking.sizes)
        page = page_of(tmp_path / "r.html", one, table)
        words = " ".join(page.words.replace(" .", ".").split())
        assert said in words
        # Without sizes there is neither a column of them nor a picture.
        assert "Size" not in words
        assert "Loss against size" not in words


def test_the_frontier_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        # Few different values, so that there are ties.
        points = {i: (float(x), float(y)) for i, (x, y) in enumerate(rng.integers(0, 5, (6, 2)))}
        unbeaten = {
            i
            for i, (x, y) in points.items()
            if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points.values())
        }
        assert frontier(points) == unbeaten
    assert frontier({}) == set()


def test_candidates_of_one_size_make_no_picture(made: Callable[..., Any]) -> None:
    ranking, _ = ranking_of(made, {"a": 0.1, "b": 0.3}, {"a": 1000, "b": 1000})
    found = ranked(ranking)
    assert (found.picture, found.left_out, found.sizes) == ("", "", ["1 kB", "1 kB"])


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_a_picture_needs_two_sizes_and_says_what_it_leaves_out(
    made: Callable[..., Any], unknown: int
) -> None:
    noises = {"a": 0.1, "b": 0.3, "c": 0.9}
    sizes = {name: 1000 + i if i >= unknown else None for i, name in enumerate(noises)}
    ranking, _ = ranking_of(made, noises, sizes)
    found = ranked(ranking)
    assert bool(found.picture) == (unknown < 2)
    assert found.left_out == ("Not drawn: 1 (size not known)." if unknown == 1 else "")
    assert found.sizes[0] == ("1 kB" if unknown == 0 else "–")


def test_hostile_names_in_a_ranking_make_no_element(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    pages = []
    for names in (("tame", "other"), (HOSTILE_NAME, "<b>&amp;\x00")):
        noises = dict(zip(names, (0.1, 0.9), strict=True))
        sizes = dict.fromkeys(names, 10) | {names[0]: 20}
        ranking, table = ranking_of(made, noises, sizes)
        pages.append(page_of(tmp_path / "r.html", ranking, table))
    tame, hostile = ([tag for tag, _ in page.found] for page in pages)
    assert tame == hostile
    assert "onerror=alert(1)" in pages[1].words
    assert "\u202e" not in pages[1].words


def test_a_ranking_of_others_is_refused(made: Callable[..., Any], tmp_path: Path) -> None:
    ranking, table = ranking_of(made, {"a": 0.3, "b": 0.6}, {})
    only = {"a": ranking.comparisons["a"]}
    with pytest.raises(InputError, match="the ranking is of 'a', 'b', the comparisons of 'a'"):
        write_report(tmp_path / "r.html", only, table, ranking=ranking)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (2_340_000_000, "2.34 GB"),
        (5 * 10**16, "50,000 TB"),
        (None, "–"),
    ],
)
def test_sizes_have_three_digits(count: int | None, told: str) -> None:
    assert size(count) == told
