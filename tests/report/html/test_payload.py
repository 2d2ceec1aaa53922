"""What the page is given, unpacked again and held against the positions."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kullback.report.html.codes import decode, encode, encode_probabilities
from kullback.report.html.payload import pack, packed_within
from kullback.report.html.positions import positions_of, texts_of
from kullback.report.html.tokens import Vocabulary, visible


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The payload by the table in its module's description."""
    raw = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(raw[:4], "little")
    head, rest = json.loads(raw[4 : 4 + length]), raw[4 + length :]
    found, at = {}, 0
    for name, count, width in (
        ("token", head["n"], head["width"]),
        *((name, head["n"], 2) for name in ("kl", "next_p", "next_q")),
        ("flags", head["n"], 1),
        ("event", head["m"], head["width"]),
        *((name, head["m"], 2) for name in ("p", "q", "part")),
    ):
        planes = np.frombuffer(rest, np.uint8, count * width, at).reshape(width, count)
        at += count * width
        found[name] = (planes.astype(np.int64) << 8 * np.arange(width)[:, None]).sum(0)
    assert at == len(rest)
    for q, p in (("next_q", "next_p"), ("q", "p")):
        found[q] = (found[q] + found[p]) & 65_535
    return head, found


@pytest.fixture
def example(made: Callable[..., Any]) -> Any:
    return made()


def vocabulary(example: Any) -> Vocabulary:
    return Vocabulary(texts_of(example.table), lambda i: example.texts[i])


def test_everything_comes_back(example: Any) -> None:
    positions = positions_of(example.table, "candidate")
    head, found = unpacked(pack(positions, vocabulary(example), 3, 600).text)
    statistics = example.batch.statistics
    texts = [head["texts"][i] for i in found["token"]]
    shown = [visible(example.texts[i].replace("\ud800", "�")) for i in example.batch.token]
    assert texts == shown
    assert (found["kl"] == encode(statistics["kl"])).all()
    assert (found["next_p"] == encode_probabilities(np.exp(statistics["log_prob_p"]))).all()
    assert (found["next_q"] == encode_probabilities(np.exp(statistics["log_prob_q"]))).all()
    swapped = example.p.argmax(1) != example.q.argmax(1)
    assert ((found["flags"] & 128 > 0) == swapped).all()
    ends = np.cumsum(found["flags"] & 127)
    assert ends[-1] == head["m"]
    for row in range(0, 600, 37):
        mine = slice(ends[row] - (found["flags"][row] & 127), ends[row])
        events = set(example.batch.top.events[row].tolist())
        order = sorted(events, key=lambda event: -example.p[row, event])
        parts = example.parts[row, order]
        assert np.allclose(decode(found["p"][mine]), example.p[row, order], rtol=5.1e-3, atol=1e-9)
        assert np.allclose(decode(found["q"][mine]), example.q[row, order], rtol=5.1e-3, atol=1e-9)
        # Half a unit of the third digit, and float32 in the table.
        big = parts > 1e-6
        assert np.allclose(decode(found["part"][mine])[big], parts[big], rtol=6e-3)
    assert [stretch[0] for stretch in head["stretches"]] == list(range(0, 600, 50))
    assert head["documents"] == ["a.txt", "b.txt", "c.txt"]


def test_a_smaller_limit_costs_events_first_and_then_positions(example: Any) -> None:
    positions = positions_of(example.table, "candidate")
    whole = packed_within(positions, vocabulary(example), 10**6)
    assert (whole.positions, whole.events) == (600, 3)
    size = len(whole.text)
    fewer = packed_within(positions, vocabulary(example), size - 1)
    assert (fewer.positions, fewer.events) == (600, 2)
    for limit in (size // 4, size // 10):
        part = packed_within(positions, vocabulary(example), limit)
        assert len(part.text) <= limit
        assert part.positions < 600
        head, found = unpacked(part.text)
        assert head["n"] == part.positions
        assert (found["kl"] == encode(positions["kl"][: part.positions])).all()


def test_without_events_the_two_tops_are_there_and_what_is_not_known_is_so(example: Any) -> None:
    names = [n for n in example.table.schema.names if not n.startswith("top_events")]
    positions = positions_of(example.table.select(names), "candidate")
    _, found = unpacked(packed_within(positions, vocabulary(example), 10**6).text)
    swapped = example.p.argmax(1) != example.q.argmax(1)
    assert ((found["flags"] & 127) == np.where(swapped, 2, 1)).all()
    first = np.cumsum(found["flags"] & 127) - (found["flags"] & 127)
    assert np.allclose(decode(found["p"][first]), example.p.max(1), atol=5.1e-4)
    assert np.isnan(decode(found["part"][first[swapped]])).all()


def test_a_probability_that_float32_lost_does_not_make_a_finite_row_infinite(example: Any) -> None:
    positions = positions_of(example.table, "candidate")
    top = positions.top
    q = top.q.copy()
    q[0, 0] = 0.0
    _, found = unpacked(
        pack(replace(positions, top=replace(top, q=q)), vocabulary(example), 3, 600).text
    )
    assert np.isnan(decode(found["part"][:1])[0])
    kl = positions["kl"].copy()
    kl[0] = np.inf
    infinite = replace(positions, columns=positions.columns | {"kl": kl}, top=replace(top, q=q))
    _, found = unpacked(pack(infinite, vocabulary(example), 3, 600).text)
    assert decode(found["part"][:1])[0] == np.inf
    assert decode(found["kl"][:1])[0] == np.inf


def test_about_thirty_bytes_a_position(made: Callable[..., Any]) -> None:
    example = made(20_000, words=tuple(f" w{i}" for i in range(60)))
    payload = pack(positions_of(example.table, "candidate"), vocabulary(example), 3, 20_000)
    # Texts of a real vocabulary, 10 bits more of each index, come on top.
    assert len(payload.text) * 3 / 4 / 20_000 < 34
