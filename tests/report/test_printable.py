"""No name moves the cursor: what comes from files reaches the terminal as visible signs only."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from kullback.compare.incomplete import IncompleteComparison
from kullback.compare.layers.record import Effect, LayerEffects
from kullback.report.incomplete import render_incomplete
from kullback.report.json_file import to_json
from kullback.report.layers.terminal import render as render_layers
from kullback.report.layout import Fitting, table_of
from kullback.report.printable import printable
from kullback.report.ranking import render_ranking
from kullback.report.terminal import render
from kullback.results import Difference, Estimate, Ranking, Slice
from synthetic import comparison, positions

# Colour, title of the window, a bell, C1's own CSI, a reversed line, half a surrogate pair, markup.
HOSTILE = "x\x1b[31m\x1b]0;t\x07\x9b2J\u202e\udcff\r[bold]y[/]"
SHOWN = r"x\x1b[31m\x1b]0;t\x07\x9b2J\u202e\udcff\r[bold]y[/]"
ONE = Estimate(0.5, 0.4, 0.6)


def ranking() -> RenderableType:
    found = comparison(notes=[f"a note on {HOSTILE}"])
    other = Difference(HOSTILE, "other", ONE)
    apart = Difference(HOSTILE, "other", Estimate(0.5, -0.4, 0.6))
    infinite = Difference("other", HOSTILE, Estimate(float("inf"), float("inf"), float("inf")))
    unknown = Difference(HOSTILE, "other", Estimate(0.5, float("nan"), float("nan")))
    differences = (other, apart, infinite, unknown)
    return render_ranking(Ranking({HOSTILE: found, "other": found}, differences))


def one() -> RenderableType:
    batch = positions()
    batch = replace(batch, columns={HOSTILE: np.ones(len(batch))})
    part = Slice(HOSTILE, 5, ONE, ONE, None, None, 0.5)
    found = comparison(batch, notes=[f"a note on {HOSTILE}"], convention=HOSTILE)
    return render(replace(found, by_class=(part,), by_group=(part,)))


def layers() -> RenderableType:
    effects = (
        Effect(HOSTILE, None, HOSTILE, 10, False, ONE),
        Effect(f"equal {HOSTILE}", 0, "MLP", 10, True, Estimate(0.0, 0.0, 0.0)),
    )
    found = LayerEffects(
        effects=effects,
        by="modules",
        layers=1,
        whole=ONE,
        total=ONE,
        gap=ONE,
        positions=10,
        documents=5,
        chunks=5,
        clustered_by="document",
        confidence=0.95,
        evaluations=2,
        naive=4,
        notes=(f"a note on {HOSTILE}",),
    )
    return render_layers(found)


def incomplete() -> RenderableType:
    unknown = replace(ONE, low=float("nan"), high=float("nan"), diagnosis=HOSTILE)
    found = IncompleteComparison(
        low=unknown,
        high=unknown,
        listed_low=unknown,
        listed_high=unknown,
        rest_p=unknown,
        rest_q=unknown,
        positions=10,
        unbounded=0,
        skipped=0,
        documents=1,
        clustered_by="chunk",
        confidence=0.95,
        notes=(f"a note on {HOSTILE}",),
    )
    return render_incomplete(found)


@pytest.mark.parametrize("made", [ranking, one, layers, incomplete])
@pytest.mark.parametrize("width", [40, 400])
def test_no_report_lets_a_name_through_as_it_is(
    made: Callable[[], RenderableType], width: int
) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(made())
    text = stream.getvalue()
    assert all(c.isprintable() or c == "\n" for c in text)
    # On forty columns the name may be broken, and is whole apart from that.
    joined = "".join(text.split())
    assert joined.count("x\\x1b[31m\\x1b]0") >= 2
    if width == 400:
        assert SHOWN in text


def test_what_can_be_seen_stays() -> None:
    for text in ("Qwen-3 β‖γ", "模型", "naïve [bold] …", "a\\b", ""):
        assert printable(text) == text
    assert printable(HOSTILE) == SHOWN


def test_json_holds_no_control_characters_and_reads_back() -> None:
    import json

    sides: dict[str, Any] = {"candidate": {"name": HOSTILE}}
    text = to_json(comparison(provenance=sides))
    assert all(c.isprintable() or c in "\n\u202e" for c in text)
    text.encode("utf-8")
    assert json.loads(text)["provenance"]["candidate"]["name"] == HOSTILE


def test_a_narrow_table_takes_a_name_for_no_markup() -> None:
    table = table_of("title")
    table.add_column("name")
    table.add_column("value")
    table.add_row(Text("[bold]y[/]"), escape("[bold]z[/]"))
    stream = io.StringIO()
    Console(file=stream, width=15).print(Fitting(table))
    assert "name [bold]y[/]" in stream.getvalue()
    assert "[bold]z[/]" in stream.getvalue()
