"""Several candidates on the terminal: a line each, its verdict, and what can be told apart."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from kullback.report.ranking import print_ranking
from kullback.report.verdict import verdict
from kullback.results import Comparison, Difference, Estimate, Floor, Ranking
from synthetic import comparison


def judged(kl: float) -> Comparison:
    return replace(
        comparison(), kl=Estimate(kl, kl * 0.9, kl * 1.1), entropy_p=Estimate(1.0, 1.0, 1.0)
    )


def printed(ranking: Ranking, width: int = 100, bits: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_ranking(ranking, console, bits=bits)
    return console.file.getvalue()  # type: ignore[attr-defined]


def line(text: str, name: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return found.rstrip()


def test_every_candidate_has_the_verdict_that_it_has_by_itself() -> None:
    floor = Floor(Estimate(1e-6, 1e-6, 1e-6), Estimate(0.0, -1e-7, 1e-7))
    above = replace(floor, difference=Estimate(0.05, 0.04, 0.06))
    found = {
        "same": replace(judged(0.02), floor=floor),
        "fine": judged(0.002),
        "fair": replace(judged(0.05), floor=above),
        "poor": judged(0.5),
        "gone": judged(math.inf),
    }
    words = {
        "same": "within noise",
        "fine": "small",
        "fair": "noticeable",
        "poor": "large",
        "gone": "infinite",
    }
    text = printed(Ranking(found, ()))
    for name, word in words.items():
        assert line(text, name).endswith(word)
        assert verdict(found[name], found[name].floor).word == word
    assert "within noise where the KL less that of the noise floor does not rule out 0" in " ".join(
        text.split()
    )
    # In bits the words are the same: shares and the floor have no unit.
    assert line(printed(Ranking(found, ()), bits=True), "fair").endswith("noticeable")


def test_without_a_floor_that_is_said() -> None:
    text = " ".join(printed(Ranking({"a": judged(0.05)}, ())).split())
    assert "small below 1 %, large from 10 % on, noticeable between" in text
    assert "No noise floor was measured." in text
    assert "within noise" not in text


def test_it_fits_eighty_columns() -> None:
    name = "model-q4_k_m"
    found = {name: judged(0.0123), "other": judged(0.5)}
    text = printed(Ranking(found, (), {name: 144_811_072}), 80)
    assert line(text, name).endswith("noticeable")
    assert max(map(len, text.splitlines())) <= 80


def test_examples_are_called_so() -> None:
    share = Estimate(0.7, 0.6, 0.8)
    found = replace(
        judged(0.05), unit="example", accuracy_candidate=share, clustered_by="example", positions=9
    )
    text = printed(
        Ranking({"a": found, "b": found}, (Difference("a", "b", Estimate(0.5, 0.4, 0.6)),))
    )
    assert "nats per example, 9 examples" in text
    assert "document" not in text.splitlines()[0]
    assert "accuracy" in text
    assert "70.0 %" in line(text, "a")
    assert "b loses 0.500 nats [0.400, 0.600] more than a, example by example." in text
    assert "token" not in text


@pytest.mark.parametrize("diagnosis", ["one cluster of positions only"])
def test_a_difference_without_interval_is_no_tie(diagnosis: str) -> None:
    unknown = Estimate(0.5, math.nan, math.nan, diagnosis=diagnosis)
    found = {"a": judged(0.05), "b": judged(0.55)}
    text = printed(Ranking(found, (Difference("a", "b", unknown),)))
    assert "a and b: 0.500 nats, and no interval: one cluster of positions only." in text
