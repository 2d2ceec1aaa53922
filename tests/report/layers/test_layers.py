"""The table, the picture and the files say what the record says, and escape what they are given."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kullback.compare.layers.record import Effect, LayerEffects
from kullback.errors import InputError, MissingExtra
from kullback.report.layers.files import check_folder, page, write_layers
from kullback.report.layers.picture import figure
from kullback.report.layers.terminal import headline, print_layers
from kullback.results import Estimate


def estimate(value: float) -> Estimate:
    return Estimate(value, 0.9 * value, 1.2 * value, stderr=0.1 * value, evaluations=100)


def effect(name: str, layer: int | None, kind: str, kl: float, **rest: Any) -> Effect:
    return Effect(name, layer, kind, 1_500_000, kl == 0, estimate(kl), **rest)


def record(**changes: Any) -> LayerEffects:
    found = LayerEffects(
        effects=(
            effect("embedding", None, "embedding", 0.0),
            effect("layer 0 attention", 0, "attention", 0.011),
            effect("layer 0 MLP", 0, "MLP", 0.034),
            effect("layer 1 attention", 1, "attention", 0.002),
            effect("layer 1 MLP", 1, "MLP", 0.0213),
            effect("head", None, "head", 0.005),
        ),
        by="modules",
        layers=2,
        whole=estimate(0.05),
        total=estimate(0.0733),
        gap=Estimate(0.0233, 0.02, 0.03),
        positions=1234,
        documents=7,
        chunks=7,
        clustered_by="document",
        confidence=0.95,
        evaluations=600,
        naive=1000,
    )
    return replace(found, **changes)


def printed(found: LayerEffects, width: int = 100, **options: Any) -> str:
    stream = io.StringIO()
    print_layers(found, Console(file=stream, width=width), **options)
    return stream.getvalue()


def test_few_documents_are_said_to_be_few() -> None:
    told = " ".join(printed(record(documents=1, clustered_by="chunk")).split())
    assert "since one document is too few to tell how documents differ" in told
    assert "1,234 positions of 1 document; 95 % intervals, clustered by chunk." in told
    assert "too few" not in printed(record())


def test_the_headline_names_the_module_that_loses_most() -> None:
    assert headline(record()) == (
        "Alone in the reference, layer 0 MLP loses most: 0.0340 nats per token "
        "[0.0306, 0.0408], 68 % of the whole candidate's 0.0500 [0.0450, 0.0600]."
    )
    equal = record(
        effects=(effect("head", None, "head", 0.0),), whole=estimate(0.0), total=estimate(0.0)
    )
    assert headline(equal).startswith("The candidate loses nothing")


def test_the_table_ranks_and_the_layers_stand_in_order() -> None:
    text = " ".join(printed(record()).split())
    order = ["layer 0 MLP", "layer 1 MLP", "layer 0 attention", "head", "layer 1 attention"]
    places = [text.index(f"{rank} {name} 1.5 M") for rank, name in enumerate(order, start=1)]
    assert places == sorted(places)
    assert "0.0213 [0.0192, 0.0256]" in text
    assert "layer 1 0.00200 0.0213 0.0233 ▇▇" in text
    assert "1.47 times the whole candidate's KL" in text
    assert "600 layers of a chunk were run, 60 % of the 1,000" in text
    assert "1 equal in both models and not run, their effect is 0: embedding." in text
    assert "1,234 positions of 7 documents; 95 % intervals, clustered by document." in text


def test_bits_and_the_number_of_rows() -> None:
    text = printed(record(), bits=True, top=2)
    assert "bits per token" in text
    assert f"{0.034 / math.log(2):#.3g}" in text
    assert "the first 2 of 5" in text


@pytest.mark.parametrize("width", [80, 40])
def test_no_number_is_cut_off(width: int) -> None:
    saved = tuple(replace(e, saved=Estimate(-0.001, -0.002, 0.001)) for e in record().effects)
    text = printed(record(effects=saved), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text.replace(", …", "")
    assert "-0.00100" in text


def test_names_cannot_carry_markup() -> None:
    evil = "<script>alert(1)</script>[red]x[/]"
    found = record(effects=(effect(evil, None, "other", 0.1),), notes=(evil,))
    assert "[red]x[/]" in printed(found)
    html = page(found)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_picture_has_a_bar_for_each_measured_effect_and_their_running_sum() -> None:
    pytest.importorskip("plotly")
    found = record()
    traces = {trace.name: trace for trace in figure(found).data}
    assert list(traces["MLP"].x) == ["0", "1"]
    assert list(traces["MLP"].y) == [0.034, 0.0213]
    assert list(traces["MLP"].error_y.array) == pytest.approx([0.2 * 0.034, 0.2 * 0.0213])
    assert list(traces["MLP"].error_y.arrayminus) == pytest.approx([0.1 * 0.034, 0.1 * 0.0213])
    running = traces["sum of single effects so far"]
    # The embedding is equal in both models.
    assert list(running.x) == ["0", "1", "head"]
    assert list(running.y) == pytest.approx([0.045, 0.0683, 0.0733])
    assert "embedding" not in traces
    assert set(traces["the whole candidate"].y) == {0.05}


def test_an_infinite_effect_is_left_out_of_the_picture_and_said_to_be() -> None:
    endless = Estimate(math.inf, math.inf, math.inf)
    effects = (replace(record().effects[1], kl=endless), *record().effects[2:])
    drawn = figure(record(effects=effects, whole=endless, gap=None))
    assert "1 infinite ones are left out" in drawn.layout.title.text
    assert next(t for t in drawn.data if t.name == "attention").y[0] is None


def test_files_are_whole_and_stand_alone(tmp_path: Path) -> None:
    write_layers(record(), tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["layers.html", "layers.json"]
    assert json.loads((folder / "layers.json").read_text())["ranking"][0] == "layer 0 MLP"
    html = (folder / "layers.html").read_text()
    assert 'src="http' not in html
    assert "layer 0 MLP loses most" in html
    assert len(html) < 6_000_000


def test_folders_that_cannot_be_written_are_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        check_folder(tmp_path / "file")
    (tmp_path / "layers.json").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match="no plain file: remove it first"):
        check_folder(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    with pytest.raises(MissingExtra, match="plot"):
        check_folder(tmp_path / "other")
