"""The terminal report: what it says, that it fits, and that it needs no colour."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from kullback.report.terminal import headline, print_comparison, progress_bar
from kullback.results import Comparison, Estimate
from synthetic import comparison, part, positions


def printed(result: Comparison, width: int = 80, bits: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(result, console, bits=bits)
    return console.file.getvalue()  # type: ignore[attr-defined]


def with_kl(kl: np.ndarray) -> Comparison:
    batch = positions()
    statistics = batch.statistics | {"kl": kl, "top_q": batch.statistics["top_p"]}
    return comparison(replace(batch, statistics=statistics))


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line.removeprefix(name).split()


def test_the_headline_answers() -> None:
    result = replace(
        comparison(),
        kl=Estimate(0.01234, 0.01101, 0.01361),
        same_top=Estimate(0.934, 0.921, 0.945),
        perplexity_ratio=Estimate(1.00213, 0.99911, 1.00521),
        positions=4321,
        documents=12,
    )
    assert headline(result) == (
        "On 4,321 positions of 12 documents the candidate loses 0.0123 nats per token "
        "[0.0110, 0.0136]. Its top token is the reference's at 93.4 % of them [92.1, 94.5], "
        "and its perplexity is 1.0021 times as high [0.9991, 1.0052]."
    )


def test_the_headline_of_no_loss_and_of_infinite_loss() -> None:
    zero, infinite = (np.zeros(len(positions())) for _ in range(2))
    infinite[7] = math.inf
    assert headline(with_kl(zero)).endswith("loses nothing: KL is exactly 0 at every one.")
    assert "the loss is infinite: at 1 of them" in headline(with_kl(infinite))


def test_the_headline_without_interval_or_tokens() -> None:
    batch = part(positions(), slice(0, 20))
    text = headline(comparison(replace(batch, token=np.full(20, -1))))
    assert "On 20 positions of 1 document the" in text
    assert "(no interval)" in text
    assert "perplexity" not in text


def test_every_number_is_printed_with_its_interval() -> None:
    result = comparison()
    text = printed(result)
    value, unit, low, high = row(text, "KL(reference‖candidate)")
    assert float(value) == pytest.approx(result.kl.value, rel=0.005)
    assert unit == "nats"
    assert float(low.strip("[,")) == pytest.approx(result.kl.low, rel=0.01)
    assert float(high.strip("]")) == pytest.approx(result.kl.high, rel=0.01)
    assert float(row(text, "Same top token")[0]) == pytest.approx(
        100 * result.same_top.value, abs=0.001
    )
    for bin in result.by_confidence:
        cells = row(text, f"{bin.low:g}–{bin.high:g} ")
        assert float(cells[0]) == pytest.approx(100 * bin.share, abs=0.06)
    assert "clustered by document" in text
    assert "Convention: careful" in text


def test_bits_scale_what_has_a_unit_and_nothing_else() -> None:
    nats, bits = printed(comparison()), printed(comparison(), bits=True)
    name = "KL(reference‖candidate)"
    ratio = float(row(bits, name)[0]) / float(row(nats, name)[0])
    # Both are printed with three digits.
    assert ratio == pytest.approx(1 / math.log(2), rel=0.01)
    for unitless in ("Total variation", "Same top token", "Perplexity of the reference"):
        assert row(bits, unitless) == row(nats, unitless)
    assert "nats" not in bits


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e4])
def test_it_fits_and_nothing_is_cut_off(width: int, scale: float) -> None:
    text = printed(with_kl(scale * positions().statistics["kl"]), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize("width", [20, 40, 60])
def test_where_it_is_narrow_rows_wrap_and_no_number_is_cut(width: int) -> None:
    result = comparison()
    text = printed(result, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    # The same words in the same order as on a wide screen, apart from the repeated headings.
    narrow, wide = (" ".join(x.split()) for x in (text, printed(result, 120)))
    numbers = {word for word in wide.split() if any(c.isdigit() for c in word)}
    assert len(numbers) > 50
    assert numbers <= set(narrow.split())


def test_a_pipe_gets_no_escape_codes() -> None:
    assert "\x1b" not in printed(comparison())


def test_brackets_and_markup_in_names_are_text() -> None:
    batch = positions()
    batch = replace(batch, columns={"[red]mass": np.ones(len(batch))})
    text = printed(comparison(batch, notes=["a note with [bold] in it"]))
    assert "[red]mass" in text
    assert "A note with [bold] in it." in text


def test_what_is_unknown_and_what_is_doubtful_is_said() -> None:
    batch = positions()
    batch = replace(
        batch,
        statistics=batch.statistics | {"top_q": batch.statistics["top_p"]},
        token=np.full(len(batch), -1),
    )
    text = printed(comparison(batch))
    assert "next token unknown" in text
    assert row(text, "Same top token")[-1] == "?"
    assert "Same top token: all of" in text


def test_an_infinite_mean_points_below() -> None:
    kl = positions().statistics["kl"].copy()
    kl[0] = math.inf
    text = printed(with_kl(kl))
    assert row(text, "KL(reference‖candidate)") == ["∞", "nats", "see", "below"]
    assert "KL is infinite at 1 of" in text


def test_the_progress_bar_shows_counts_and_rate() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress_bar(console) as progress:
        progress(0, 2000)
        progress(500, 2000)
        progress(1000, 2000)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1000/2000" in text
    assert "positions" in text
    assert "/s" in text


def test_the_progress_bar_is_silent_in_a_pipe() -> None:
    console = Console(file=io.StringIO())
    with progress_bar(console) as progress:
        progress(1, 2)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 100])
def test_examples_are_called_so(width: int) -> None:
    share = Estimate(0.7, 0.6, 0.8)
    result = replace(
        comparison(),
        unit="example",
        accuracy_reference=share,
        accuracy_candidate=share,
        accuracy_difference=Estimate(-0.1, -0.2, 0.0),
    )
    text = " ".join(printed(result, width).split())
    for words in ("Mean per example", "KL over examples", "Same top class", "examples"):
        assert words in text
    assert "token" not in text
    # The method of the intervals is told in the same words for all.
    assert "position" not in text.partition("•")[0]
